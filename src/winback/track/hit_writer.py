"""Write opens and clicks in batches: one transaction for all that arrived while the one before was written.

A commit per hit makes a thousand hits a second at most, and a link scanner sends that many. Nothing waits for a timer: the first
hit is written at once, those that come meanwhile go together.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from sqlalchemy import Connection, Row, and_, func, insert, select

from winback.store import InteractionKind, customers, interactions, links, messages, reading, writing
from winback.track.hits import classify, mark_bursts

if TYPE_CHECKING:
    from sqlalchemy import Engine

logger = logging.getLogger(__name__)

#: At most so many hits in one transaction; others wait for the next.
BATCH = 500

#: So many of the newest hits are looked at for bursts after each batch.
BURST_ROWS = 1_000

#: An answer waits so long, in seconds, for its hit to be written, then goes without.
PATIENCE = 2.0


Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Hit:
    """One request for a pixel or a link, as it came."""

    kind: InteractionKind
    message_id: str
    at: datetime
    user_agent: str | None
    address: str | None  # keyed hash
    link_id: int | None = None


@dataclass(frozen=True)
class _Found:
    """A hit on something we sent: where a click goes ('' for an open), and the row to write."""

    target: str
    row: dict[str, Any]


class Batches(Generic[Item, Result]):
    """Hand items to a blocking function in batches, in a thread of its own; those that come meanwhile go together."""

    def __init__(self, work: Callable[[list[Item]], Sequence[Result]], name: str) -> None:
        self._work = work
        self._name = name
        self._queue: list[tuple[Item, asyncio.Future[Result]]] = []
        self._task: asyncio.Task[None] | None = None
        self._thread: ThreadPoolExecutor | None = None

    def add(self, item: Item) -> asyncio.Future[Result]:
        """Queue an item; the future gets its result, or the error of its batch."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()
        self._queue.append((item, future))
        if self._task is None or self._task.done():
            self._task = loop.create_task(self._run())
        return future

    async def drain(self) -> None:
        """Wait until the queue is empty, and let the thread go."""
        while self._task is not None and not self._task.done():
            await asyncio.wait([self._task])
        if self._thread is not None:
            self._thread.shutdown()
            self._thread = None

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix=self._name)
        while self._queue:
            batch, self._queue = self._queue[:BATCH], self._queue[BATCH:]
            try:
                results = await loop.run_in_executor(self._thread, self._work, [item for item, _ in batch])
            except Exception as error:  # whatever it was, nobody may wait for ever
                logger.error("%s_failed count=%d error=%s", self._name, len(batch), type(error).__name__)
                for _, future in batch:
                    if not future.done():
                        future.set_exception(error)
                        future.exception()  # whoever does not wait for it need not hear of it
                continue
            for (_, future), result in zip(batch, results, strict=True):
                if not future.done():  # the caller went away
                    future.set_result(result)


class HitWriter:
    """Look up and write the hits of one application. Looking up never waits for writing: an import may hold the database."""

    def __init__(self, engine: Engine) -> None:
        self._found = Batches[Hit, _Found | None](partial(_look_up, engine), "hits_lookup")
        self._written = Batches[_Found, None](partial(_write, engine), "hits_write")

    async def write(self, hit: Hit) -> str | None:
        """Write a hit; return a click's target URL, '' for an open, None when the message or its link is not in the ledger.

        Raise SQLAlchemyError when the database cannot be read. A hit that cannot be written is logged; the click still works.
        """
        found = await self._found.add(hit)
        if found is None:
            return None
        await asyncio.wait([self._written.add(found)], timeout=PATIENCE)
        return found.target

    async def drain(self) -> None:
        """Wait until everything is written, and let the threads go."""
        await self._found.drain()
        await self._written.drain()


def _look_up(engine: Engine, batch: Sequence[Hit]) -> list[_Found | None]:
    with reading(engine) as connection:
        known = {
            row.id: row
            for row in connection.execute(
                select(messages.c.id, messages.c.campaign, messages.c.step, messages.c.customer_id, customers.c.erased_at)
                .join(customers, customers.c.id == messages.c.customer_id)
                .where(messages.c.id.in_({hit.message_id for hit in batch}))
            )
        }
        wanted = {hit.link_id for hit in batch if hit.link_id is not None}
        carried = {row.id: row for row in connection.execute(select(links).where(links.c.id.in_(wanted)))} if wanted else {}
    return [_found(hit, known.get(hit.message_id), carried.get(hit.link_id)) for hit in batch]


def _found(hit: Hit, message: Row[*tuple[Any, ...]] | None, link: Row[*tuple[Any, ...]] | None) -> _Found | None:
    if message is None:
        return None
    target = ""
    if hit.kind is InteractionKind.CLICK:
        # The token is signed, so this only fails for links of a step that was renamed in the database by hand.
        if link is None or (link.campaign, link.step) != (message.campaign, message.step):
            return None
        target = link.url
    row = {
        "message_id": hit.message_id,
        "customer_id": message.customer_id,
        "campaign": message.campaign,
        "step": message.step,
        "kind": hit.kind.value,
        "klass": classify(hit.kind, hit.user_agent).value,
        "link_id": hit.link_id,
        "at": hit.at,
        # Of people who were forgotten it only counts that somebody did it.
        "user_agent": hit.user_agent if message.erased_at is None else None,
        "address": hit.address if message.erased_at is None else None,
    }
    return _Found(target, row)


def _write(engine: Engine, batch: Sequence[_Found]) -> list[None]:
    rows = [found.row for found in batch]
    with writing(engine) as connection:
        connection.execute(insert(interactions), rows)
        _mark_recent_bursts(connection, rows)
    return [None] * len(batch)


def _mark_recent_bursts(connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
    addresses = {row["address"] for row in rows if row["kind"] == InteractionKind.CLICK and row["address"] is not None}
    if not addresses:
        return
    newest = connection.scalar(select(func.max(interactions.c.id))) or 0
    since = newest - BURST_ROWS - len(rows)
    mark_bursts(connection, and_(interactions.c.id > since, interactions.c.address.in_(addresses)))
