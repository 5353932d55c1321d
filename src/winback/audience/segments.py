"""Segments: audiences with a name, and since when each customer has been inside."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

from pydantic import Field
from sqlalchemy import ColumnElement, Connection, delete, exists, insert, literal, select, update
from sqlalchemy.dialects import postgresql, sqlite

from winback.audience.context import AudienceContext
from winback.filemodel import Expression, FileModel, Name, Text
from winback.store import COUNTED, UtcDateTime, customers, filled, installation, segment_members

#: Those who were inside when a segment was first looked at, or when its definition changed, have not just entered it.
BEFORE_WE_LOOKED = datetime(1970, 1, 1, tzinfo=UTC)

#: Begins the keys under which it is kept which definition of a segment was last looked at.
_PREFIX = "segment."


class Segment(FileModel):
    """An audience of campaigns/audiences.toml."""

    name: Name
    title: Text = Field(description="What people call it.", examples=["Loyal customers"])
    where: Expression = Field(description="The condition; it may ask about other segments.", examples=["orders >= 5"])


def update_segments(connection: Connection, segments: Mapping[str, Segment], context: AudienceContext) -> None:
    """Note who has entered and who has left each of these segments since the last time, as of the clock's now.

    Nothing is remembered of other segments: one that is back after a while is as new.
    """
    from winback.audience.where import compile_condition

    known = {**context.segments, **segments}  # a definition may name any of them
    for name, segment in segments.items():
        inside = compile_condition(segment.where, context, scope="customer", customer=customers)
        definition = _definition(segment, known, context)
        is_known = _is_known(connection, segment, definition)
        _let_in(connection, name, inside, context.clock.now if is_known else BEFORE_WE_LOOKED)
        _let_out(connection, name, inside, context.clock.now if is_known else BEFORE_WE_LOOKED)
        if not is_known:
            _remember(connection, segment, definition)
    connection.execute(delete(segment_members).where(segment_members.c.segment.not_in(list(segments))))
    ours = installation.c.key.startswith(_PREFIX, autoescape=True)
    connection.execute(delete(installation).where(ours, installation.c.key.not_in([_key(each) for each in segments.values()])))


def _let_in(connection: Connection, segment: str, inside: ColumnElement[bool], at: datetime) -> None:
    """Note who is inside and was not, or never before."""
    back = (_of(segment), segment_members.c.left_at.is_not(None), _member(inside))
    connection.execute(update(segment_members).where(*back).values(entered_at=at, left_at=None))
    entered = select(literal(segment), customers.c.id, literal(at, UtcDateTime())).where(inside)
    # Not "who is not among them yet": where PostgreSQL takes a table for empty, it reads it through for each who is added to it.
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    statement = dialect.insert(segment_members).from_select(["segment", "customer_id", "entered_at"], entered)
    written = connection.execute(statement.on_conflict_do_nothing(), execution_options=COUNTED)
    filled(connection, segment_members, written.rowcount)


def _let_out(connection: Connection, segment: str, inside: ColumnElement[bool], at: datetime) -> None:
    """Note who is outside and was not."""
    gone = (_of(segment), segment_members.c.left_at.is_(None), ~_member(inside))
    connection.execute(update(segment_members).where(*gone).values(left_at=at))


def _member(inside: ColumnElement[bool]) -> ColumnElement[bool]:
    """Ask of a member whether they are inside; nobody else is looked at."""
    return exists().where(customers.c.id == segment_members.c.customer_id, inside)


def _of(segment: str) -> ColumnElement[bool]:
    return segment_members.c.segment == segment


def _is_known(connection: Connection, segment: Segment, definition: str) -> bool:
    kept = connection.scalar(select(installation.c.value).where(installation.c.key == _key(segment)))
    return kept == definition


def _remember(connection: Connection, segment: Segment, definition: str) -> None:
    values = {"value": definition}
    if not connection.execute(update(installation).where(installation.c.key == _key(segment)).values(values)).rowcount:
        connection.execute(insert(installation).values(key=_key(segment), **values))


def _key(segment: Segment) -> str:
    # A key has 50 characters, a name up to 80.
    return f"{_PREFIX}{hashlib.sha256(segment.name.encode()).hexdigest()[:40]}"


def _definition(segment: Segment, segments: Mapping[str, Segment], context: AudienceContext) -> str:
    """Return a digest of what makes a customer a member: the segments that it names, and how the shop compares buyers."""
    texts = sorted({segment.where, *(other.where for other in _used(segment, segments)), str(context.standing)})
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()


def _used(segment: Segment, segments: Mapping[str, Segment]) -> Iterator[Segment]:
    from winback.audience.syntax import segments_in

    seen, todo = set(), [segment]
    while todo:
        for name in segments_in(todo.pop().where):
            if name in segments and name not in seen:
                seen.add(name)
                todo.append(segments[name])
                yield segments[name]
