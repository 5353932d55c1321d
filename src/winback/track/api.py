"""The JSON API: a shop system hands over customers, orders and events, asks about a customer, and has one forgotten.

What comes in is read and merged as a file is, by `winback.importers`: the same upsert, the same rules for consent. Every call may
be made again; what is known already stays as it is. The schema is at /api/openapi.json.
"""

from __future__ import annotations

import hmac
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Protocol, TypeVar

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from fastapi import APIRouter, HTTPException, Request, Response, Security
from fastapi.responses import JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy.exc import DataError, SQLAlchemyError

from winback.errors import InputError
from winback.importers import Kind
from winback.track import api_people, api_rows
from winback.track.api_models import (
    CampaignAnswer,
    ConsentRow,
    ConsentTaken,
    CustomerAnswer,
    CustomerRow,
    EventRow,
    OrderRow,
    Refusal,
    Row,
    RowsAnswer,
    inlined,
)
from winback.track.body import read_body

if TYPE_CHECKING:
    from winback.track.state import TrackState

logger = logging.getLogger(__name__)

#: A thousand rows with some attributes are far smaller.
BODY_LIMIT = 5_000_000

#: So many calls work at once. Others wait in line: unsubscribing shares the threads and must never wait for an import.
_AT_ONCE = 4

_bearer = HTTPBearer(
    auto_error=False,
    scheme_name="API key",
    description="The key that `web.api_key` in config.toml names: `Authorization: Bearer KEY`.",
)

_REFUSALS: dict[int | str, dict[str, Any]] = {
    401: {"model": Refusal, "description": "The API key is missing or wrong."},
    403: {"model": Refusal, "description": "The shop has no API key, so its API is closed."},
    503: {"model": Refusal, "description": "The database is busy or does not answer. Nothing was changed; send it again."},
}
_NO_BODY: dict[int | str, dict[str, Any]] = {
    400: {"model": Refusal, "description": "The body is not JSON."},
    413: {"model": Refusal, "description": f"More than {api_rows.ROWS} rows, or more than {BODY_LIMIT} bytes."},
}
_NOBODY: dict[int | str, dict[str, Any]] = {404: {"model": Refusal, "description": "There is no such customer."}}

_Result = TypeVar("_Result")


class _Work(Protocol):
    """Run a blocking task in a thread, and give what it returns."""

    async def __call__(self, task: Callable[..., _Result], *given: Any) -> _Result: ...


def api_router(state: TrackState) -> APIRouter:
    """Return the routes under /api/v1 of one shop."""
    threads = CapacityLimiter(_AT_ONCE)

    async def work(task: Callable[..., _Result], *given: Any) -> _Result:
        return await run_sync(_answered, task, *given, limiter=threads)

    router = APIRouter(prefix="/api/v1", dependencies=[Security(_door(state))], responses=_REFUSALS)
    _add_rows(router, state, work)
    _add_people(router, state, work)

    @router.get("/campaigns", tags=["campaigns"], summary="List the campaigns")
    async def campaigns() -> list[CampaignAnswer]:
        """Every campaign of the shop's files, and how many of its messages stand where."""
        return await work(api_people.campaigns, state)

    return router


def _add_rows(router: APIRouter, state: TrackState, work: _Work) -> None:
    """Add the three routes that take rows."""

    async def take(kind: Kind, request: Request) -> Response:
        answer = await work(api_rows.take, state, kind, await read_body(request, BODY_LIMIT))
        return JSONResponse(answer.model_dump(mode="json", exclude_none=True), 422 if answer.detail else 200)

    @router.post("/customers", tags=["customers"], summary="Insert or update customers", **_rows_in(CustomerRow))
    async def customers(request: Request) -> Response:
        """One customer, or a list. A yes never undoes a no that is not older, and nobody who was forgotten comes back."""
        return await take(Kind.CUSTOMERS, request)

    @router.post("/orders", tags=["orders"], summary="Insert or update orders", **_rows_in(OrderRow))
    async def orders(request: Request) -> Response:
        """One order with its lines, or a list. Send it again when something about it has changed: delivered, refunded."""
        return await take(Kind.ORDERS, request)

    @router.post("/events", tags=["events"], summary="Insert events", **_rows_in(EventRow))
    async def events(request: Request) -> Response:
        """One event, or a list: a visit, a download, a webinar. Campaigns and scores know events by their names."""
        return await take(Kind.EVENTS, request)


def _add_people(router: APIRouter, state: TrackState, work: _Work) -> None:
    """Add the routes about one customer. Ids may hold slashes."""

    @router.get("/customers/{customer:path}", tags=["customers"], summary="Show a customer", responses=_NOBODY)
    async def show(customer: str, response: Response) -> CustomerAnswer:
        """Profile, consent in force, and what is known of the customer's orders."""
        response.headers["Cache-Control"] = "no-store"
        return _or_404(await work(api_people.show, state, customer))

    @router.post(
        "/customers/{customer:path}/consent",
        tags=["customers"],
        summary="Record a yes or a no",
        responses={**_NO_BODY, **_NOBODY, 422: {"model": Refusal, "description": "The consent cannot be used as it is."}},
        openapi_extra=_body(inlined(ConsentRow)),
    )
    async def consent(customer: str, request: Request) -> ConsentTaken:
        """What a person said in the shop, on the phone or in a letter. It is written into the log; the newest answer counts."""
        return _or_404(await work(api_people.take_consent, state, customer, await read_body(request, BODY_LIMIT)))

    @router.delete(
        "/customers/{customer:path}", tags=["customers"], summary="Forget a customer", status_code=204, responses=_NOBODY
    )
    async def erase(customer: str) -> None:
        """Take out everything that names or reaches the person. Counts stay as they are, and no import brings the person back."""
        _or_404(await work(api_people.erase, state, customer))


def _rows_in(model: type[Row]) -> dict[str, Any]:
    one = inlined(model)
    several = {"type": "array", "items": one, "maxItems": api_rows.ROWS}
    rejected = {"model": RowsAnswer, "description": "No row could be used; `results` says why."}
    return {
        "response_model": RowsAnswer,
        "responses": {**_NO_BODY, 422: rejected},
        "openapi_extra": _body({"oneOf": [one, several]}),
    }


def _body(schema: dict[str, Any]) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def _door(state: TrackState) -> Callable[..., None]:
    """Return what lets in who knows the API key, and nobody while there is none."""

    def let_in(given: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)]) -> None:
        secret = state.project.settings.web.api_key
        if secret is None:
            raise HTTPException(403, "The API of this shop is closed: set web.api_key in config.toml to open it.")
        try:
            key = secret.reveal().encode()
        except InputError as error:
            logger.error("api_key_unreadable source=%s", secret.source)
            raise HTTPException(403, f"The API of this shop is closed: {error.message}.") from None
        # Headers arrive as Latin-1, whatever bytes they were.
        if given is None or not hmac.compare_digest(given.credentials.encode("latin-1", "replace"), key):
            raise HTTPException(401, "Send the API key: Authorization: Bearer KEY", headers={"WWW-Authenticate": "Bearer"})

    return let_in


def _answered(task: Callable[..., _Result], *given: Any) -> _Result:
    """Run a task; what the database cannot do becomes an answer that says whether to try again."""
    try:
        return task(*given)
    except DataError as error:
        logger.error("api_data_refused error=%s", type(error.orig).__name__)
        raise HTTPException(422, "A value does not fit into the database; nothing was changed.") from None
    except SQLAlchemyError as error:
        logger.error("api_database_failed error=%s", type(error).__name__)
        later = {"Retry-After": "10"}
        raise HTTPException(503, "The database is busy or does not answer; nothing was changed.", headers=later) from None


def _or_404(found: _Result | None) -> _Result:
    if found is None:
        raise HTTPException(404, "There is no such customer.")
    return found
