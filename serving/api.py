"""The JSON endpoints. Those that show a range take ``from``, ``to``, ``last`` and ``compare`` (ranges.read).

A panel's answer is ``{"available": true, "now_s", "versions": {table: tag}, "period": {...} | absent, ...}`` with
what its function in ``serving/panels`` documents, or, while a table has never been written, ``{"available": false,
"table", "message", "next_step"}``: an empty lake is not an error. A wrong parameter is HTTP 400, a damaged table 503,
both ``{"error": {"message", "attempted", "found", "required", "next_step", "parameter" | "table"}}``.
Instants are seconds since 1970 (``*_s``) or ISO 8601 in UTC; sizes are bytes, durations seconds.
"""

import math
import os
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any

from anyio import CapacityLimiter, to_thread
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from contracts.datasets import OF_ACCESS_LOG
from contracts.errors import PlatformError
from contracts.settings import Settings
from serving import events, ranges
from serving.cache import Answers
from serving.errors import BadRequestError, TableAbsentError, TableUnreadableError
from serving.lake import Lake, Versions
from serving.panels import data_quality, forecast, over_time, sessions, top_lists
from serving.panels.shared import (
    BRONZE,
    FORECAST,
    HOURS,
    MINUTES,
    QUARANTINE,
    RESOURCES,
    SESSIONS,
    SILVER,
    Asked,
    Json,
    Listed,
)
from serving.ranges import Bounds

#: Answers kept: a dozen panels for a few ranges that are being looked at.
ANSWERS = 128
#: Queries that run at once. DataFusion uses two threads for each, and the machine has other work.
QUERIES_AT_ONCE = 2
#: The longest list that may be asked for.
MOST_ROWS = 200

Endpoint = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True)
class Panel:
    """One endpoint: the function that makes its answer, the tables that void it, the parameters that are its own."""

    make: Callable[[Lake, Any], Json]
    tables: tuple[str, ...]
    parameters: tuple[str, ...] = ()


#: Panels over a range of event time.
RANGED = {
    "/api/summary": Panel(over_time.summary, (MINUTES,)),
    "/api/traffic": Panel(over_time.traffic, (MINUTES,)),
    "/api/statuses": Panel(over_time.statuses, (MINUTES,)),
    "/api/resources": Panel(top_lists.resources, (RESOURCES, MINUTES), ("limit",)),
    "/api/hosts": Panel(top_lists.hosts, (SESSIONS, MINUTES), ("limit",)),
    "/api/heatmap": Panel(over_time.heatmap, (HOURS, MINUTES)),
    "/api/sessions": Panel(sessions.sessions, (SESSIONS, MINUTES), ("limit",)),
    "/api/oddities": Panel(data_quality.oddities, (MINUTES,), ("limit",)),
    "/api/forecast": Panel(forecast.forecast, (FORECAST, MINUTES)),
}
#: Panels over all there is.
OVERVIEWS = {
    "/api/quarantine": Panel(data_quality.quarantine, (QUARANTINE,), ("reason", "limit")),
    "/api/freshness": Panel(data_quality.freshness, tuple(dataset.name for dataset in OF_ACCESS_LOG)),
    "/api/duplicates": Panel(data_quality.duplicates, (BRONZE,)),
}


class Page:
    """What all endpoints share: the lake, the answers made from it, and the hub that tells open pages of changes."""

    def __init__(self, settings: Settings) -> None:
        self.lake = Lake(settings.lake)
        self.answers = Answers(ANSWERS)
        self.stream_url = settings.stream_status
        self.hub = events.Hub(self.lake, self.stream_url)
        self.turns = CapacityLimiter(QUERIES_AT_ONCE)

    def bounds(self) -> Bounds:
        """What the lake holds, read again after a commit and each hour; TableAbsentError before any request."""
        now_s = int(time.time())
        versions = self.lake.versions()
        key = ("bounds", versions[MINUTES], versions[SILVER] is None, now_s // ranges.HOUR_S)
        found: Bounds | None = self.answers.get(key, lambda: over_time.bounds(self.lake, now_s))
        if found is None:
            raise TableAbsentError(MINUTES)
        return found


def panels() -> dict[str, Endpoint]:
    """Every panel's endpoint by its path. An answer is kept until one of the panel's tables changes."""

    def ranged(page: Page, panel: Panel, query: QueryParams) -> Json:
        known = page.bounds()
        asked = Asked(ranges.read(query, known), known, _limit(query))
        return {"period": asked.period.as_json(), **_made(page, panel, asked)}

    def overview(page: Page, panel: Panel, query: QueryParams) -> Json:
        return _made(page, panel, Listed(_limit(query), query.get("reason")))

    return {
        **{path: _endpoint(panel, ranged, ranges.PARAMETERS) for path, panel in RANGED.items()},
        **{path: _endpoint(panel, overview, ()) for path, panel in OVERVIEWS.items()},
    }


async def stream(request: Request) -> Response:
    """``GET /api/stream``: ``{"running": true, "state", "lag_records", ...}`` from the streaming driver.

    Fields are those of ``events.STREAM_FIELDS``; ``{"running": false, "message"}`` while it does not answer.
    """
    page = _page(request)
    return JSONResponse(await to_thread.run_sync(events.stream_status, page.stream_url))


async def event_stream(request: Request) -> Response:
    """``GET /api/events``: Server-Sent Events, for ever.

    ``tables`` ``{"versions": {table: tag | null}}`` at once and after every commit; ``stream`` as ``/api/stream``
    when it changed; ``beat`` ``{}`` at least every 5 s.
    """
    hub = _page(request).hub
    if hub.listeners >= events.MOST_LISTENERS:
        return JSONResponse(
            {"error": {"message": f"{hub.listeners} pages listen already; close some of them."}},
            status_code=503, headers={"Retry-After": "10"},
        )  # fmt: skip
    return StreamingResponse(hub.listen(), media_type="text/event-stream", headers={"Cache-Control": "no-store"})


async def health(request: Request) -> Response:
    """``GET /health``: 200 ``{"status": "ok", "tables": {name: version}}`` when every table there is can be opened.

    Also for an empty lake; 503 with the usual ``error`` when a table, or the lake's folder, cannot be read.
    """
    page = _page(request)
    try:
        # Not in the queue of the queries: whoever watches the page must not wait for them.
        tables = await to_thread.run_sync(_opened, page.lake)
    except TableUnreadableError as error:
        return JSONResponse({"status": "unreadable", **_told(error)}, status_code=503)
    return JSONResponse({"status": "ok", "tables": tables, "listeners": page.hub.listeners})


async def refused(_: Request, error: Exception) -> Response:
    """A deliberate error as JSON: 400 for a wrong parameter, 503 for a table that cannot be read."""
    if not isinstance(error, PlatformError):
        raise error
    return JSONResponse(_told(error), status_code=400 if isinstance(error, BadRequestError) else 503)


def _endpoint(
    panel: Panel, answer: Callable[[Page, Panel, QueryParams], Json], shared_parameters: tuple[str, ...]
) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        page, query = _page(request), request.query_params
        _check(query, (*shared_parameters, *panel.parameters))

        def work() -> Json:
            head = {"now_s": time.time(), "versions": _of(page, panel.tables)}
            try:
                return {"available": True, **head, **answer(page, panel, query)}
            except TableAbsentError as absent:
                said = {"table": absent.table, "message": str(absent), "next_step": absent.next_step}
                return {"available": False, **head, **said}

        return JSONResponse(await to_thread.run_sync(work, limiter=page.turns), headers={"Cache-Control": "no-store"})

    return endpoint


def _check(query: QueryParams, allowed: tuple[str, ...]) -> None:
    for name in query:
        if name not in allowed:
            known = ", ".join(allowed) or "no parameter at all"
            raise BadRequestError(name[:80], found="a parameter that nothing reads", required=known)
    # Refused before the lake is asked, so that a wrong date is told even while there is no data.
    ranges.check(query)
    _limit(query)


def _made(page: Page, panel: Panel, question: Asked | Listed) -> Json:
    key = (panel, question, *_of(page, panel.tables).values())
    made: Json = page.answers.get(key, lambda: _plain(panel.make(page.lake, question)))
    return made


def _page(request: Request) -> Page:
    page: Page = request.app.state.page
    return page


def _of(page: Page, tables: Iterable[str]) -> Versions:
    versions = page.lake.versions()
    return {name: versions[name] for name in tables}


def _limit(query: QueryParams) -> int:
    text = query.get("limit", "10")
    if not (text.isascii() and text.isdigit() and len(text) < 5 and 1 <= int(text) <= MOST_ROWS):
        raise BadRequestError("limit", found=repr(text[:80]), required=f"a whole number from 1 to {MOST_ROWS}")
    return int(text)


def _opened(lake: Lake) -> dict[str, int]:
    try:
        if lake.root.exists():
            os.listdir(lake.root)
    except OSError as error:
        raise TableUnreadableError("the lake", found=f"{lake.root}: {error.strerror}") from error
    return {name: lake.open(name) for name, version in lake.versions().items() if version is not None}


def _told(error: PlatformError) -> Json:
    about = {name: getattr(error, name) for name in ("parameter", "table") if hasattr(error, name)}
    said = {name: getattr(error, name) for name in ("attempted", "found", "required", "next_step")}
    return {"error": {"message": str(error), **said, **about}}


def _plain(value: Any) -> Any:  # noqa: ANN401 - JSON in, JSON out
    """NaN and infinity are not JSON: null."""
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
