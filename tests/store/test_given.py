"""Rows of Python's arrive in a statement as they are, on both databases."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from sqlalchemy import BigInteger, Boolean, Date, Engine, String, select

from winback.store import UtcDateTime, reading
from winback.store.given import given

_KINDS = {"text": String(), "at": UtcDateTime(), "on": Date(), "yes": Boolean(), "number": BigInteger()}


def test_rows_come_back_as_they_were_given(engine: Engine) -> None:
    rows = {
        ('O\'Brien "Ä" \\ 🎷', datetime(2026, 11, 24, 9, 30, 0, 123456, tzinfo=UTC), date(2026, 11, 24), True, 2**62),
        ("", datetime(1969, 12, 31, tzinfo=UTC), date(2000, 2, 29), False, -1),
        (None, None, None, None, None),
    }
    with reading(engine) as connection:
        table = given(connection, _KINDS, rows)
        assert {tuple(row) for row in connection.execute(select(table))} == rows
        assert connection.scalars(
            select(table.c.number).where(table.c.yes.is_(True), table.c.at > datetime(2026, 1, 1, tzinfo=UTC))
        ).all() == [2**62]


def test_no_row_is_a_table_too(engine: Engine) -> None:
    with reading(engine) as connection:
        assert connection.execute(select(given(connection, _KINDS, []))).all() == []


def test_what_cannot_be_written_is_refused(engine: Engine) -> None:
    with reading(engine) as connection, pytest.raises(TypeError, match="a set cannot be given"):
        given(connection, {"text": String()}, [({"a"},)])
