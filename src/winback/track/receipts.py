"""Take what gateways' other sides report: delivered, bounced, complained, replied.

Everything of one call is one transaction, and every effect may happen twice: providers repeat themselves. What is said of a
message that nobody knows is kept, for it may have overtaken the ledger: the next call looks at it again, and so does every pass.
Nothing that names or reaches a person is logged.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from fastapi import HTTPException, Response
from fastapi.concurrency import run_in_threadpool
from sqlalchemy.exc import SQLAlchemyError

from winback.errors import GatewayError
from winback.gateways.base import ReceiptEvent, ReceiptRequest
from winback.store import writing
from winback.track import deliveries, replies
from winback.track.body import read_body
from winback.track.receipt_log import Desk, storable_event

if TYPE_CHECKING:
    from fastapi import Request

    from winback.gateways.base import Gateway
    from winback.track.state import TrackState

logger = logging.getLogger(__name__)

#: Providers that collect reports send up to a thousand in one call.
_BODY_LIMIT = 2_000_000

_KINDS = ("delivered", "bounced", "complained", "replied")


async def receive(state: TrackState, gateway_name: str, request: Request) -> Response:
    """Take one call of a provider's webhook for the gateway of this name in config.toml.

    Answer 404 for a gateway that the shop does not have, 403 for a call that is not the provider's, 413 for a body too large, 400
    for what the gateway cannot read, 503 when it should come again.
    """
    if gateway_name not in {*state.project.settings.gateways, *state.gateways}:
        raise HTTPException(404, "There is no such gateway.")
    body = await read_body(request, _BODY_LIMIT)
    call = ReceiptRequest(request.method, dict(request.headers), dict(request.query_params), body)
    return await run_in_threadpool(_take, state, gateway_name, call)


def _take(state: TrackState, name: str, call: ReceiptRequest) -> Response:
    events = _read(_configured(state, name), call)
    if events:
        try:
            with writing(state.engine) as connection:
                counts = _record(Desk(connection, state.project, name, state.now()), events)
        except SQLAlchemyError as error:
            logger.error("receipts_failed gateway=%s count=%d error=%s", name, len(events), type(error).__name__)
            raise _later() from None
        told = " ".join(f"{word}={count}" for word, count in sorted(counts.items()))
        logger.info("receipts gateway=%s count=%d %s", name, len(events), told)
    # Empty and plain: some providers send what stands here on to the person who wrote.
    return Response(status_code=200, media_type="text/plain")


def _configured(state: TrackState, name: str) -> Gateway:
    try:
        return state.gateway(name)
    except GatewayError as error:
        logger.error("receipts_gateway_broken gateway=%s error=%s", name, error.message)
        raise _later() from None


def _read(gateway: Gateway, call: ReceiptRequest) -> list[ReceiptEvent]:
    try:
        return [storable_event(event) for event in gateway.receipts(call) if event.kind in _KINDS]
    except GatewayError as error:
        logger.warning("receipts_refused gateway=%s", gateway.name)
        raise HTTPException(403, error.message) from None
    except Exception as error:  # a plugin's own mistake: the other calls go on
        logger.error("receipts_unreadable gateway=%s error=%s", gateway.name, type(error).__name__)
        raise HTTPException(400, "The gateway cannot read this call.") from None


def _record(desk: Desk, events: Sequence[ReceiptEvent]) -> Counter[str]:
    counts: Counter[str] = Counter(event.kind for event in events)
    counts += deliveries.take(desk, [event for event in events if event.kind != "replied"])
    counts += replies.take(desk, [event for event in events if event.kind == "replied"])
    counts += deliveries.catch_up(desk)
    return counts


def _later() -> HTTPException:
    return HTTPException(503, "Not now; please send it again.", headers={"Retry-After": "60"})
