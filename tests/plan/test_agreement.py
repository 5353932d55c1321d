"""What is shown beforehand is what is then written: funnel, `preview --csv`, `explain` and the planner, over random shops."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, delete, exists, insert, select

from tests.project.builder import campaign, email_step, write_shop
from tests.rows import add_customer, add_message, add_order
from winback.plan import CampaignPlan, Explanation, Person, explain, plan, previewing
from winback.project import Project, load_project
from winback.store import customers, enrollments, events, messages, metadata, reading, suppressions, writing

NOW = datetime(2027, 2, 28, 7, 40, tzinfo=UTC)  # a Sunday, on which those born on 29 February are greeted

_AUDIENCES: tuple[dict[str, Any], ...] = (
    {"preset": "sleeping", "inactive": "30d..200d"},
    {"preset": "sleeping", "inactive": "2x"},
    {"preset": "birthday"},
    {"preset": "birthday", "offset": "-1d", "leap_day": "mar1"},
    {"preset": "after_order", "delay": "1d"},
    {"preset": "after_order", "after": "voided"},
    {"preset": "event", "event": "cart_left", "delay": "1h", "unless": "checkout", "within": "2h"},
    {"preset": "everyone", "on": [NOW.date()]},
)

_CONDITIONS = (
    None,
    "orders >= 2",
    "country = 'DE' or days_since_last_order > 60",
    "not received('other', 10)",
    "attributes.tier = 'gold'",
    "did('cart_left', 30)",
)

_ADDRESSES = ("ok", "ok", "ok", "none", "suppressed")


def _campaigns() -> st.SearchStrategy[dict[str, Any]]:
    """Draw a campaign whose first step is due near `NOW`."""
    sms = {"channel": "sms", "on": ["no_address", "no_consent", "suppressed"]}
    return st.builds(
        lambda audience, where, limits, holdout, fallback, at, purpose: campaign(
            purpose=purpose,
            audience={**audience, "where": where},
            limits=limits,
            measure={"holdout": holdout},
            schedule={"at": at, "late": "12h"},
            exit={"when": "ordered"},
            steps=[email_step("hello", fallback=fallback), email_step("more", after="2d")],
        ),
        audience=st.sampled_from(_AUDIENCES),
        where=st.sampled_from(_CONDITIONS),
        limits=st.sampled_from([{}, {"cooldown": "40d"}, {"cooldown": "3d", "on_capped": "skip"}, {"on_capped": "replace"}]),
        holdout=st.sampled_from(["0%", "40%"]),
        fallback=st.sampled_from([None, None, {**sms, "on": ["no_address", "no_consent"]}]),
        at=st.sampled_from(["09:30", "23:30", None]),
        purpose=st.sampled_from(["marketing", "marketing", "service"]),
    )


_PEOPLE = st.lists(
    st.fixed_dictionaries(
        {
            "consent": st.sampled_from([True, True, True, False, None]),
            "email": st.sampled_from(_ADDRESSES),
            "phone": st.sampled_from(_ADDRESSES),
            "sms": st.sampled_from([True, None]),
            "erased": st.sampled_from([False, False, False, False, True]),
            "zone": st.sampled_from(["Europe/Berlin", "America/New_York", "Asia/Kolkata", "Pacific/Auckland", "Mars/Olympus"]),
            "birth": st.sampled_from([None, (2, 28), (2, 29), (3, 1)]),
            "attributes": st.sampled_from([{}, {"tier": "gold"}, {"tier": 7}, {"tier": None}]),
            "orders": st.lists(
                st.tuples(st.sampled_from([0, 1, 2, 20, 40, 41, 80, 90, 150]), st.sampled_from(["paid", "cancelled"])), max_size=3
            ),
            "carts": st.lists(st.sampled_from([10, 90, 200, 3000]), max_size=2),
            "checkout": st.booleans(),
            "country": st.sampled_from(["DE", "DE", "ZA", None]),
            "nps": st.sampled_from([None, None, 3, 9]),
            "messages": st.lists(
                st.tuples(st.sampled_from(["other", "wake"]), st.sampled_from([2, 30, 24 * 5, 24 * 50])), max_size=2, unique=True
            ),
        }
    ),
    min_size=4,
    max_size=8,
)


_PERSON: dict[str, Any] = {
    "consent": True,
    "email": "ok",
    "phone": "ok",
    "sms": True,
    "erased": False,
    "zone": "Europe/Berlin",
    "birth": None,
    "attributes": {},
    "orders": [(80, "paid")],
    "carts": [],
    "checkout": False,
    "country": "DE",
    "nps": None,
    "messages": [],
}


def _write(engine: Engine, people: list[dict[str, Any]]) -> None:
    with writing(engine) as connection:
        _empty(connection)
        for number, person in enumerate(people):
            _write_person(connection, f"C{number}", person)


def _empty(connection: Any) -> None:
    tables = metadata.sorted_tables
    filled = connection.execute(select(*(exists(select(table)).label(table.name) for table in tables))).one()
    for table in reversed(tables):
        if getattr(filled, table.name):
            connection.execute(delete(table))


def _write_person(connection: Any, name: str, person: dict[str, Any]) -> None:
    born = NOW - timedelta(days=300)
    hashes = {"email": f"e-{name}".ljust(32, "0"), "phone": f"p-{name}".ljust(32, "0")}
    columns: dict[str, Any] = {
        "email_marketing": person["consent"],
        "email_service": person["consent"],
        "sms_marketing": person["sms"],
        "sms_service": person["sms"],
        "email_hash": hashes["email"],
        "phone_hash": hashes["phone"],
        "phone": "+49151123456",
        "local_zone": person["zone"],
        "attributes": person["attributes"],
        "country": person["country"],
        "erased_at": born if person["erased"] else None,
    }
    for channel, column in (("email", "email"), ("sms", "phone")):
        if person[column] == "none":
            columns |= {column: None, f"{column}_hash": None}
        elif person[column] == "suppressed":
            connection.execute(
                insert(suppressions).values(
                    channel=channel, address_hash=hashes[column], reason="hard_bounce", at=born, source="test"
                )
            )
    if person["birth"]:
        columns |= {"birth_year": 1980, "birth_month": person["birth"][0], "birth_day": person["birth"][1]}
    customer = add_customer(connection, name, born, **columns)
    for number, (days, status) in enumerate(person["orders"]):
        placed = NOW - timedelta(days=days, minutes=number)
        voided = {"voided_at": placed + timedelta(hours=1)} if status == "cancelled" else {}
        add_order(connection, f"O-{name}-{number}", customer, placed, status=status, **voided)
    happened = [("cart_left", minutes) for minutes in person["carts"]] + ([("checkout", 60)] if person["checkout"] else [])
    for number, (event, minutes) in enumerate(happened):
        at = NOW - timedelta(minutes=minutes)
        connection.execute(
            insert(events).values(external_id=f"E-{name}-{number}", customer_id=customer, name=event, at=at, properties={})
        )
    if person["nps"] is not None:
        answer = {"name": "nps", "at": NOW - timedelta(days=9), "properties": {"score": person["nps"]}}
        connection.execute(insert(events).values(external_id=f"N-{name}", customer_id=customer, **answer))
    for campaign_name, hours in person["messages"]:
        at = NOW - timedelta(hours=hours)
        message = add_message(connection, customer, at, campaign=campaign_name)
        connection.execute(
            enrollments.update().values(enrolled_at=at, step=None, state="finished").where(enrollments.c.state == "active")
        )
        assert message


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Give a folder for the shop of one example."""
    return tmp_path / "shop"


def _project(folder: Path, url: str, wake: dict[str, Any]) -> Project:
    other = campaign(title="Other", priority=10, audience={"preset": "sleeping", "inactive": "85d"}, schedule={"at": "09:00"})
    root = write_shop(
        folder,
        campaigns={"wake": {**wake, "priority": 50}, "other": other},
        templates={"hello.sms.txt": "Hello. Reply STOP for no more\n"},
        settings={
            "shop": {"zone": "Europe/Berlin"},
            "limits": {"email": ["1 in 16h"], "mute_detractors": "30d"},
            "quiet_hours": {"country_rules": True},  # of which South Africa's are about e-mail on a Sunday
        },
    )
    return load_project(root, environ={"WINBACK_DATABASE_URL": url})


@settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(wake=_campaigns(), people=_PEOPLE)
@example(  # neither channel reaches them, each for a reason of its own
    wake=campaign(
        audience=_AUDIENCES[0], steps=[email_step("hello", fallback={"channel": "sms", "on": ["no_address", "no_consent"]})]
    ),
    people=[{**_PERSON, "consent": False, "phone": "suppressed"}, {**_PERSON, "email": "none", "messages": [("wake", 30)]}],
)
def test_all_answers_agree(
    engine: Engine, database_url: str, folder: Path, wake: dict[str, Any], people: list[dict[str, Any]]
) -> None:
    agree(engine, database_url, folder, wake, people)


def agree(engine: Engine, url: str, folder: Path, wake: dict[str, Any], people: list[dict[str, Any]]) -> None:
    """Look at one campaign in every way, plan it, and compare."""
    _write(engine, people)
    project = _project(folder, url, wake)
    with writing(engine) as connection:
        # The day before, so that what happened since is an occasion.
        plan(connection, replace(project, campaigns={}), NOW - timedelta(days=1))
        plan(connection, project, NOW - timedelta(days=1))
    with previewing(engine, project, "wake", NOW) as seen:
        listed, sends, funnel = list(seen.people()), seen.sends(None), seen.outcome
        others = {person.customer: person.reason for person in seen.others()}
    with reading(engine) as connection:
        explained = {
            name: explain(connection, project, "wake", name, NOW) for name in connection.scalars(select(customers.c.external_id))
        }
        before = _enrolled(connection)
    with writing(engine) as connection:
        done = next(each for each in plan(connection, project, NOW).campaigns if each.campaign == "wake")
        after = _enrolled(connection)
        written = {
            tuple(row)
            for row in connection.execute(
                select(messages.c.id, messages.c.step, messages.c.channel, messages.c.due_at).where(
                    messages.c.campaign == "wake", messages.c.planned_at == NOW, messages.c.state.in_(("planned", "held_out"))
                )
            )
        }
    assert done.error is None
    assert funnel == done
    _lists_the_funnel(listed, done)
    assert {(each.customer, each.occasion, each.held_out) for each in listed if each.chosen} == after - before
    assert written <= {(send.message_id, send.step, send.channel, send.due_at) for send in sends}
    for name, answer in explained.items():
        _explains([each for each in listed if each.customer == name], others.get(name), answer)


def _enrolled(connection: Any) -> set[tuple[str, str, bool]]:
    rows = connection.execute(
        select(customers.c.external_id, enrollments.c.occasion, enrollments.c.held_out)
        .join_from(enrollments, customers, customers.c.id == enrollments.c.customer_id)
        .where(enrollments.c.campaign == "wake")
    )
    return {tuple(row) for row in rows}


def _lists_the_funnel(listed: list[Person], funnel: CampaignPlan) -> None:
    reasons = Counter(each.reason for each in listed)
    assert len(listed) == funnel.audience
    assert reasons.pop(None, 0) == funnel.enrolled
    assert reasons.pop("already", 0) == funnel.already
    assert reasons == funnel.turned_away


def _explains(listed: list[Person], other: str | None, answer: Explanation) -> None:
    failure = answer.first_failure
    if not listed:
        assert failure is not None
        assert failure.rule in ("audience", "where") if other is None else failure.rule == other
    elif any(each.chosen for each in listed):
        assert failure is None or failure.rule == "holdout"
        assert answer.held_out == next(each.held_out for each in listed if each.chosen)
    else:
        assert failure is not None
        assert failure.rule in {each.reason for each in listed}
