"""What a replay did, for the person and for ``--json``."""

from dataclasses import dataclass, field


@dataclass
class FileReport:
    """What became of one input; ``to_byte`` and ``lines`` count what the broker acknowledged in this run."""

    path: str
    source: str | None = None
    generation: int | None = None
    from_byte: int = 0
    to_byte: int = 0
    lines: int = 0


@dataclass
class Report:
    """What became of the run: the JSON object of ``--json``."""

    topic: str
    lines: int = 0
    bytes: int = 0
    files: list[FileReport] = field(default_factory=list)
    seconds: float = 0.0
    lines_per_s: float = 0.0
    cut_lines: int = 0
    resends: int = 0
    error: str | None = None

    def sum_up(self, seconds: float) -> None:
        """Fill in the totals of ``files``."""
        self.seconds = round(seconds, 3)
        self.lines = sum(each.lines for each in self.files)
        self.bytes = sum(each.to_byte - each.from_byte for each in self.files)
        self.lines_per_s = round(self.lines / self.seconds, 1) if self.seconds else 0.0

    def __str__(self) -> str:
        if not self.lines and not self.error:
            sent_before = any(each.source for each in self.files)
            return "already sent, nothing to do" if sent_before else "nothing to do: no line in any file"
        return (
            f"sent {self.lines:,} lines ({self.bytes:,} bytes) of {len(self.files)} files to {self.topic} in "
            f"{self.seconds:.1f} s: {self.lines_per_s:,.0f} lines/s, {self.cut_lines} cut, {self.resends} sent again"
        )
