"""Merge staged customers and what they allowed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Subquery,
    and_,
    case,
    delete,
    exists,
    func,
    insert,
    literal,
    or_,
    select,
    update,
)

from winback.addresses import zone_of_phone
from winback.importers.merging import (
    Merge,
    Merged,
    count_rows,
    filling,
    find_targets,
    fold_repeats,
    joined_objects,
    kept,
    note_changed,
)
from winback.importers.staging import changed, index, staged_consents, staged_customers
from winback.store import AnyRow, Json, UtcDateTime, consents, customers, import_runs

_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)

_PLAIN = (
    *("email", "phone", "email_hash", "phone_hash", "first_name", "last_name", "locale", "country", "city", "zone"),
    *("birth_year", "birth_month", "birth_day"),
)


def merge_customers(merge: Merge) -> Merged:
    """Insert and update customers; take over what the file says of consent where that weakens nothing."""
    connection, done, s = merge.connection, Merged(row_by_row=merge.row_by_row), staged_customers
    index(connection, s, "external_id")
    index(connection, staged_consents, "line", "channel", "purpose")
    fold_repeats(merge, s, _move_consents)
    find_targets(connection, s, customers)
    merged = _merged(merge)
    note_changed(connection, s, customers, merged, objects=("attributes",))
    new = count_rows(connection, s, s.c.target_id.is_(None))
    done.remember(connection, s, "inserted", s.c.target_id.is_(None))
    connection.execute(
        update(customers)
        .where(customers.c.id == s.c.target_id, customers.c.id.in_(select(changed.c.id)))
        .values(**merged, updated_at=merge.moment)
    )
    _settle_zones(merge)
    known = connection.scalar(select(func.max(customers.c.id))) or 0
    _settle_answers(merge)
    told = connection.execute(select(staged_consents.c.channel, staged_consents.c.purpose).distinct()).all()
    _insert(merge, told)
    kept_noes = _take_consents(merge, told, known)
    if kept_noes:
        done.notes.append(
            f"{kept_noes} times the file says yes where the person said no: the no stays (a later consent_at would count)"
        )
    done.inserted, done.customers_created = new, new
    done.updated = count_rows(connection, s, s.c.target_id.in_(select(changed.c.id)))
    done.remember(connection, s, "updated", s.c.target_id.in_(select(changed.c.id)))
    done.unchanged = count_rows(connection, s) - done.inserted - done.updated
    return done


def _move_consents(connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Hand the consents of repeated rows to the last one; which of them counts is decided later."""
    numbers = [row["line"] for row in rows]
    connection.execute(update(staged_consents).where(staged_consents.c.line.in_(numbers)).values(line=numbers[-1]))


def _merged(merge: Merge) -> dict[str, ColumnElement[Any]]:
    """Return SQL for each column of a known customer after the merge."""
    s, c = staged_customers, customers
    merged: dict[str, ColumnElement[Any]] = {name: kept(merge, s, name, c.c[name]) for name in _PLAIN}
    # A birthday is one value: a row that brings month and day without a year takes the old year away.
    merged["birth_year"] = case((s.c.birth_month.is_not(None), s.c.birth_year), else_=merged["birth_year"])
    merged["attributes"] = joined_objects(merge.connection, c.c.attributes, s.c.attributes)
    merged["local_zone"] = case(
        (merged["zone"].is_not(None), merged["zone"]),
        (s.c.phone.is_not(None), func.coalesce(s.c.phone_zone, literal(merge.settings.zone))),
        (merged["phone"].is_(None), literal(merge.settings.zone)),
        else_=c.c.local_zone,
    )
    return merged


def _settle_zones(merge: Merge) -> None:
    """Find the zone by the phone number for customers whose own zone the file took away: only the number itself tells it."""
    if not merge.clears:
        return
    s = staged_customers
    rows = merge.connection.execute(
        select(customers.c.id, customers.c.phone)
        .join(s, s.c.target_id == customers.c.id)
        .where(s.c.cleared.contains(",zone,", autoescape=True), customers.c.phone.is_not(None))
    ).all()
    for customer_id, phone in rows:
        zone = zone_of_phone(phone) or merge.settings.zone
        merge.connection.execute(update(customers).where(customers.c.id == customer_id).values(local_zone=zone))


def _insert(merge: Merge, told: Sequence[AnyRow]) -> None:
    """Write new customers with what they allowed: nobody has heard anything else of them."""
    s = staged_customers
    answers = {f"{channel}_{purpose}": _answers(channel, purpose) for channel, purpose in told}
    people: FromClause = s
    for answer in answers.values():
        people = people.outerjoin(answer, answer.c.line == s.c.line)
    columns = ["external_id", *_PLAIN, "attributes", "local_zone", "created_at", "updated_at", *answers]
    rows = (
        select(
            s.c.external_id,
            *(s.c[name] for name in _PLAIN),
            joined_objects(merge.connection, literal({}, Json), s.c.attributes),
            func.coalesce(s.c.zone, s.c.phone_zone, literal(merge.settings.zone)),
            merge.moment,
            merge.moment,
            *(answer.c.granted for answer in answers.values()),
        )
        .select_from(people)
        .where(s.c.target_id.is_(None))
        .order_by(s.c.line)
    )
    with filling(merge.connection, customers):
        merge.connection.execute(insert(customers).from_select(columns, rows))


def _take_consents(merge: Merge, told: Sequence[AnyRow], last_known: int) -> int:
    """Write the file's answers into the log where they may count, and set the consent in force; return how many yeses may not.

    `last_known` is the highest id of the customers that were there before.
    """
    connection, refused = merge.connection, 0
    _hold(connection)
    s = staged_customers
    for channel, purpose in told:
        answer, column = _answers(channel, purpose), customers.c[f"{channel}_{purpose}"]
        own = and_(consents.c.customer_id == customers.c.id, consents.c.channel == channel, consents.c.purpose == purpose)
        people = s.join(answer, answer.c.line == s.c.line).join(customers, customers.c.external_id == s.c.external_id)
        counts, is_refused = _weigh(merge, column, answer, own)
        is_new = customers.c.id > last_known
        if last_known:
            refused += connection.scalar(select(func.count()).select_from(people).where(is_refused)) or 0
            altered = select(customers.c.id).select_from(people).where(counts, ~is_new)
            connection.execute(insert(changed).from_select(["id"], altered.where(customers.c.id.not_in(select(changed.c.id)))))
        entry = select(
            customers.c.id, literal(channel), literal(purpose), answer.c.granted,
            func.coalesce(answer.c.at, merge.moment), answer.c.source, answer.c.wording,
        )  # fmt: skip
        connection.execute(
            insert(consents).from_select(
                ["customer_id", "channel", "purpose", "granted", "at", "source", "wording"],
                entry.select_from(people).where(or_(is_new, counts)).order_by(s.c.line),
            )
        )
        if last_known:
            newest = select(consents.c.granted).where(own).order_by(consents.c.at.desc(), consents.c.id.desc()).limit(1)
            known = select(s.c.target_id).join(answer, answer.c.line == s.c.line).where(s.c.target_id.is_not(None))
            connection.execute(
                update(customers)
                .where(customers.c.id.in_(known), column.is_distinct_from(newest.scalar_subquery()))
                .values({column.name: newest.scalar_subquery(), "updated_at": merge.moment})
            )
    return refused


def _weigh(
    merge: Merge, column: ColumnElement[bool | None], answer: Subquery, own: ColumnElement[bool]
) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    """Return SQL for whether an answer counts, and for whether it is a yes that may not; `own` are the person's log entries.

    A first answer is taken. A no is taken over a yes unless the file dates it before that yes. A yes is taken over a no only
    when the file dates it after that no. A no that is said again is written down, so that no yes between the two may count.
    """
    # Said, because from within the EXISTS below SQLAlchemy would not look as far as to the person, and take everybody's entries.
    since = select(func.max(consents.c.at)).where(own).correlate(customers).scalar_subquery()
    is_later = and_(since.is_not(None), answer.c.at.is_not(None), answer.c.at > since)
    is_earlier = and_(since.is_not(None), answer.c.at.is_not(None), answer.c.at < since)
    turns_no = and_(column.is_(True), answer.c.granted.is_(False))
    turns_yes = and_(column.is_(False), answer.c.granted.is_(True))
    repeats_no = and_(column.is_(False), answer.c.granted.is_(False))
    # An undated no is of today, once: a file that is imported every night would fill the log. That the last entry had no date
    # either shows in its moment, which is that of an import; the API's calls are not kept, there the source must do.
    newest = select(consents.c.source).where(own).order_by(consents.c.at.desc(), consents.c.id.desc()).limit(1)
    of_today = exists().where(import_runs.c.started_at == since)
    known = newest.scalar_subquery() == answer.c.source if merge.row_by_row else of_today
    says_again = and_(repeats_no, or_(is_later, and_(answer.c.at.is_(None), ~known)))
    counts = or_(column.is_(None), and_(turns_no, ~is_earlier), and_(turns_yes, is_later), says_again)
    return counts, and_(turns_yes, ~is_later)


def _hold(connection: Connection) -> None:
    """Keep the customers whose consent the file tells of from changing under us: a no that comes in now must not be overwritten.

    Without it PostgreSQL may, after waiting for somebody who unsubscribes, set the consent by the log as it was before.
    """
    if connection.dialect.name != "postgresql":
        return
    s = staged_customers
    told = select(s.c.target_id).join(staged_consents, staged_consents.c.line == s.c.line)
    held = select(customers.c.id).where(customers.c.id.in_(told)).order_by(customers.c.id).with_for_update(key_share=True)
    connection.execute(select(func.count()).select_from(held.subquery()))


def _settle_answers(merge: Merge) -> None:
    """Leave each customer one answer for a channel and purpose: the latest of the file, at the same time a no.

    An undated no is of today; an undated yes counts only where the file has nothing else.
    """
    a = staged_consents
    key = (a.c.line, a.c.channel, a.c.purpose)
    if merge.connection.scalar(select(a.c.line).group_by(*key).having(func.count() > 1).limit(1)) is None:
        return
    undated = case((a.c.granted, literal(_LONG_AGO, UtcDateTime())), else_=merge.moment)
    latest = (func.coalesce(a.c.at, undated).desc(), a.c.granted, a.c.number.desc())
    ranked = select(a.c.number, func.row_number().over(partition_by=key, order_by=latest).label("place")).subquery()
    merge.connection.execute(delete(a).where(a.c.number.in_(select(ranked.c.number).where(ranked.c.place > 1))))


def _answers(channel: str, purpose: str) -> Subquery:
    """Return the file's answers for a channel and purpose, by the line of the customer's row."""
    a = staged_consents
    return select(a).where(a.c.channel == channel, a.c.purpose == purpose).subquery()
