"""The way to stop a query between two micro-batches: Spark itself would cut into the one that is being written."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class ShutError(Exception):
    """The micro-batch came too late: nothing of it was written, the next start takes it."""


class Turnstile:
    """Lets one micro-batch after the other through until it is shut."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._is_shut = self._is_occupied = False

    @contextmanager
    def passing(self) -> Iterator[None]:
        """Around the writing of a micro-batch; ShutError before it where the turnstile is shut."""
        with self._condition:
            if self._is_shut:
                raise ShutError("the stream is being stopped; nothing of this micro-batch is written")
            self._is_occupied = True
        try:
            yield
        finally:
            with self._condition:
                self._is_occupied = False
                self._condition.notify_all()

    def shut(self, timeout_s: float) -> None:
        """Let nothing more in, and wait for what is inside, though not longer than ``timeout_s``."""
        with self._condition:
            self._is_shut = True
            self._condition.wait_for(lambda: not self._is_occupied, timeout_s)
