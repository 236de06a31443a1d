"""Deliberate errors and the exit codes they map to. Anything else that is raised is a bug and keeps its traceback."""

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit status of every application. The DAG factory retries only 5, 6 and killed or lost processes."""

    DONE = 0
    CONTRACT_BROKEN = 2
    EXPECTATIONS_FAILED = 3
    REFUSED = 4
    UNAVAILABLE = 5
    LOCK_HELD = 6


class PlatformError(Exception):
    """Base of all deliberate errors: says what was attempted, found and required, and what to do next."""

    exit_code = ExitCode.CONTRACT_BROKEN

    def __init__(
        self, attempted: str, *, found: str, required: str, next_step: str, changed: str = "Nothing was changed."
    ) -> None:
        self.attempted, self.found, self.required = attempted, found, required
        self.next_step, self.changed = next_step, changed
        #: What was found before the error, for the run result (spark_apps.io.runs.Outcome).
        self.outcome: object | None = None
        super().__init__(f"{attempted}: found {found}; required {required}. {changed} {next_step}")


class ConfigurationError(PlatformError):
    """A setting, a pipeline spec, an expectations file or an argument is wrong."""


class SchemaMismatchError(PlatformError):
    """A DataFrame about to be written, or a file about to be read, does not have the dataset's schema."""


class ExpectationsFailedError(PlatformError):
    """A critical expectation failed; nothing downstream may run."""

    exit_code = ExitCode.EXPECTATIONS_FAILED


class QualityGateError(PlatformError):
    """A model or a snapshot did not meet the condition that its next step requires."""

    exit_code = ExitCode.REFUSED


class ReconciliationError(PlatformError):
    """Two tables that must be equal are not."""

    exit_code = ExitCode.REFUSED


class DependencyUnavailableError(PlatformError):
    """A service or a file system that the work needs does not answer. Worth a retry."""

    exit_code = ExitCode.UNAVAILABLE


class LockHeldError(PlatformError):
    """Somebody else holds the lock on what was to be written. Worth a retry."""

    exit_code = ExitCode.LOCK_HELD
