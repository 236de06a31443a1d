"""Telling open pages that something changed: one watcher, any number of listeners, Server-Sent Events."""

import asyncio
import json
import logging
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable
from typing import Any

from anyio import to_thread

from contracts.errors import PlatformError
from serving.lake import Lake, Versions

log = logging.getLogger(__name__)

#: A commit is seen after at most this long; a look costs two ``stat`` calls a table.
WATCH_S = 0.5
#: The streaming driver is asked this often, and only while somebody listens.
STREAM_S = 2.0
#: A listener hears from us at least this often, so that a dead connection is noticed.
BEAT_S = 5.0
#: More listeners than this are refused: each is a connection and a task.
MOST_LISTENERS = 200

#: What the page needs of the driver's status; everything else stays behind the loopback interface.
STREAM_FIELDS = (
    "state", "last_batch", "lag_records", "last_commit_at", "freshness_s", "quarantine_ratio", "rows",
    "silver_version", "gold_version", "error",
)  # fmt: skip
_STREAM_LIMIT_BYTES = 1_000_000

Stream = dict[str, Any]


def stream_status(url: str, timeout_s: float = 1.0) -> Stream:
    """``{"running": true, ...}`` with fields of the driver's ``/status``, or ``{"running": false, "message"}``."""
    try:
        with urllib.request.urlopen(url, timeout=timeout_s) as answer:  # noqa: S310 - our own loopback address
            said = json.loads(answer.read(_STREAM_LIMIT_BYTES))
    except (OSError, ValueError, urllib.error.URLError) as error:
        reason = getattr(error, "reason", error)
        return {
            "running": False,
            "message": "The stream is not running: its status endpoint does not answer. Start it with bin/millrace up.",
            "reason": f"{type(reason).__name__}",
        }
    if not isinstance(said, dict):
        return {"running": False, "message": "The stream's status is not what it should be.", "reason": "not an object"}
    return {"running": True, **{name: said.get(name) for name in STREAM_FIELDS}}


class Hub:
    """Knows the newest table versions and stream status, and lets listeners wait for the next change.

    Listeners share one state and skip what they were too slow for: nothing is queued for anybody.
    """

    def __init__(self, lake: Lake, stream_url: str) -> None:
        #: None until the lake was looked at once: nobody is told of a lake that nobody has seen.
        self.versions: Versions | None = None
        self.stream: Stream = {}
        self.listeners = 0
        #: Set by ``main``: an open event stream would otherwise keep the server from stopping.
        self.stopping: Callable[[], bool] = lambda: False
        self._lake, self._stream_url = lake, stream_url
        self._changed = asyncio.Condition()

    async def watch(self) -> None:
        """Look at the lake twice a second, at the stream every two seconds, for ever."""
        next_stream = 0.0
        while True:
            try:
                versions = await to_thread.run_sync(self._lake.versions)
                stream = self.stream
                now = asyncio.get_running_loop().time()
                if self.listeners and now >= next_stream:
                    next_stream = now + STREAM_S
                    stream = await to_thread.run_sync(stream_status, self._stream_url)
                if versions != self.versions or stream != self.stream or self.stopping():
                    await self._publish(versions, stream)
            except (OSError, PlatformError) as error:
                log.warning("watching the lake failed error=%r", str(error))
            await asyncio.sleep(WATCH_S)

    async def listen(self) -> AsyncIterator[str]:
        """Events for one page: the state once it is known, then each change, and a ``beat`` while nothing changes."""
        self.listeners += 1
        try:
            yield "retry: 1000\n\n"
            sent_versions: Versions | None = None
            sent_stream: Stream | None = None
            while not self.stopping():
                quiet = True
                # Compared with what this listener was sent: changes made while it was being served are not missed.
                if self.versions is not None and sent_versions != self.versions:
                    sent_versions, quiet = dict(self.versions), False
                    yield _event("tables", {"versions": sent_versions})
                if self.stream and sent_stream != self.stream:
                    sent_stream, quiet = dict(self.stream), False
                    yield _event("stream", sent_stream)
                if quiet and not await self._wait(sent_versions, sent_stream):
                    yield _event("beat", {})
        finally:
            self.listeners -= 1

    async def _publish(self, versions: Versions, stream: Stream) -> None:
        async with self._changed:
            self.versions, self.stream = versions, stream
            self._changed.notify_all()

    async def _wait(self, versions: Versions | None, stream: Stream | None) -> bool:
        def news() -> bool:
            return versions != self.versions or (bool(self.stream) and stream != self.stream) or self.stopping()

        async with self._changed:
            try:
                await asyncio.wait_for(self._changed.wait_for(news), BEAT_S)
            except TimeoutError:
                return False
        return True


def _event(name: str, data: dict[str, Any]) -> str:
    return f"event: {name}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n"
