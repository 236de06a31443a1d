"""What can go wrong between this machine and a cluster, apart from the work itself."""

from contracts.errors import ConfigurationError, DependencyUnavailableError, PlatformError


class SpecError(ConfigurationError):
    """A resource specification, a site or a connection cannot work."""


class TransportError(DependencyUnavailableError):
    """The cluster cannot be reached now. The jobs there go on; worth another try."""


class CommandTimeoutError(TransportError):
    """A command was sent and did not end in time. It may have had its effect."""


class MasterGoneError(TransportError):
    """The connection that a person opened (one-time password) is closed; only a person can open it again."""


class HostKeyError(ConfigurationError):
    """The host's key is not known, or is another one: nothing is sent to such a host."""


class SubmissionError(PlatformError):
    """Slurm read the specification and refused it."""


class QueueUnavailableError(DependencyUnavailableError):
    """The host answers, its queue does not: the controller is down, or too busy. Worth another try."""


class TransferError(DependencyUnavailableError):
    """What arrived is not what was sent. Nothing of it is used; worth another try."""


class ResultError(PlatformError):
    """The job ended well and left no run result, a damaged one, or artefacts that do not match it."""
