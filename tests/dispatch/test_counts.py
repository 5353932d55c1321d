"""Whatever gateways answer, and whenever a dispatcher is stopped, every message is counted once and in a state of its own."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, func, select

from tests.dispatch.conftest import MakeHouse
from tests.dispatch.gateways import Scripted
from winback.gateways.base import Accepted, Outcome, Outgoing, Refused, Retry, Unknown
from winback.store import coupons, enrollments, gateway_states, message_history, messages, reading, suppressions, writing

_OUTCOMES = st.one_of(
    st.just(Accepted("q")),
    st.builds(Retry, st.just("later"), st.sampled_from([None, timedelta(hours=5)])),
    st.just(Retry("closed", whole_gateway=True)),
    st.builds(Refused, st.just("no"), st.booleans()),
    st.just(Unknown("the line broke")),
    st.just(None),  # the gateway breaks
)
#: One person's consent and name; without a name the template fails.
_PEOPLE = st.tuples(st.booleans(), st.sampled_from(["Ada", None]), st.sampled_from(["wake", "gift"]))
_TEMPLATE = '<p>Hello {{ customer.first_name }}</p><a href="{{ unsubscribe_url }}">No more</a>\n'

_ENDS = ("sent", "failed", "skipped", "uncertain", "cancelled")
_OPEN = ("planned", "sending")


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    people=st.lists(_PEOPLE, min_size=1, max_size=12),
    outcomes=st.lists(_OUTCOMES, min_size=1, max_size=30),
    stops=st.lists(st.integers(0, 15), max_size=3),
)
def test_the_counts_add_up(
    make_house: MakeHouse, people: list[tuple[bool, str | None, str]], outcomes: list[Outcome | None], stops: list[int]
) -> None:
    house = make_house(
        settings={"dispatch": {"batch": 5, "attempts": 2}, "limits": {"email": [], "sms": []}},
        templates={"wake.email.html": _TEMPLATE, "wake.sms.txt": "Hello. Reply STOP for no more\n"},
    )
    with writing(house.engine) as connection:
        for table in (coupons, suppressions, gateway_states, message_history, messages, enrollments):
            connection.execute(delete(table))
    for number, (consents, name, campaign) in enumerate(people):
        with_address = {"phone": None} if number % 3 else {}
        external_id = f"X{next(house._numbers)}-{consents}-{name}"
        house.due(campaign=campaign, external_id=external_id, email_marketing=consents, first_name=name, **with_address)
    answers = iter(outcomes * 20)
    answered: Counter[str] = Counter()

    def decide(message: Outgoing) -> Outcome:
        outcome = next(answers)
        if outcome is None:
            raise ValueError("broken")
        answered[type(outcome).__name__] += 1
        return outcome

    at, accepted = house.now, 0
    for limit in (*stops, None):
        calls = iter(range(10_000))
        result = house.run(
            Scripted(decide=decide), at=at, stop=lambda limit=limit, calls=calls: limit is not None and next(calls) >= limit
        )
        assert result.counted == result.taken
        accepted += result.sent
        at += timedelta(minutes=20)
        states = house.states()
        assert "sending" not in states
        assert states.keys() <= {*_ENDS, *_OPEN}
    assert states.get("sent", 0) == accepted == answered["Accepted"]
    assert sum(states.values()) == len(people) + _fallbacks(house)
    assert _last_edges(house) == states


def _fallbacks(house: Any) -> int:
    with reading(house.engine) as connection:
        return connection.scalar(select(func.count()).where(messages.c.step.endswith(":fallback"))) or 0


def _last_edges(house: Any) -> dict[str, int]:
    """Count the messages by the state that their history ends with."""
    with reading(house.engine) as connection:
        last = select(func.max(message_history.c.id)).group_by(message_history.c.message_id)
        return dict(Counter(connection.scalars(select(message_history.c.to_state).where(message_history.c.id.in_(last)))))
