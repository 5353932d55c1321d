"""What an edit does to people: counted before it is taken up, and true afterwards."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta

import pytest
from sqlalchemy import Engine, func, insert, select, text, update

from tests.plan.conftest import ShopMaker
from tests.plan.test_planner import SLEEPING
from tests.rows import add_customer, add_order
from winback.cli.plan_words import NEVER_AGAIN, as_markdown, as_text
from winback.plan import plan
from winback.plan.changes import Effects, Fate, Waiting, effects
from winback.project import Project, load_project
from winback.project.snapshot import Snapshot
from winback.store import customers, enrollments, messages, orders, reading, writing
from winback.store.aggregates import refresh_customers
from winback.versions import FileChange, differences

WEEK = timedelta(days=7)

THREE_STEPS = (
    SLEEPING
    + """
[[steps]]
name = "last"
after = "7d"
channel = "email"
template = "sleeping/last"
subject = "Goodbye"
"""
)


def _crowd(engine: Engine, numbers: range, now: datetime) -> None:
    """Write people who ordered last 100 days ago."""
    with writing(engine) as connection:
        person = {"local_zone": "Europe/Berlin", "attributes": {}, "email_marketing": True, "created_at": now, "updated_at": now}
        names = [f"C{number:05}" for number in numbers]
        connection.execute(
            insert(customers),
            [{**person, "external_id": name, "email": f"{name}@example.com", "email_hash": f"{name:0>32}"} for name in names],
        )
        placed = now - timedelta(days=100)
        order = {
            "placed_at": placed,
            "status": "paid",
            "total_minor": 1,
            "currency": "USD",
            "attributes": {},
            "updated_at": placed,
        }
        ids = dict(
            connection.execute(select(customers.c.external_id, customers.c.id).where(customers.c.external_id.in_(names))).all()
        )
        connection.execute(insert(orders), [{**order, "external_id": f"O{name}", "customer_id": ids[name]} for name in names])
        refresh_customers(connection, list(ids.values()))


def _send(engine: Engine, project: Project, now: datetime) -> None:
    """Plan, and let everything that is planned be sent."""
    with writing(engine) as connection:
        assert [campaign.error for campaign in plan(connection, project, now).campaigns] == [None] * len(project.campaigns)
        connection.execute(update(messages).where(messages.c.state == "planned").values(state="sent", sent_at=messages.c.due_at))


def _states(engine: Engine) -> Counter[tuple[str, str]]:
    query = select(messages.c.step, messages.c.state, func.count()).group_by(messages.c.step, messages.c.state)
    with reading(engine) as connection:
        return Counter({(step, state): count for step, state, count in connection.execute(query)})


def _change(make_shop: ShopMaker, before: Project, **campaigns: str) -> tuple[Project, tuple[FileChange, ...]]:
    old = Snapshot.of(before.root)
    after = make_shop(**campaigns)
    return after, differences(old, Snapshot.of(after.root))


def test_ten_thousand_are_in_a_campaign_that_changes_and_nobody_is_mailed_again(
    engine: Engine, make_shop: ShopMaker, now: datetime
) -> None:
    before = make_shop(sleeping=THREE_STEPS)
    _crowd(engine, range(4_000), now - WEEK)
    _send(engine, before, now - WEEK)
    _crowd(engine, range(4_000, 10_000), now)
    _send(engine, before, now)
    _send(engine, before, now + timedelta(days=1))  # the offer of those of last week
    had = _states(engine)
    assert had == {("hello", "sent"): 10_000, ("offer", "sent"): 4_000}

    story = '[[steps]]\nname = "story"\nafter = "3d"\nchannel = "email"\ntemplate = "sleeping/story"\nsubject = "A story"\n'
    edited = THREE_STEPS.replace('subject = "Hello"\n', f'subject = "Good day"\n{story}').replace('"last"', '"goodbye"')
    after, files = _change(make_shop, before, sleeping=edited)
    found = effects(engine, before, after, files, now + timedelta(days=1))
    [running] = found.running
    last, offer = running.waiting
    assert (running.people, running.messages_go, running.messages_cancelled) == (10_000, 0, 0)
    assert (last.step, last.count, last.fate, last.renamed) == ("last", 4_000, Fate.LEAVES, "goodbye")
    assert (offer.step, offer.count, offer.fate) == ("offer", 6_000, Fate.GOES_ON)
    assert (offer.misses, offer.gets) == (("story",), ("goodbye",))
    assert offer.samples == ("C04000", "C04001", "C04002", "C04003", "C04004")
    [audience] = found.audiences
    assert (audience.before, audience.after, audience.joining, audience.comes_in_after) == (10_000, 10_000, 0, 0)
    shown = "\n".join(as_text(None, files, found, after))
    assert "6 000 wait for offer: they get it when it is due, as before, and later goodbye; not story" in shown
    assert "4 000 wait for last, which is gone: they leave the campaign" in shown
    assert NEVER_AGAIN in shown
    assert _states(engine) == had  # nothing was written

    for days in (1, 8, 15):
        _send(engine, after, now + timedelta(days=days))
    assert _states(engine) == {("hello", "sent"): 10_000, ("offer", "sent"): 10_000, ("goodbye", "sent"): 6_000}
    with reading(engine) as connection:
        letters = select(func.count(messages.c.id)).group_by(messages.c.customer_id, messages.c.step).having(func.count() > 1)
        assert connection.execute(letters).first() is None
        reasons = select(enrollments.c.exit_reason, func.count()).group_by(enrollments.c.exit_reason)
        assert dict(connection.execute(reasons).all()) == {"step_removed": 4_000, None: 6_000}
    if engine.dialect.name == "postgresql":
        with writing(engine) as connection:  # of so many rows this is faster than what other tests do
            connection.execute(text("TRUNCATE customers CASCADE"))


@pytest.fixture
def shop(engine: Engine, make_shop: ShopMaker, now: datetime) -> Project:
    """Make a shop whose campaign has three people: one wait for the offer, two have a greeting written for tomorrow."""
    project = make_shop(sleeping=THREE_STEPS)
    _crowd(engine, range(1), now)
    _send(engine, project, now)
    _crowd(engine, range(1, 3), now)
    with writing(engine) as connection:
        plan(connection, project, now)
    return project


def _effects(engine: Engine, make_shop: ShopMaker, shop: Project, now: datetime, **campaigns: str) -> Effects:
    after, files = _change(make_shop, shop, **campaigns)
    found = effects(engine, shop, after, files, now)
    assert list(as_markdown(None, files, found, after))
    return found


def test_who_joins_and_who_drops_out(engine: Engine, make_shop: ShopMaker, shop: Project, now: datetime) -> None:
    with writing(engine) as connection:
        for name, days, consent in (("EARLY", 70, True), ("NEVER-ASKED", 80, None), ("OLD", 300, True)):
            customer = add_customer(connection, name, now, email_marketing=consent)
            add_order(connection, f"O-{name}", customer, now - timedelta(days=days))
    found = _effects(engine, make_shop, shop, now, sleeping=THREE_STEPS.replace('"90d..365d"', '"60d..200d"'))
    [audience] = found.audiences
    assert (audience.before, audience.after) == (4, 5)
    assert (audience.joining, audience.joining_samples) == (2, ("EARLY", "NEVER-ASKED"))
    assert (audience.leaving, audience.leaving_samples) == (1, ("OLD",))
    assert (audience.comes_in_before, audience.comes_in_after) == (1, 1)  # OLD, and instead of them EARLY


def test_a_campaign_that_is_switched_off_stops(engine: Engine, make_shop: ShopMaker, shop: Project, now: datetime) -> None:
    off = THREE_STEPS.replace("priority", "enabled = false\npriority")
    found = _effects(engine, make_shop, shop, now, sleeping=off)
    [audience], [running] = found.audiences, found.running
    assert (audience.before, audience.after, audience.leaving) == (3, 0, 3)
    assert running.waiting == (Waiting("offer", 3, Fate.STOPS, (), (), None, ("C00000", "C00001", "C00002")),)
    assert (running.messages_go, running.messages_cancelled) == (0, 2)


def test_a_campaign_that_is_new_changes_nothing_for_the_others(
    engine: Engine, make_shop: ShopMaker, shop: Project, now: datetime
) -> None:
    found = _effects(engine, make_shop, shop, now, sleeping=THREE_STEPS, more=THREE_STEPS)
    [audience] = found.audiences
    assert (audience.campaign, audience.before, audience.after, audience.comes_in_after) == ("more", 0, 3, 3)
    assert found.running == ()


def test_messages_of_a_template_that_changes_are_told(engine: Engine, make_shop: ShopMaker, shop: Project, now: datetime) -> None:
    old = Snapshot.of(shop.root)
    (shop.root / "templates/sleeping/hello.email.html").write_text("<p>Other</p>")
    found = effects(engine, shop, shop, differences(old, Snapshot.of(shop.root)), now)
    assert found.audiences == ()
    [running] = found.running
    assert (running.people, running.messages_go, running.messages_cancelled) == (3, 2, 0)


def test_people_of_a_segment_that_changes_are_asked_again(engine: Engine, make_shop: ShopMaker, now: datetime) -> None:
    regulars = SLEEPING.replace('inactive = "90d..365d"', 'inactive = "90d..365d"\nwhere = "in_segment(\'regulars\')"')
    segment = 'title = "Regulars"\nwhere = "orders >= {count}"\n'
    root = make_shop(sleeping=SLEEPING).root
    shops = []
    for count in (1, 2):
        (root / "campaigns/audiences.toml").write_text("[regulars]\n" + segment.format(count=count))
        (root / "campaigns/sleeping.toml").write_text(regulars)
        shops.append((load_project(root, environ={}), Snapshot.of(root)))
    _crowd(engine, range(2), now)
    (before, old), (after, new) = shops
    [audience] = effects(engine, before, after, differences(old, new), now).audiences
    assert (audience.before, audience.after, audience.leaving) == (2, 0, 2)
