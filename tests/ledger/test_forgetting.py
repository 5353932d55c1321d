"""Forgetting a person ends what is planned for them, through the ledger."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import Engine, select, update

from tests.store.person import add_person
from winback.ledger.forgetting import forget_customer
from winback.store import MessageState, enrollments, message_history, messages, writing

NOW = datetime(2026, 11, 24, 10, tzinfo=UTC)
KEY = b"k" * 32


def test_what_is_planned_is_cancelled_and_campaigns_end(engine: Engine) -> None:
    with writing(engine) as connection:
        own = add_person(connection, NOW, KEY)
        done = forget_customer(connection, own, now=NOW, key=KEY, source="test", worker="test")
        assert (done.cancelled, done.left, done.in_flight, done.orders, done.events) == (1, 1, 0, 1, 1)
        assert done.suppressed == ("email", "sms")
        assert len(done.message_ids) == 2
        states = {(row.state, row.reason) for row in connection.execute(select(messages.c.state, messages.c.reason))}
        assert states == {("cancelled", "erased"), ("sent", "erased")}
        rows = connection.execute(select(enrollments.c.state, enrollments.c.exit_reason, enrollments.c.due_at)).all()
        assert sorted(tuple(row) for row in rows) == [("exited", "erased", None), ("finished", None, None)]
        edge = connection.execute(select(message_history).where(message_history.c.to_state == "cancelled")).one()
        assert (edge.from_state, edge.reason, edge.worker, edge.at) == ("planned", "erased", "test", NOW)


def test_a_message_in_a_dispatchers_hands_is_left_and_told(engine: Engine) -> None:
    with writing(engine) as connection:
        own = add_person(connection, NOW, KEY)
        connection.execute(update(messages).where(messages.c.state == "planned").values(state=MessageState.SENDING))
        done = forget_customer(connection, own, now=NOW, key=KEY, source="test", worker="test")
        assert (done.cancelled, done.in_flight) == (0, 1)
        assert set(connection.scalars(select(messages.c.state))) == {"sending", "sent"}


def test_again_changes_nothing(engine: Engine) -> None:
    with writing(engine) as connection:
        own = add_person(connection, NOW, KEY)
        forget_customer(connection, own, now=NOW, key=KEY, source="test", worker="test")
        again = forget_customer(connection, own, now=NOW, key=KEY, source="test", worker="test")
        assert (again.cancelled, again.left, again.suppressed) == (0, 0, ())
