"""Read the mailboxes of `[bounces]` when their time has come, and remember how far, and what went wrong."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from hashlib import blake2b

from sqlalchemy import Connection, Engine, select
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from winback.errors import MailboxError
from winback.project import Project
from winback.store import installation, writing
from winback.track.bounces.mailbox import Mailbox, Maildir
from winback.track.bounces.parse import parse
from winback.track.bounces.taking import take

logger = logging.getLogger(__name__)

#: Of a mailbox that was never read before, mails of so long ago are looked at.
_FIRST = timedelta(days=14)

#: Batches of one mailbox that are read in one pass; the next pass goes on at once.
_BATCHES = 20

_LETTERS = 150  # of an error and of a remedy that are kept


@dataclass(frozen=True)
class Standing:
    """How a mailbox stands: when it was last tried, and what is wrong since when, if anything is."""

    tried: datetime
    error: str = ""
    remedy: str = ""
    since: datetime | None = None
    more: bool = False  # there is more to read than one pass takes


def mailboxes(project: Project) -> list[Mailbox]:
    """Return the mailboxes that the settings name."""
    from winback.track.bounces.imap import ImapMailbox

    settings = project.settings.bounces
    found: list[Mailbox] = []
    if settings.maildir is not None:
        found.append(Maildir(project.root / settings.maildir))
    if settings.imap is not None:
        found.append(ImapMailbox(settings.imap, root=project.root))
    return found


def read_mailboxes(
    engine: Engine, project: Project, now: datetime, *, stop: Callable[[], bool] | None = None
) -> list[MailboxError]:
    """Read every mailbox whose time has come; return what went wrong with each that could not be read."""
    stopping = stop or (lambda: False)
    wrong = []
    for mailbox in mailboxes(project):
        before = _take_turn(engine, mailbox, now, project.settings.bounces.every)
        if before is None or stopping():
            continue
        after = Standing(now)
        try:
            after = replace(after, more=_read(engine, project, mailbox, now, stopping))
        except MailboxError as error:
            since = before.since if before.error else now
            after = replace(after, error=_short(error.message), remedy=_short(error.remedy), since=since)
            wrong.append(error)
        with writing(engine) as connection:
            _keep(connection, _standing_key(mailbox), _written(after))
    return wrong


def standing(connection: Connection, mailbox: Mailbox) -> Standing | None:
    """Return how a mailbox stands; None for one that was never tried."""
    kept = _kept(connection, _standing_key(mailbox))
    if not kept:
        return None
    told = json.loads(kept)
    moments = {name: datetime.fromisoformat(told[name]) for name in ("tried", "since") if told[name]}
    return Standing(**{**told, **moments})


def _take_turn(engine: Engine, mailbox: Mailbox, now: datetime, every: timedelta) -> Standing | None:
    """Say that the mailbox is tried now, so that no other process does; return how it stood, None when it is not its time."""
    with writing(engine) as connection:
        before = standing(connection, mailbox)
        if before is not None and not before.more and timedelta() <= now - before.tried < every:
            return None
        mine = Standing(now) if before is None else replace(before, tried=now, more=False)
        _keep(connection, _standing_key(mailbox), _written(mine))
    return before or mine


def _read(engine: Engine, project: Project, mailbox: Mailbox, now: datetime, stopping: Callable[[], bool]) -> bool:
    """Work off a mailbox batch by batch; return whether there is more."""
    mark_key = f"mail read {blake2b(mailbox.identity.encode(), digest_size=16).hexdigest()}"
    with writing(engine) as connection:
        mark = _kept(connection, mark_key)
    counts: Counter[str] = Counter()
    more = False
    with closing(mailbox.read(mark, now - _FIRST)) as batches:
        for number, batch in enumerate(batches, 1):
            reports = [parse(content) for content in batch.contents]
            with writing(engine) as connection:
                taken = take(connection, project, reports, now)
                if batch.mark:
                    _keep(connection, mark_key, batch.mark)
            batch.settle([report.mail_id in taken.settled for report in reports])
            counts += taken.counts
            more = number >= _BATCHES or stopping()
            if more:
                break
    if counts:
        told = " ".join(f"{word}={count}" for word, count in sorted(counts.items()))
        logger.info("mail mailbox=%s %s", mailbox.name, told)
    return more


def _short(text: str) -> str:
    return text.replace("\\", "/").replace('"', "'")[:_LETTERS]


def _standing_key(mailbox: Mailbox) -> str:
    return f"mailbox {mailbox.name}"


def _written(standing: Standing) -> str:
    return json.dumps(asdict(standing), ensure_ascii=False, default=lambda moment: moment.isoformat())


def _kept(connection: Connection, key: str) -> str:
    return connection.scalar(select(installation.c.value).where(installation.c.key == key)) or ""


def _keep(connection: Connection, key: str, value: str) -> None:
    dialect_insert = postgresql_insert if connection.dialect.name == "postgresql" else sqlite_insert
    statement = dialect_insert(installation).values(key=key, value=value)
    connection.execute(statement.on_conflict_do_update(index_elements=["key"], set_={"value": statement.excluded.value}))
