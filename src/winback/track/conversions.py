"""Which message an order followed: the last of its campaign within the campaign's window. Set-based, and safe to run again.

For the held-out the virtual send counts, so that their orders are seen by the same rule. What a campaign *caused* is another
question, answered by `winback.report` from the two groups of people.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Select,
    and_,
    delete,
    exists,
    func,
    insert,
    literal,
    null,
    or_,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from winback.project import Campaign, Project
from winback.store import (
    COUNTED,
    VOID_STATUSES,
    MessageState,
    UtcDateTime,
    conversions,
    events,
    exclusive,
    installation,
    messages,
    orders,
    plus_seconds,
)

#: Orders that arrive or change up to this long after they happened are found by the next pass, older ones within a day.
LATE = timedelta(days=14)

#: How often all orders are looked at again, whatever their age.
COMPLETE_EVERY = timedelta(days=1)

_COMPLETE_KEY = "conversions.complete_at"

#: Messages that a person can have seen.
_ARRIVED = (MessageState.SENT.value, MessageState.DELIVERED.value)

_EVENT = "event:"


def attribute(connection: Connection, project: Project, now: datetime, *, everything: bool = False) -> int:
    """Write and mend the conversions of all campaigns up to `now`; return how many rows were written, mended or taken back.

    An order counts once in each campaign, for the last message before it that is at most the campaign's window old. Over all
    campaigns one of these touches is the last (`last_touch`). A cancelled, refunded or returned order loses its conversions.
    """
    exclusive(connection)
    complete = everything or _complete_is_due(connection, now)
    changed = 0
    for campaign in project.campaigns.values():
        since = None if complete else now - campaign.measure.window - LATE
        source = _source(campaign, now, since)
        changed += _take_back(connection, campaign, source, since)
        changed += _write(connection, campaign, source, now)
    _mark_last_touch(connection)
    if complete:
        _remember_complete(connection, now)
    return changed


@dataclass(frozen=True)
class _Source:
    """What counts as a conversion of a campaign: a table, its moment, its worth, and which rows."""

    kind: str
    rows: FromClause
    at: ColumnElement[datetime]
    value: ColumnElement[int]
    currency: ColumnElement[str | None]
    counts: ColumnElement[bool]  # a row that counts now
    recent: ColumnElement[bool]


def _source(campaign: Campaign, now: datetime, since: datetime | None) -> _Source:
    what = campaign.measure.conversion
    if what.startswith(_EVENT):
        rows, at = events, events.c.at
        value: ColumnElement[Any] = literal(0)
        currency: ColumnElement[Any] = null()
        counts, kind = and_(events.c.name == what.removeprefix(_EVENT), at <= now), "event"
    else:
        rows, at = orders, orders.c.placed_at
        value, currency = orders.c.total_minor, orders.c.currency
        counts, kind = and_(orders.c.status.not_in(VOID_STATUSES), at <= now), "order"
    recent = counts if since is None else and_(counts, at >= since)
    return _Source(kind, rows, at, value, currency, counts, recent)


def _touched_at(message: FromClause) -> ColumnElement[datetime]:
    return func.coalesce(message.c.sent_at, message.c.due_at, type_=UtcDateTime())


def _touches(campaign: Campaign, source: _Source) -> ColumnElement[bool]:
    """Return the condition under which a message of the campaign is a touch of a source row."""
    touched = _touched_at(messages)
    window = campaign.measure.window / timedelta(seconds=1)
    return and_(
        messages.c.customer_id == source.rows.c.customer_id,
        messages.c.campaign == campaign.name,
        or_(
            and_(messages.c.state.in_(_ARRIVED), messages.c.sent_at.is_not(None)),
            messages.c.state == MessageState.HELD_OUT.value,
        ),
        touched < source.at,
        touched >= plus_seconds(source.at, literal(-window)),
    )


def _take_back(connection: Connection, campaign: Campaign, source: _Source, since: datetime | None) -> int:
    """Delete conversions whose order was voided or moved, or whose message has bounced since.

    A row whose order is gone altogether stays: erasing a person must not change what a campaign has earned.
    """
    own = and_(conversions.c.campaign == campaign.name, conversions.c.kind == source.kind)
    same = source.rows.c.id == conversions.c.source_id
    valid = exists().where(same, messages.c.id == conversions.c.message_id, source.counts, _touches(campaign, source))
    stale = and_(own, exists().where(same), ~valid)
    if since is not None:
        stale = and_(stale, conversions.c.at >= since)
    other_kind = and_(conversions.c.campaign == campaign.name, conversions.c.kind != source.kind)
    return connection.execute(delete(conversions).where(or_(stale, other_kind))).rowcount


def _write(connection: Connection, campaign: Campaign, source: _Source, now: datetime) -> int:
    rows = _attributed(campaign, source)
    names = [column.name for column in rows.selected_columns]
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    statement = dialect.insert(conversions).from_select(names, rows)
    new = statement.excluded
    mended = ("customer_id", "enrollment_id", "message_id", "held_out", "value_minor", "currency", "at")
    return connection.execute(
        statement.on_conflict_do_update(
            index_elements=["campaign", "kind", "source_id"],
            set_={name: new[name] for name in mended},
            where=or_(*(conversions.c[name].is_distinct_from(new[name]) for name in mended)),
        ),
        # SQLAlchemy keeps the row count of an INSERT only when asked to.
        execution_options=COUNTED,
    ).rowcount


def _attributed(campaign: Campaign, source: _Source) -> Select[Any]:
    # Ranked by time, then by id, so that both databases pick the same of two messages of one moment.
    place = func.row_number().over(partition_by=source.rows.c.id, order_by=[_touched_at(messages).desc(), messages.c.id.desc()])
    touches = (
        select(
            source.rows.c.id.label("source_id"),
            source.rows.c.customer_id,
            messages.c.enrollment_id,
            messages.c.id.label("message_id"),
            (messages.c.state == MessageState.HELD_OUT.value).label("held_out"),
            source.value.label("value_minor"),
            source.currency.label("currency"),
            source.at.label("at"),
            place.label("place"),
        )
        .join_from(source.rows, messages, _touches(campaign, source))
        .where(source.recent)
        .subquery()
    )
    return select(
        literal(campaign.name).label("campaign"),
        literal(source.kind).label("kind"),
        *(column for column in touches.c if column.name != "place"),
        literal(False).label("last_touch"),
    ).where(touches.c.place == 1)


def _mark_last_touch(connection: Connection) -> None:
    """Flag the latest real message before each order, over all campaigns; a held-out person's virtual ones are none."""
    place = func.row_number().over(
        partition_by=[conversions.c.kind, conversions.c.source_id],
        order_by=[_touched_at(messages).desc(), messages.c.id.desc()],
    )
    ranked = (
        select(conversions.c.id, place.label("place"))
        .join_from(conversions, messages, messages.c.id == conversions.c.message_id)
        .where(conversions.c.held_out.is_(False))
        .subquery()
    )
    last = select(ranked.c.id).where(ranked.c.place == 1)
    connection.execute(
        update(conversions).where(conversions.c.last_touch.is_(False), conversions.c.id.in_(last)).values(last_touch=True)
    )
    connection.execute(
        update(conversions).where(conversions.c.last_touch.is_(True), conversions.c.id.not_in(last)).values(last_touch=False)
    )


def _complete_is_due(connection: Connection, now: datetime) -> bool:
    known = connection.scalar(select(installation.c.value).where(installation.c.key == _COMPLETE_KEY))
    return known is None or not timedelta(0) <= now - datetime.fromisoformat(known) < COMPLETE_EVERY


def _remember_complete(connection: Connection, now: datetime) -> None:
    connection.execute(delete(installation).where(installation.c.key == _COMPLETE_KEY))
    connection.execute(insert(installation).values(key=_COMPLETE_KEY, value=now.isoformat()))
