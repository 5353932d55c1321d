"""The web application: pages for people, what customers' links lead to, the JSON API, health and numbers."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path

from fastapi import Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from winback import __version__, clock
from winback.project import find_root, load_project
from winback.store.engine import open_engine
from winback.store.migrate import migrate
from winback.track.api import api_router
from winback.track.app import tracking_router
from winback.track.state import TrackState
from winback.versions import Applied
from winback.web import metrics
from winback.web.auth import Guesses
from winback.web.pages import campaigns, customers, outbox, overview, previews, reports, session
from winback.web.render import STATIC, error_page, sign_in_address
from winback.web.security import PUBLIC_PATHS, PageHeaders, SignInError, guard, require_safe_binding, signed_in
from winback.web.shop import Shop, ShopFiles

#: Pages behind the password, where there is one.
_PAGES = (overview, campaigns, previews, customers, outbox, reports)


def create_app(root: Path | None = None, *, now: Callable[[], datetime] = clock.now, files: ShopFiles | None = None) -> FastAPI:
    """Return the application of the shop in `root`, else in the folder that WINBACK_ROOT names, else of the nearest shop upward.

    `files` are the shop's files where somebody watches them already.

    Raise ProjectError when its files have problems, StoreError when its database cannot be used, InputError when the pages
    would be open to the network without a password.
    """
    folder = root or Path(os.environ.get("WINBACK_ROOT") or find_root(Path.cwd()))
    project = files() if files else load_project(folder)
    require_safe_binding(project.settings)
    engine = open_engine(project.settings.database.url, root=project.root)
    migrate(engine)
    files = files or ShopFiles(folder, source=Applied(engine, project.root))
    track = TrackState(engine=engine, project_provider=files, now=now)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        await track.close()
        engine.dispose()

    # The interactive API pages of the framework load scripts from elsewhere; the schema alone is served.
    app = FastAPI(
        title="winback", version=__version__, docs_url=None, redoc_url=None, openapi_url="/api/openapi.json", lifespan=lifespan
    )
    app.state.shop = Shop(engine, files, now)
    app.state.guesses = Guesses()
    app.add_middleware(PageHeaders)

    app.include_router(tracking_router(track))
    app.include_router(api_router(track))
    app.include_router(metrics.router, include_in_schema=False)
    app.include_router(session.router, dependencies=[Depends(guard)], include_in_schema=False)
    for page in _PAGES:
        app.include_router(page.router, dependencies=[Depends(guard), Depends(signed_in)], include_in_schema=False)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")

    app.add_exception_handler(SignInError, _to_sign_in)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _misread)
    app.add_exception_handler(Exception, _failed)
    return app


def _to_sign_in(request: Request, _error: Exception) -> Response:
    address = sign_in_address(request)
    if "hx-request" in request.headers:
        return Response(status_code=401, headers={"HX-Redirect": address})
    return RedirectResponse(address, 303)


def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 registered for it
    if _for_programs(request):
        return JSONResponse({"detail": error.detail}, error.status_code, headers=error.headers)
    return error_page(request, error.status_code, error.detail, headers=error.headers)


def _misread(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 registered for it
    if _for_programs(request):
        problems = [{"loc": problem["loc"], "msg": problem["msg"], "type": problem["type"]} for problem in error.errors()]
        return JSONResponse({"detail": problems}, 422)
    return error_page(request, 400, "The address of this page has a part that cannot be read.")


def _failed(request: Request, _error: Exception) -> Response:
    if _for_programs(request):
        return JSONResponse({"detail": "internal error"}, 500)
    return error_page(request, 500, "")


def _for_programs(request: Request) -> bool:
    return request.url.path.startswith(PUBLIC_PATHS)
