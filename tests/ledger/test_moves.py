"""Messages move along the edges of the ledger only, each time with a history row, on both databases."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime, timedelta
from itertools import product
from typing import Any

import pytest
from sqlalchemy import Engine, event, insert, literal, select, union_all

from tests.rows import add_customer
from winback import ledger
from winback.ledger import EDGES, Move
from winback.store import MessageState, enrollments, message_history, messages, open_engine, reading, writing

State = MessageState


def _rows(engine: Engine, now: datetime, count: int = 3, **columns: Any) -> list[dict[str, Any]]:
    """Enroll `count` people and return the rows of their first messages."""
    rows = []
    with writing(engine) as connection:
        for number in range(count):
            customer = add_customer(connection, f"C{number}", now)
            enrollment = connection.execute(
                insert(enrollments)
                .values(
                    campaign="sleeping",
                    customer_id=customer,
                    occasion="o",
                    anchor_at=now,
                    zone="UTC",
                    variant="",
                    held_out=False,
                    state="active",
                    enrolled_at=now,
                )
                .returning(enrollments.c.id)
            ).scalar_one()
            rows.append(
                {
                    "id": ledger.message_id("sleeping", f"C{number}", "o", "hello"),
                    "enrollment_id": enrollment,
                    "campaign": "sleeping",
                    "step": "hello",
                    "customer_id": customer,
                    "channel": "email",
                    "purpose": "marketing",
                    "variant": "",
                    "state": "planned",
                    "planned_at": now,
                    "due_at": now,
                    "due_on": date(2026, 11, 24),
                    "next_attempt_at": now,
                    "valid_until": now + timedelta(hours=12),
                    "definition_hash": "x",
                    **columns,
                }
            )
    return rows


def _insert(engine: Engine, rows: list[dict[str, Any]], now: datetime) -> int:
    with writing(engine) as connection:
        return ledger.insert(connection, rows, now=now, worker="test")


def _history(engine: Engine) -> list[tuple[Any, ...]]:
    with reading(engine) as connection:
        query = select(message_history.c.from_state, message_history.c.to_state, message_history.c.reason)
        return [tuple(row) for row in connection.execute(query.order_by(message_history.c.id))]


def test_an_id_follows_from_the_key_and_never_changes() -> None:
    assert ledger.message_id("sleeping", "C1", "o", "hello") == "bd4aa388-9b4b-52f9-8c14-c3f2b48eee99"
    ids = {ledger.message_id(*key) for key in product(("a", "ab"), ("b", ""), ("c", "bc"), ("d",))}
    assert len(ids) == 8


def test_a_message_is_written_once(engine: Engine, now: datetime) -> None:
    rows = _rows(engine, now)
    assert _insert(engine, rows, now) == 3
    assert _insert(engine, rows, now) == 0
    assert _history(engine) == [(None, "planned", None)] * 3


def test_selected_messages_are_written_once(engine: Engine, now: datetime) -> None:
    rows = _rows(engine, now)
    assert _insert(engine, rows[:1], now) == 1
    with writing(engine) as connection:
        given = union_all(
            *(select(*(literal(value, messages.c[name].type).label(name) for name, value in row.items())) for row in rows)
        ).subquery()
        for _ in range(2):
            ledger.insert_selected(connection, select(given), now=now, worker="test")
    assert _history(engine) == [(None, "planned", None)] * 3
    with reading(engine) as connection:
        assert set(connection.scalars(select(messages.c.id))) == {row["id"] for row in rows}
        assert set(connection.scalars(select(messages.c.attempts))) == {0}


def test_no_message_begins_as_sent(engine: Engine, now: datetime) -> None:
    with pytest.raises(ValueError, match="no message begins as sent"):
        _insert(engine, _rows(engine, now, state="sent"), now)


@pytest.mark.parametrize(("source", "target"), sorted(set(product(State, State)) - EDGES))
def test_there_is_no_other_edge(source: State, target: State) -> None:
    with pytest.raises(ValueError, match="never goes"):
        ledger.apply(None, [Move("x", source, target)], now=datetime.min, worker="test")  # type: ignore[arg-type]  # noqa: DTZ901


def test_only_what_is_still_in_the_source_state_moves(engine: Engine, now: datetime) -> None:
    rows = _rows(engine, now)
    _insert(engine, rows, now)
    ids = [row["id"] for row in rows]
    with writing(engine) as connection:
        first = ledger.apply(connection, [Move(ids[0], State.PLANNED, State.CANCELLED, "exit")], now=now, worker="w")
        again = ledger.apply(connection, [Move(id_, State.PLANNED, State.CANCELLED, "exit") for id_ in ids], now=now, worker="w")
    assert first == {ids[0]}
    assert again == set(ids[1:])
    assert _history(engine)[3:] == [("planned", "cancelled", "exit")] * 3


def test_a_claim_belongs_to_one_dispatcher(engine: Engine, now: datetime) -> None:
    rows = _rows(engine, now)
    _insert(engine, rows, now)
    with writing(engine) as connection:
        mine = ledger.claim(connection, worker="me", now=now, limit=2, channels={"email"})
    assert len(mine) == 2
    sent = [Move(message.id, State.SENDING, State.SENT, values={"sent_at": now, "provider_id": "q1"}) for message in mine]
    with writing(engine) as connection:
        assert ledger.apply(connection, sent, now=now, worker="other", claimed_by="other") == set()
        assert ledger.apply(connection, sent, now=now, worker="me", claimed_by="me") == {message.id for message in mine}
    with reading(engine) as connection:
        row = connection.execute(select(messages).where(messages.c.id == mine[0].id)).one()
    assert (row.state, row.sent_at, row.provider_id, row.claimed_by) == ("sent", now, "q1", None)


def test_what_is_not_due_or_of_another_channel_is_left(engine: Engine, now: datetime) -> None:
    _insert(engine, _rows(engine, now, next_attempt_at=now + timedelta(minutes=1)), now)
    with writing(engine) as connection:
        assert ledger.claim(connection, worker="me", now=now, limit=9, channels={"email", "sms"}) == []
        later = now + timedelta(minutes=1)
        assert ledger.claim(connection, worker="me", now=later, limit=9, channels={"sms"}) == []
        assert len(ledger.claim(connection, worker="me", now=later, limit=9, channels={"email"})) == 3


def test_many_dispatchers_never_get_the_same_message(engine: Engine, database_url: str, now: datetime) -> None:
    _insert(engine, _rows(engine, now, count=40), now)

    def work(name: str) -> list[str]:
        own = open_engine(database_url)
        got: list[str] = []
        while True:
            with writing(own) as connection:
                batch = ledger.claim(connection, worker=name, now=now, limit=3, channels={"email"})
            if not batch:
                own.dispose()
                return got
            got += [message.id for message in batch]

    with ThreadPoolExecutor(4) as pool:
        claimed = [id_ for ids in pool.map(work, "abcd") for id_ in ids]
    assert len(claimed) == len(set(claimed)) == 40


def test_a_claim_sorts_nothing_however_many_wait(engine: Engine, now: datetime) -> None:
    if engine.dialect.name == "postgresql":
        pytest.skip("its plans follow from the tables' sizes")
    _insert(engine, _rows(engine, now), now)
    seen: list[tuple[str, Any]] = []

    @event.listens_for(engine, "before_cursor_execute")
    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: bool) -> None:
        if "UPDATE messages" in statement:
            seen.append((statement, parameters))

    with writing(engine) as connection:
        assert len(ledger.claim(connection, worker="test", now=now, limit=2, channels=["email"])) == 2
        statement, parameters = seen[0]
        steps = str(connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all())
    assert "ix_messages_ready" in steps
    assert "ORDER BY" not in steps
