"""The live page: what the stream has written, seconds after it was written. ``python -m serving.app``."""

import argparse
import asyncio
import contextlib
import logging
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from contracts.errors import PlatformError
from contracts.settings import load_settings
from serving import api, ranges
from serving.api import Page
from serving.errors import BadRequestError

log = logging.getLogger(__name__)

STATIC = Path(__file__).resolve().parent / "static"
#: Names that a browser on this machine reaches the page by.
LOCAL_NAMES = ("127.0.0.1", "localhost")

SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


def create_app(page: Page, host_names: Sequence[str] = LOCAL_NAMES) -> ASGIApp:
    """The application around one ``Page``. Requests under another name than ``host_names`` are refused."""

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        watcher = asyncio.create_task(page.hub.watch())
        yield
        watcher.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watcher

    app = Starlette(
        routes=[
            Route("/", index),
            Route("/health", api.health),
            Route("/api/stream", api.stream),
            Route("/api/events", api.event_stream),
            *(Route(path, endpoint) for path, endpoint in api.panels().items()),
            Mount("/static", StaticFiles(directory=STATIC)),
        ],
        # A web site must not reach this page by pointing a name of its own at the loopback address.
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=list(host_names), www_redirect=False)],
        exception_handlers={PlatformError: api.refused, Exception: _bug},
        lifespan=lifespan,
    )
    app.state.page = page
    return _secured(app)


async def index(request: Request) -> Response:
    """``GET /``: the page. With a wrong range in its address it comes as HTTP 400, and says what is wrong."""
    try:
        ranges.check(request.query_params)
        status = 200
    except BadRequestError:
        status = 400
    return FileResponse(STATIC / "index.html", status_code=status)


def parse_args(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m serving.app", description=__doc__, allow_abbrev=False)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, help="port to listen on (default: the page's port of the settings)")
    parser.add_argument(
        "--host-name", action="append", default=[], help="a further name that browsers may use for this page"
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str]) -> int:
    """Serve until SIGTERM: 0. A wrong setting: 2, and nothing was started."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    args = parse_args(argv)
    try:
        settings = load_settings()
    except PlatformError as error:
        log.error("%s", error)  # noqa: TRY400 - the message says all; a traceback would hide it
        return int(error.exit_code)
    page = Page(settings)
    config = uvicorn.Config(
        create_app(page, (*LOCAL_NAMES, *args.host_name)),
        host=args.host, port=args.port or settings.ports.page,
        log_config=None, access_log=False, server_header=False, timeout_graceful_shutdown=3,
    )  # fmt: skip
    server = uvicorn.Server(config)
    page.hub.stopping = lambda: server.should_exit
    # The server sends itself the signal again once it has stopped; that would be told as a crash.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    log.info("serving url=http://%s:%s lake=%s", config.host, config.port, settings.lake)
    server.run()
    return 0


async def _bug(_: Request, error: Exception) -> Response:
    # The traceback is logged by the server; whoever asked is told only that this was no fault of theirs.
    message = "The page failed at this; its log has the details (bin/millrace logs page)."
    return JSONResponse({"error": {"message": message, "found": type(error).__name__}}, status_code=500)


def _secured(app: ASGIApp) -> ASGIApp:
    """Outside everything else, so that errors carry the headers too."""

    async def secured(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers[name] = value
                # Files are asked for again each time and answered "not modified": an upgrade is seen at once.
                headers.setdefault("Cache-Control", "no-cache")
            await send(message)

        await app(scope, receive, send_with_headers if scope["type"] == "http" else send)

    return secured


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
