"""Moments mean the same on both databases."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import Engine, insert, literal, select
from sqlalchemy.exc import IntegrityError, StatementError

from winback.store import (
    MessageState,
    campaign_states,
    enrollments,
    messages,
    plus_seconds,
    reading,
    seconds_between,
    writing,
)

NOON = datetime(2026, 3, 29, 12, 0, 0, 123456, tzinfo=UTC)


def test_a_moment_comes_back_in_utc_to_the_microsecond(engine: Engine) -> None:
    elsewhere = NOON.astimezone(timezone(timedelta(hours=5, minutes=30)))
    row = {"name": "a", "live_since": elsewhere, "definition_hash": ""}
    with writing(engine) as connection:
        connection.execute(insert(campaign_states), row)
        found = connection.scalar(select(campaign_states.c.live_since))
    assert found == NOON
    assert found.tzinfo is UTC


def test_a_naive_moment_is_refused(engine: Engine) -> None:
    row = {"name": "a", "live_since": NOON.replace(tzinfo=None), "definition_hash": ""}
    with pytest.raises(StatementError, match="naive datetime"), writing(engine) as connection:
        connection.execute(insert(campaign_states), row)


def test_moments_add_and_subtract_in_sql(engine: Engine) -> None:
    with reading(engine) as connection:
        later, gap = connection.execute(
            select(plus_seconds(NOON, literal(90)), seconds_between(NOON, NOON + timedelta(days=1)))
        ).one()
    assert later == NOON + timedelta(seconds=90)
    assert gap == 86400.0


def test_an_unknown_state_is_refused_by_the_database(engine: Engine) -> None:
    row = {
        "campaign": "a", "customer_id": 1, "occasion": "x", "anchor_at": NOON, "zone": "UTC",
        "variant": "", "held_out": False, "state": "nonsense", "enrolled_at": NOON,
    }  # fmt: skip
    with pytest.raises(IntegrityError), writing(engine) as connection:
        connection.execute(insert(enrollments), row)


def test_a_word_of_ours_stands_in_the_statement_and_any_other_text_is_bound() -> None:
    state = messages.c.state
    asked = select(messages.c.id).where(state == MessageState.PLANNED, state.in_((MessageState.SENT, MessageState.SENDING)))
    compiled = asked.compile()
    assert "state = 'planned' AND" in str(compiled)
    assert "state IN ('sent', 'sending')" in str(compiled)
    assert compiled.params == {}
    bound = select(messages.c.id).where(state == "it's", state.in_(["a", MessageState.SENT])).compile()
    assert set(bound.params) == {"state_1", "state_2"}
