"""Each thing that can be wrong is named, with what to do; and a shop with nothing wrong has nothing to say."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, delete, insert, update

from tests.project.builder import campaign, email_step, sms_step
from tests.rows import add_customer
from tests.scheduler.shops import WAKE, add_sleepers, make_shop
from winback.project import Project
from winback.scheduler import HealthItem, health, run_pass
from winback.scheduler.leases import hold
from winback.scheduler.standing import uncertain, waiting
from winback.store import (
    campaign_states,
    customers,
    gateway_states,
    import_runs,
    leases,
    message_history,
    messages,
    passes,
    reading,
    writing,
)

BIRTHDAY = campaign(title="Birthday", audience={"preset": "birthday"}, steps=[email_step("greeting")])


def _items(engine: Engine, project: Project, now: datetime) -> list[HealthItem]:
    with reading(engine) as connection:
        return health(connection, project, now)


def _wrong(engine: Engine, project: Project, now: datetime) -> list[HealthItem]:
    return [item for item in _items(engine, project, now) if not item.ok]


@pytest.fixture
def running(engine: Engine, database_url: str, tmp_path: Path, now: datetime) -> Project:
    """Give a shop that has just made a pass: two letters sent, all well."""
    project = make_shop(tmp_path / "shop", database_url, {"wake": WAKE, "birthday": BIRTHDAY})
    add_sleepers(engine, 2, now)
    run_pass(engine, project, now, "test")
    return project


def test_a_shop_that_runs_is_well(engine: Engine, running: Project, now: datetime) -> None:
    assert hold(engine, "planning", "d1", now)
    items = _items(engine, running, now + timedelta(seconds=30))
    assert [item for item in items if not item.ok] == []
    scheduler = next(item for item in items if item.name == "scheduler")
    assert scheduler.message == "the last pass was at 11:00; the daemon d1 plans"


def test_a_shop_where_nothing_has_run_says_how_to_begin(engine: Engine, database_url: str, tmp_path: Path, now: datetime) -> None:
    project = make_shop(tmp_path / "shop", database_url, {"wake": WAKE})
    [item] = _wrong(engine, project, now)
    assert (item.name, item.message) == ("scheduler", "nothing has run yet")
    assert "winback daemon" in item.remedy


Change = Callable[[Connection, datetime], Any]


def _rejected(connection: Connection, now: datetime, rejected: int) -> None:
    run = {"kind": "orders", "source": "orders.csv", "started_at": now, "finished_at": now}
    connection.execute(insert(import_runs).values(**run, inserted=900, updated=0, unchanged=0, rejected=rejected))


def _stuck(connection: Connection, now: datetime) -> None:
    values = {"state": "sending", "claimed_by": "elsewhere.1", "claimed_at": now - timedelta(minutes=20)}
    connection.execute(update(messages).values(values))


def _lost(connection: Connection, now: datetime, ago: timedelta = timedelta()) -> None:
    connection.execute(update(messages).values(state="uncertain"))
    for message in connection.execute(messages.select()).all():
        edge = {"from_state": "sending", "to_state": "uncertain", "at": now - ago}
        connection.execute(insert(message_history).values(message_id=message.id, **edge))


def _open_again(connection: Connection, now: datetime, minutes: int = 60) -> None:
    at = now - timedelta(minutes=minutes)
    connection.execute(update(messages).values(state="planned", due_at=at, next_attempt_at=at, sent_at=None))


def _pause(connection: Connection, now: datetime, reason: str) -> None:
    of_wake = campaign_states.c.name == "wake"
    connection.execute(update(campaign_states).where(of_wake).values(paused_at=now, pause_reason=reason))


def _gateway(connection: Connection, until: datetime | None) -> None:
    trouble = {"reason": "421 too many connections", "failures": 3}
    connection.execute(insert(gateway_states).values(name="outbox", paused_until=until, **trouble))


def _new_year(connection: Connection, now: datetime, count: int) -> None:
    for number in range(100):
        day = (1, 1) if number < count else (2 + number % 10, 1 + number % 28)
        add_customer(connection, f"N{number}", now, birth_month=day[0], birth_day=day[1])


#: What happened, the name of the item that tells it, and words of the message and of the remedy.
_TROUBLES: dict[str, tuple[Change, str, str, str]] = {
    "no pass for hours": (
        lambda c, now: c.execute(update(passes).values(started_at=now - timedelta(hours=3))),
        "scheduler",
        "the last pass was at 08:00",
        "winback daemon",
    ),
    "a daemon that was killed": (
        lambda c, now: c.execute(insert(leases).values(name="planning", holder="vm-1", renewed_at=now - timedelta(minutes=5))),
        "scheduler",
        "the daemon vm-1 stopped or hangs; it was last heard of at 10:55",
        "winback daemon",
    ),
    "a pass that hangs": (
        lambda c, now: c.execute(update(passes).values(started_at=now - timedelta(minutes=40), finished_at=None)),
        "scheduler",
        "the pass that began at 10:20 has not ended",
        "stop and start it",
    ),
    "a pass from the future": (
        lambda c, now: c.execute(update(passes).values(started_at=now + timedelta(days=2))),
        "scheduler",
        "still to come",
        "winback daemon",
    ),
    "a pass with errors": (
        lambda c, _: c.execute(update(passes).values(error="campaign wake: no such column\nsending: OSError")),
        "pass",
        "campaign wake: no such column",
        "winback preview wake",
    ),
    "a campaign that paused itself": (
        lambda c, now: _pause(c, now, "too many complaints"),
        "campaign",
        "wake is paused since 11:00, too many complaints",
        "/campaigns/wake",
    ),
    "a gateway in trouble": (
        lambda c, now: _gateway(c, now + timedelta(minutes=10)),
        "gateway",
        "outbox is left alone until 11:10: 421 too many connections",
        "winback doctor",
    ),
    "a gateway that cannot be used": (lambda c, _: _gateway(c, None), "gateway", "outbox cannot be used", "config.toml"),
    "messages that nobody sends": (
        _open_again,
        "overdue",
        "2 messages due since 10:00 did not go: the next pass sends them",
        "winback run",
    ),
    "messages of a dispatcher that is gone": (_stuck, "sending", "2 messages held by elsewhere.1 since 10:40", "winback run"),
    "messages that may have arrived": (
        _lost,
        "uncertain",
        "2 messages of wake may have arrived or not",
        "winback retry wake --only uncertain",
    ),
    "many failures": (
        lambda c, _: (c.execute(update(passes).values(failed=6)), c.execute(update(messages).values(state="failed"))),
        "failed",
        "6 of 8 messages failed",
        "winback retry wake --only failed",
    ),
    "an import of the wrong file": (lambda c, now: _rejected(c, now, 100), "import", "rejected 100 of 1000 rows", "var/rejects"),
    "birthdays that a form filled in": (
        lambda c, now: _new_year(c, now, 30),
        "birthdays",
        "30 of 100 birthdays are on 1 January",
        "empty birthday",
    ),
    "nobody who consented": (
        lambda c, _: c.execute(update(customers).values(email_marketing=None)),
        "consent",
        "nobody has consented",
        "email_marketing",
    ),
}


def _wrong_after(engine: Engine, project: Project, now: datetime, change: Change) -> list[HealthItem]:
    """Return what is wrong once something happened, which is undone afterwards."""
    with engine.connect() as connection, connection.begin() as transaction:
        change(connection, now)
        wrong = [item for item in health(connection, project, now) if not item.ok]
        transaction.rollback()
    return wrong


def test_trouble_is_named_with_what_to_do(engine: Engine, running: Project, now: datetime) -> None:
    for what, (change, name, message, remedy) in _TROUBLES.items():
        wrong = _wrong_after(engine, running, now, change)
        assert {item.name for item in wrong} == {name}, what
        assert message in wrong[0].message, what
        assert remedy in wrong[0].remedy, what


#: What is no trouble: it was meant, is small, or was long ago.
_NO_TROUBLES: dict[str, Change] = {
    "a campaign that a person paused": lambda c, now: _pause(c, now, "by a person, on the pages"),
    "a message that is a little late": lambda c, now: _open_again(c, now, minutes=5),
    "a few rejected rows": lambda c, now: _rejected(c, now, 3),
    "an old import": lambda c, now: _rejected(c, now - timedelta(days=10), 100),
    "a few failures": lambda c, _: c.execute(update(passes).values(failed=3)),
    "many failures among many more": lambda c, _: c.execute(update(passes).values(failed=6, sent=1000)),
    "what was uncertain long ago": lambda c, now: _lost(c, now, timedelta(days=8)),
    "some who are born on 1 January": lambda c, now: _new_year(c, now, 2),
    "a gateway that had trouble": lambda c, now: _gateway(c, now - timedelta(minutes=1)),
    "a claim of this moment": lambda c, now: c.execute(
        update(messages).values(state="sending", claimed_by="here.1", claimed_at=now - timedelta(minutes=1))
    ),
}


def test_what_is_no_trouble_is_not_called_one(engine: Engine, running: Project, now: datetime) -> None:
    found = {what: _wrong_after(engine, running, now, change) for what, change in _NO_TROUBLES.items()}
    assert found == {what: [] for what in _NO_TROUBLES}


def test_real_mail_with_links_to_this_machine(engine: Engine, database_url: str, tmp_path: Path, now: datetime) -> None:
    relay = {"gateways": {"relay": {"type": "smtp", "host": "127.0.0.1"}}, "deliver": {"email": "relay"}}
    project = make_shop(tmp_path / "shop", database_url, {"wake": WAKE}, settings=relay)
    run_pass(engine, project, now, "test")
    [item] = _wrong(engine, project, now)
    assert item.name == "public_url"
    assert "relay writes to real people" in item.message
    reachable = {**relay, "web": {"public_url": "https://mail.halfnote.example"}}
    project = make_shop(tmp_path / "shop", database_url, {"wake": WAKE}, settings=reachable)
    assert _wrong(engine, project, now) == []


def test_what_waits_says_why_and_until_when(engine: Engine, database_url: str, tmp_path: Path, now: datetime) -> None:
    nightly = campaign(title="Nightly", audience={"preset": "sleeping", "inactive": "90d"}, priority=60, steps=[sms_step("text")])
    project = make_shop(tmp_path / "shop", database_url, {"wake": WAKE, "nightly": nightly})
    add_sleepers(engine, 2, now)
    with writing(engine) as connection:
        connection.execute(update(customers).values(phone="+4915112345678", sms_marketing=True))
    night = now.replace(hour=20, minute=5)  # 21:05 in Berlin
    asked = iter(range(100))
    run_pass(engine, project, now, "test", stop=lambda: next(asked) >= 4)  # planned, and not sent
    with reading(engine) as connection:
        due = waiting(connection, project, now + timedelta(minutes=1))
    assert {(each.campaign, each.count, each.why, each.until) for each in due} == {
        ("wake", 2, "the next pass sends them", None),
        ("nightly", 2, "the next pass sends them", None),
    }
    run_pass(engine, project, night, "test")
    with reading(engine) as connection:
        [text] = waiting(connection, project, night)
    assert (text.campaign, text.count, text.why) == ("nightly", 2, "it is night where the person lives")
    assert text.until == night.replace(hour=8, minute=0) + timedelta(days=1)


def test_what_waits_in_a_campaign_that_is_off_or_gone(engine: Engine, database_url: str, tmp_path: Path, now: datetime) -> None:
    steps = [email_step("one"), email_step("two", after="3d")]
    both = {name: campaign(title=name, audience=WAKE["audience"], steps=steps) for name in ("off", "gone")}
    project = make_shop(tmp_path / "shop", database_url, both, settings={"limits": {"email": []}})
    add_sleepers(engine, 2, now)
    run_pass(engine, project, now, "test")
    (tmp_path / "shop/campaigns/gone.toml").unlink()
    project = make_shop(tmp_path / "shop", database_url, {"off": {**both["off"], "enabled": False}})
    with reading(engine) as connection:
        waits = {(each.campaign, each.step, each.count, each.why) for each in waiting(connection, project, now)}
    assert waits == {
        ("off", "two", 2, "the campaign is switched off"),
        ("gone", "two", 2, "the campaign is gone from the files"),
    }


def test_uncertain_messages_are_listed_newest_first(engine: Engine, running: Project, now: datetime) -> None:
    with writing(engine) as connection:
        _lost(connection, now)
        first = connection.execute(messages.select().limit(1)).one()
        connection.execute(delete(message_history).where(message_history.c.message_id == first.id))
        edge = {"from_state": "sending", "to_state": "uncertain", "at": now + timedelta(hours=1)}
        connection.execute(insert(message_history).values(message_id=first.id, **edge))
    with reading(engine) as connection:
        listed = uncertain(connection)
        assert [each.message_id for each in uncertain(connection, 1)] == [first.id]
    assert [each.since for each in listed] == [now + timedelta(hours=1), now]
    assert {each.customer for each in listed} == {"S0000", "S0001"}


def test_nobody_is_named_in_what_the_pages_show(engine: Engine, running: Project, now: datetime) -> None:
    with writing(engine) as connection:
        _lost(connection, now)
        _pause(connection, now, "too many complaints")
    text = " ".join(f"{item.message} {item.remedy}" for item in _items(engine, running, now))
    assert not [word for word in ("@example.com", "Ada", "S0000") if word in text]
