"""Lines of a log, and a choice of them, to count by other means than the platform does."""


class Line:
    """One line of the log, taken apart by position: not the platform's parser, not the lake builder's either."""

    def __init__(self, raw: bytes) -> None:
        text = raw.decode("latin-1")
        bracket = text.index("[")
        self.clock = text[bracket + 13 : bracket + 21]  # 00:00:07
        self.second = sum(int(part) * unit for part, unit in zip(self.clock.split(":"), (3600, 60, 1), strict=True))
        self.host = text[: text.index(" ")].lower()
        self.status, size = text[text.rindex('"') + 2 :].split()
        self.size = 0 if size == "-" else int(size)
        request = text[text.index('"') + 1 : text.rindex('"')]
        self.method = request[: request.index(" ")]
        target = request[len(self.method) + 1 :]
        self.path = (target[: target.rindex(" HTTP/")] if " HTTP/" in target else target).split("?")[0]


def between(log: list[Line], first: str, last: str) -> list[Line]:
    return [line for line in log if first <= line.clock < last]
