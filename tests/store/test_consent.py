"""The consent log and the list of addresses that nobody may write to."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Connection, Engine, select

from tests.rows import add_customer
from winback.store import Channel, Purpose, SuppressionReason, consents, customers, suppressions, writing
from winback.store.consent import record_consent, suppress

NOW = datetime(2026, 11, 24, tzinfo=UTC)


def in_force(connection: Connection, customer_id: int) -> bool | None:
    """Return whether marketing by e-mail is allowed."""
    found: bool | None = connection.scalar(select(customers.c.email_marketing).where(customers.c.id == customer_id))
    return found


@pytest.mark.parametrize(
    ("answers", "allowed"),
    [
        ([(True, 0)], True),
        ([(True, 0), (False, 1)], False),
        ([(False, 1), (True, 0)], False),  # told later, said earlier
        ([(False, 0), (True, 0)], True),  # at the same moment the last one written
        ([(True, 0), (False, 0)], False),
        ([(True, 2), (False, 1), (True, 0)], True),
    ],
)
def test_the_newest_answer_counts(engine: Engine, answers: list[tuple[bool, int]], allowed: bool) -> None:
    with writing(engine) as connection:
        own = add_customer(connection, "C1", NOW, email_marketing=None)
        other = add_customer(connection, "C2", NOW, email_marketing=None)
        for granted, hours in answers:
            record_consent(connection, own, "email", "marketing", granted, NOW + timedelta(hours=hours), "test")
        assert in_force(connection, own) is allowed
        assert in_force(connection, other) is None
        assert len(connection.execute(select(consents)).all()) == len(answers)


def test_channels_and_purposes_are_apart(engine: Engine) -> None:
    with writing(engine) as connection:
        own = add_customer(connection, "C1", NOW, email_marketing=None, email_service=None)
        record_consent(connection, own, Channel.SMS, Purpose.SERVICE, False, NOW, "x" * 300, wording="v1")
        row = connection.execute(select(customers)).one()
        assert (row.email_marketing, row.email_service, row.sms_marketing, row.sms_service) == (None, None, None, False)
        assert connection.scalar(select(consents.c.source)) == "x" * 100


@pytest.mark.parametrize(("channel", "purpose"), [("fax", "marketing"), ("email", "anything")])
def test_unknown_words_are_refused(engine: Engine, channel: str, purpose: str) -> None:
    with writing(engine) as connection, pytest.raises(ValueError, match="not a valid"):
        record_consent(connection, 1, channel, purpose, True, NOW, "test")


def test_the_first_reason_stays_but_for_having_been_erased(engine: Engine) -> None:
    with writing(engine) as connection:
        found = [
            suppress(connection, "email", "a" * 32, reason, NOW + timedelta(hours=number), "test")
            for number, reason in enumerate(["hard_bounce", "complaint", "erased", "manual"])
        ]
        assert found == [True, False, False, False]
        row = connection.execute(select(suppressions)).one()
        assert (row.reason, row.at) == (SuppressionReason.ERASED.value, NOW + timedelta(hours=2))


def test_a_channel_is_blocked_alone(engine: Engine) -> None:
    with writing(engine) as connection:
        assert suppress(connection, "email", "a" * 32, "manual", NOW, "test")
        assert suppress(connection, "sms", "a" * 32, "manual", NOW, "test")
