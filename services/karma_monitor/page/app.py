"""The page's routes. `Guard` checks the token of every request for data and of every change."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import anyio
import msgspec
from fastapi import Depends, FastAPI, Query, Request
from fastapi import Path as PathParameter
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, Response
from fastapi.sse import EventSourceResponse, ServerSentEvent
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from karma.errors import KarmaError, OutageError
from karma_monitor.page.control import Control
from karma_monitor.page.event_stream import Live
from karma_monitor.page.security import SESSION_PATH, Access, Guard, client_of
from karma_monitor.page.tokens import VALID_S
from karma_monitor.page.views import Views
from karma_monitor.queries.pair_search import PairFilter

STATIC = Path(__file__).parent / "static"

#: Addresses of the page itself; the browser chooses the view.
PAGES = ("/", "/quality", "/models", "/pairs", "/pairs/{pair:int}", "/endpoints", "/dead")

#: Requests that read the store at once; others wait.
THREADS = 8

#: PostgreSQL stores no text with a NUL in it.
NO_NUL = r"^[^\x00]*$"

Text = Annotated[str | None, Query(max_length=1000, pattern=NO_NUL)]
Before = Annotated[int | None, Query(ge=1, lt=1 << 63)]
Limit = Annotated[int, Query(ge=1, le=200)]


def create_app(views: Views, control: Control, live: Live, access: Access) -> ASGIApp:
    """The application.

    Args:
        views: answers to requests.
        control: changes.
        live: the live status.
        access: who may ask.
    """

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = THREADS
        yield

    app = FastAPI(lifespan=lifespan, title="KARMA", docs_url=None, redoc_url=None, openapi_url=None)
    _add_errors(app)

    @app.get(SESSION_PATH)
    def session(request: Request) -> Response:
        return _json({"scope": access.scope_of(access.token_of(request))})

    @app.post(SESSION_PATH)
    def open_session(request: Request) -> Response:
        token = access.token_of(request)
        response = _json({"scope": access.scope_of(token)})
        secure = request.url.scheme == "https"
        response.set_cookie(access.cookie, token, VALID_S, httponly=True, samesite="strict", secure=secure)
        return response

    async def has_place(request: Request) -> None:
        if not live.has_place(client_of(request)):
            raise HTTPException(503, "Too many live views are open. Close one.")

    @app.get("/api/live", response_class=EventSourceResponse, dependencies=[Depends(has_place)])
    async def stream(request: Request) -> AsyncIterator[ServerSentEvent]:
        async for event in live.watch(client_of(request)):
            yield event

    @app.get("/api/board")
    def live_status() -> Response:
        return _json(views.live_status())

    @app.get("/api/models")
    def models(skill: Text = None) -> Response:
        return _json(views.models(skill or None))

    @app.get("/api/quality")
    def quality(stream: Text = None) -> Response:
        return _json(views.quality(stream or None))

    @app.get("/api/pairs")
    def pairs(
        stream: Text = None,
        outcome: Text = None,
        model: Text = None,
        judge: Text = None,
        policy: Text = None,
        source: Text = None,
        text: Text = None,
        before: Before = None,
        limit: Limit = 50,
    ) -> Response:
        wanted = (stream, outcome, model, judge, policy, source, text)
        return _json(views.pairs(PairFilter(*(one or None for one in wanted)), before, limit))

    @app.get("/api/pairs/{pair}")
    def pair(pair: Annotated[int, PathParameter(ge=1, lt=1 << 63)]) -> Response:
        return _json(views.pair(pair))

    @app.get("/api/dead")
    def dead(before: Before = None, limit: Limit = 50) -> Response:
        return _json(views.dead(before, limit))

    @app.get("/api/failures")
    def failures() -> Response:
        return _json(views.failures())

    @app.post("/api/requeue")
    def requeue(request: Control.Requeue) -> Response:
        return _json(control.requeue(request))

    @app.post("/api/pause")
    def pause(request: Control.Pause) -> Response:
        return _json(control.pause(request))

    @app.post("/api/resume")
    def resume(request: Control.Pause) -> Response:
        return _json(control.resume(request))

    @app.get("/healthz")
    def health() -> Response:
        unavailable = views.unavailable()
        return _json({"ok": not unavailable, "away": unavailable}, 503 if unavailable else 200)

    async def index() -> Response:
        return FileResponse(STATIC / "index.html", headers={"Cache-Control": "no-cache"})

    for address in PAGES:
        app.add_api_route(address, index, methods=["GET", "HEAD"])
    app.mount("/static", _Static(directory=STATIC))
    return Guard(app, access)  # outermost: FastAPI answers some requests before its own middleware


class _Static(StaticFiles):
    """The page's files; a browser revalidates its copy each time, as files have no version."""

    def file_response(self, *arguments: Any, **options: Any) -> Response:
        response = super().file_response(*arguments, **options)
        response.headers["Cache-Control"] = "no-cache"
        return response


def _json(data: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(data), status, media_type="application/json")


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(HTTPException)
    async def refused(_request: Request, cause: HTTPException) -> Response:
        sentences = {404: "No page at this address.", 405: "This address does not allow this method."}
        return _json({"error": sentences.get(cause.status_code, str(cause.detail))}, cause.status_code)

    @app.exception_handler(RequestValidationError)
    async def invalid(_request: Request, cause: RequestValidationError) -> Response:
        first = cause.errors()[0]
        where = ".".join(str(part) for part in first["loc"][1:])
        return _json({"error": f"{where or 'the request'}: {first['msg']}"}, 422)

    @app.exception_handler(OutageError)
    async def unavailable(_request: Request, cause: OutageError) -> Response:
        return _json({"error": str(cause)}, 503)

    @app.exception_handler(KarmaError)
    async def not_found(_request: Request, cause: KarmaError) -> Response:
        return _json({"error": str(cause)}, 404)
