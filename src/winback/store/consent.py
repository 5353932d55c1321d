"""Write down what a customer allowed, and which addresses must never be written to again."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, and_, delete, func, insert, select, update
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from winback.store import Channel, Purpose, SuppressionReason, consents, customers, installation, suppressions


def record_consent(  # noqa: PLR0917 - reads in the order of a consent: who, on what, for what, yes or no, when, from where
    connection: Connection,
    customer_id: int,
    channel: Channel | str,
    purpose: Purpose | str,
    granted: bool,
    at: datetime,
    source: str,
    wording: str | None = None,
) -> None:
    """Append a yes or a no to the log; the newest entry (by `at`, then by order of writing) becomes the consent in force."""
    channel, purpose = Channel(channel), Purpose(purpose)
    # Of two answers at once on PostgreSQL, the second to set the consent in force must see the first in the log.
    connection.execute(select(customers.c.id).where(customers.c.id == customer_id).with_for_update(key_share=True))
    connection.execute(
        insert(consents).values(
            customer_id=customer_id,
            channel=channel.value,
            purpose=purpose.value,
            granted=granted,
            at=at,
            source=source[:100],
            wording=wording,
        )
    )
    newest = (
        select(consents.c.granted)
        .where(consents.c.customer_id == customer_id, consents.c.channel == channel.value, consents.c.purpose == purpose.value)
        .order_by(consents.c.at.desc(), consents.c.id.desc())
        .limit(1)
        .scalar_subquery()
    )
    connection.execute(update(customers).where(customers.c.id == customer_id).values({f"{channel}_{purpose}": newest}))


def suppress(
    connection: Connection,
    channel: Channel | str,
    address_hash: str,
    reason: SuppressionReason | str,
    at: datetime,
    source: str,
) -> bool:
    """Put an address on the list nobody may write to; return whether it was not there yet.

    The first reason stays, but for `erased`: that the person asked to be forgotten outweighs every other reason.
    """
    channel, reason = Channel(channel), SuppressionReason(reason)
    known = and_(suppressions.c.channel == channel.value, suppressions.c.address_hash == address_hash)
    was_there = connection.scalar(select(func.count()).select_from(suppressions).where(known))
    new_insert = postgresql_insert if connection.dialect.name == "postgresql" else sqlite_insert
    statement = new_insert(suppressions).values(
        channel=channel.value, address_hash=address_hash, reason=reason.value, at=at, source=source[:100]
    )
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["channel", "address_hash"],
            set_={"reason": statement.excluded.reason, "at": statement.excluded.at, "source": statement.excluded.source},
            where=and_(
                statement.excluded.reason == SuppressionReason.ERASED.value,
                suppressions.c.reason != SuppressionReason.ERASED.value,
            ),
        )
    )
    return not was_there


@dataclass(frozen=True)
class Unblocked:
    """A suppression that was taken back: when and by whom, and what it had been."""

    at: datetime
    by: str
    reason: SuppressionReason
    blocked_at: datetime
    source: str


def unsuppress(connection: Connection, channel: Channel | str, address_hash: str, at: datetime, by: str) -> Unblocked | None:
    """Take an address off the list, and write down who did; return what was taken back, None where nothing was.

    Of somebody who asked to be forgotten nothing is taken back. The newest answer for each address is kept.
    """
    channel = Channel(channel)
    row = connection.execute(
        delete(suppressions)
        .where(
            suppressions.c.channel == channel.value,
            suppressions.c.address_hash == address_hash,
            suppressions.c.reason != SuppressionReason.ERASED.value,
        )
        .returning(suppressions.c.reason, suppressions.c.at, suppressions.c.source)
    ).one_or_none()
    if row is None:
        return None
    done = Unblocked(at, by[:100], SuppressionReason(row.reason), row.at, row.source)
    key = _unblocked_key(channel, address_hash)
    told = {"at": at.isoformat(), "by": done.by, "reason": done.reason, "blocked_at": row.at.isoformat(), "source": row.source}
    connection.execute(delete(installation).where(installation.c.key == key))
    connection.execute(insert(installation).values(key=key, value=json.dumps(told, ensure_ascii=False)))
    return done


def unblocked(connection: Connection, channel: Channel | str, address_hash: str) -> Unblocked | None:
    """Return when an address was last taken off the list, and by whom; None for one that never was."""
    key = _unblocked_key(Channel(channel), address_hash)
    kept = connection.scalar(select(installation.c.value).where(installation.c.key == key))
    if kept is None:
        return None
    told = json.loads(kept)
    return Unblocked(
        at=datetime.fromisoformat(told["at"]),
        by=told["by"],
        reason=SuppressionReason(told["reason"]),
        blocked_at=datetime.fromisoformat(told["blocked_at"]),
        source=told["source"],
    )


def _unblocked_key(channel: Channel, address_hash: str) -> str:
    return f"unblocked {channel.value} {address_hash}"
