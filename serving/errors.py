"""What the live page refuses or cannot read: an HTTP status each, and a message for the person who asked."""

from contracts.errors import ExitCode, PlatformError


class BadRequestError(PlatformError):
    """A parameter of a request is wrong: HTTP 400."""

    def __init__(self, parameter: str, *, found: str, required: str) -> None:
        self.parameter = parameter
        super().__init__(
            f"Reading the parameter {parameter}", found=found, required=required,
            next_step="Correct the parameter and ask again.", changed="Nothing was read.",
        )  # fmt: skip


class TableUnreadableError(PlatformError):
    """A table is there but cannot be read: HTTP 503."""

    exit_code = ExitCode.UNAVAILABLE

    def __init__(self, table: str, *, found: str) -> None:
        self.table = table
        super().__init__(
            f"Reading {table}", found=found, required="a readable Delta table",
            next_step="Run bin/millrace doctor; bin/millrace reprocess --from bronze makes the later tables anew.",
            changed="The other tables are not affected.",
        )  # fmt: skip


class TableAbsentError(PlatformError):
    """A table has not been written yet: no error for the page, which says what will write it."""

    exit_code = ExitCode.UNAVAILABLE

    def __init__(self, table: str) -> None:
        self.table = table
        super().__init__(
            f"Reading {table}", found="no such table yet", required="its first commit",
            next_step=_WRITTEN_BY.get(table, _REPLAY),
        )  # fmt: skip


_REPLAY = "Send a log: bin/millrace replay samples/nasa_http/access_09jul1995_am.log"
_WRITTEN_BY = {
    "gold.access_log_volume_forecast": "Train the first model: bin/millrace trigger retrain_access_log_volume",
}
