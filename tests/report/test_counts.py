"""What a report counts: every message once, rates of what they say, orders that still count."""

from __future__ import annotations

from collections import Counter
from dataclasses import fields
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, delete, insert, update

from tests.project.builder import campaign, email_step, sms_step
from tests.report.worlds import World, make_project, waking
from winback.errors import InputError
from winback.report import CampaignReport, Day, Funnel, Rate, Report, Revenue, build_report, to_json, to_rows
from winback.store import (
    Channel,
    InteractionClass,
    InteractionKind,
    MessageState,
    campaign_states,
    interactions,
    message_history,
    orders,
    reading,
    writing,
)
from winback.store.erasure import erase_customer

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
HUMAN, PROXY, MACHINE = InteractionClass.HUMAN, InteractionClass.PROXY, InteractionClass.MACHINE
OPEN, CLICK, UNSUBSCRIBE = InteractionKind.OPEN, InteractionKind.CLICK, InteractionKind.UNSUBSCRIBE


def report_of(world: World, campaign: str | None = None) -> Report:
    return build_report(world.connection, world.project, world.now, campaign=campaign)


def only(world: World) -> CampaignReport:
    return report_of(world, "wake").campaigns[0]


_MESSAGES = st.lists(
    st.tuples(
        st.sampled_from(MessageState),
        st.sampled_from(["hello", "offer", "gone", "hello:fallback"]),
        st.sampled_from(Channel),
        st.lists(st.tuples(st.sampled_from(InteractionKind), st.sampled_from(InteractionClass)), max_size=4),
        st.integers(0, 2),
        st.integers(0, 40),
    ),
    max_size=25,
)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=_MESSAGES)
def test_counts_add_up_and_no_rate_is_above_one(engine: Engine, tmp_path: Path, now: datetime, rows: list[tuple]) -> None:
    project = make_project(tmp_path / "shop")
    with engine.connect() as connection:
        world = World(connection, project, now)
        for state, step, channel, came_back, bought, days in rows:
            at = now - days * DAY
            enrollment = world.enroll(at, customer=(customer := world.person()), held_out=state is MessageState.HELD_OUT)
            reason = "late" if state is MessageState.SKIPPED else None
            message = world.message(enrollment, at, state=state, step=step, channel=channel, reason=reason)
            for kind, klass in came_back:
                world.came_back(message, kind, at + HOUR, klass)
            for number in range(bought):
                world.order(customer, at + (1 + number) * HOUR)
        world.attribute()
        report = only(world)
        connection.rollback()
    states = Counter(row[0] for row in rows)
    total = report.total
    assert total.planned == len(rows) - states[MessageState.HELD_OUT]
    assert total.held_out == states[MessageState.HELD_OUT]
    parts = (total.sent, total.failed, sum(total.skipped.values()), total.uncertain, total.cancelled, total.waiting)
    assert total.planned == sum(parts)
    assert total.sent == sum(states[state] for state in (MessageState.SENT, MessageState.DELIVERED, MessageState.BOUNCED))
    assert total.delivered + total.bounced <= total.sent
    for funnel in (total, *report.steps):
        for name, rate in funnel.rates().items():
            assert 0 <= rate.count <= rate.of, name
    for each in fields(Funnel):
        if each.name not in ("step", "channel", "skipped", "revenue"):
            assert getattr(total, each.name) == sum(getattr(step, each.name) for step in report.steps), each.name
    for each in fields(Day):
        if each.name != "on":
            assert sum(getattr(day, each.name) for day in report.days) == getattr(total, each.name), each.name


def test_a_rate_above_one_is_refused() -> None:
    with pytest.raises(ValueError, match="no share"):
        Rate(2, 1, "sent")
    assert Rate(0, 0, "sent").value is None


@pytest.mark.parametrize(
    ("classes", "opened", "by_machines"),
    [
        ([HUMAN], 1, 0),
        ([HUMAN, HUMAN, HUMAN], 1, 0),
        ([MACHINE, HUMAN], 1, 0),
        ([PROXY], 0, 1),
        ([MACHINE, PROXY, MACHINE], 0, 1),
        ([], 0, 0),
    ],
    ids=str,
)
def test_opened_counts_messages_that_a_person_opened(
    world: World, classes: list[InteractionClass], opened: int, by_machines: int
) -> None:
    _, message = world.reach(world.now - DAY)
    for klass in classes:
        world.came_back(message, OPEN, world.now - HOUR, klass)
    total = only(world).total
    assert (total.opened, total.opened_by_machines) == (opened, by_machines)


def test_clicks_of_machines_do_not_count_and_opt_outs_by_any_agent_do(world: World) -> None:
    _, message = world.reach(world.now - DAY)
    world.came_back(message, CLICK, world.now - HOUR, MACHINE)
    world.came_back(message, UNSUBSCRIBE, world.now - HOUR, MACHINE)
    total = only(world).total
    assert (total.clicked, total.unsubscribed) == (0, 1)


def test_a_text_message_is_in_no_denominator_of_openings(world: World) -> None:
    for channel in (Channel.EMAIL, Channel.SMS):
        world.message(world.enroll(world.now - DAY), world.now - DAY, channel=channel)
    rates = only(world).total.rates()
    assert (rates["opened"].of, rates["clicked"].of) == (1, 2)
    assert rates["opened"].base == "e-mails sent and not bounced"


def test_what_bounced_is_sent_but_in_no_denominator_of_people(world: World) -> None:
    world.message(world.enroll(world.now - DAY), world.now - DAY, state=MessageState.BOUNCED)
    world.reach(world.now - DAY)
    total = only(world).total
    assert total.rates()["sent"] == Rate(2, 2, "planned")
    assert (total.rates()["clicked"].of, total.rates()["opened"].of) == (1, 1)
    assert total.rates()["bounced"] == Rate(1, 2, "sent")


def test_what_came_back_or_was_planned_later_is_not_known_yet(world: World) -> None:
    customer, message = world.reach(world.now - 2 * DAY)
    world.came_back(message, OPEN, world.now + HOUR)
    world.order(customer, world.now - HOUR)
    world.enroll(world.now + DAY)
    world.message(world.enroll(world.now - HOUR), world.now + 2 * DAY)
    world.attribute()
    then = build_report(world.connection, world.project, world.now - DAY).campaigns[0]
    assert (then.total.sent, then.total.opened, then.total.converted, then.enrolled) == (1, 0, 0, 1)
    assert only(world).total.converted == 1


def test_people_are_counted_once_and_the_held_out_are_not_in_it(world: World) -> None:
    customer, _ = world.reach(world.now - 5 * DAY, state="finished")
    world.reach(world.now - DAY, customer=customer)
    world.reach(world.now - DAY, held_out=True)
    found = only(world)
    assert (found.enrolled, found.active) == (2, 1)


def test_an_order_that_was_taken_back_does_not_count(world: World) -> None:
    customer, _ = world.reach(world.now - 3 * DAY)
    order = world.order(customer, world.now - DAY)
    world.attribute()
    assert only(world).total.rates()["converted"].count == 1
    world.connection.execute(update(orders).where(orders.c.id == order).values(status="refunded", voided_at=world.now))
    world.attribute()
    found = report_of(world)
    assert found.campaigns[0].total.orders == 0
    assert found.campaigns[0].total.revenue == ()
    assert found.all_conversions == 0
    assert found.campaigns[0].days[-1].on == (world.now - 3 * DAY).date()


def test_several_orders_of_a_message_are_one_success(world: World) -> None:
    customer, _ = world.reach(world.now - 3 * DAY)
    for hours in (1, 2, 3):
        world.order(customer, world.now - hours * HOUR, 1000)
    world.attribute()
    total = only(world).total
    assert (total.converted, total.orders, total.revenue) == (1, 3, (Revenue("USD", 3000),))


def test_currencies_are_never_added_up(world: World) -> None:
    for currency, minor in (("EUR", 1000), ("USD", 2000), ("JPY", 300), ("USD", 500)):
        customer, _ = world.reach(world.now - 3 * DAY)
        world.order(customer, world.now - DAY, minor, currency=currency)
    world.attribute()
    found = report_of(world)
    expected = (Revenue("EUR", 1000), Revenue("JPY", 300), Revenue("USD", 2500))
    assert found.campaigns[0].total.revenue == expected
    assert found.all_revenue == expected


def test_an_order_after_two_campaigns_counts_once_in_all_of_them(connection: Connection, tmp_path: Path, now: datetime) -> None:
    project = make_project(tmp_path, wake=waking(), birthday=campaign(title="Birthday"))
    world = World(connection, project, now)
    customer, _ = world.reach(now - 5 * DAY)
    world.reach(now - 3 * DAY, customer=customer, campaign="birthday")
    world.order(customer, now - DAY, 4200)
    world.attribute()
    found = report_of(world)
    assert {each.name: each.total.orders for each in found.campaigns} == {"wake": 1, "birthday": 1}
    assert (found.all_conversions, found.all_revenue) == (1, (Revenue("USD", 4200),))
    assert report_of(world, "birthday").all_conversions == 1
    assert report_of(world, "wake").all_conversions == 0


def test_events_are_no_orders_of_the_whole_shop(connection: Connection, tmp_path: Path, now: datetime) -> None:
    project = make_project(tmp_path, wake=waking(measure={"conversion": "event:visited"}))
    world = World(connection, project, now)
    customer, _ = world.reach(now - 5 * DAY)
    world.event(customer, "visited", now - DAY)
    world.attribute()
    found = report_of(world)
    assert (found.campaigns[0].total.orders, found.campaigns[0].total.revenue) == (1, ())
    assert found.all_conversions == 0


def test_an_order_of_a_held_out_person_is_nobodys_merit(world: World) -> None:
    customer, _ = world.reach(world.now - 5 * DAY, held_out=True)
    world.order(customer, world.now - DAY)
    world.attribute()
    found = report_of(world)
    assert (found.campaigns[0].total.orders, found.all_conversions) == (0, 0)


def test_links_count_messages_in_which_a_person_followed_them(world: World) -> None:
    first, second = world.link("https://shop.example/new", "See what is new"), world.link("https://shop.example/help")
    for number in range(3):
        _, message = world.reach(world.now - DAY)
        world.came_back(message, CLICK, world.now - HOUR, link_id=first)
        world.came_back(message, CLICK, world.now - HOUR, link_id=first)
        if number == 0:
            world.came_back(message, CLICK, world.now - HOUR, link_id=second)
    _, message = world.reach(world.now - DAY)
    world.came_back(message, CLICK, world.now - HOUR, MACHINE, link_id=second)
    found = [(link.label, link.clicked) for link in only(world).links]
    base = "sent and not bounced"
    assert found == [("See what is new", Rate(3, 4, base)), ("https://shop.example/help", Rate(1, 4, base))]


def test_links_of_one_label_are_one_whatever_their_targets(world: World) -> None:
    targets = {
        "shop.example/new": ["shop.example/new"],
        "shop.example/gift": ["shop.example/gift?code=A1", "shop.example/gift?code=B2"],
        "": ["shop.example/p/1", "shop.example/p/2"],
    }
    numbers = {
        common: [world.link(f"https://{url}", f"to {common}") for url in urls] + [world.link(f"https://{urls[0]}#2", "unused")]
        for common, urls in targets.items()
    }
    _, message = world.reach(world.now - DAY)
    for used in numbers.values():
        for link in used[:-1]:
            world.came_back(message, CLICK, world.now - HOUR, link_id=link)
    found = {link.label: (link.url, link.clicked.count) for link in only(world).links}
    assert found == {f"to {common}": (common and f"https://{common}", 1) for common in targets}


def test_days_are_those_of_the_shop(world: World) -> None:
    """New York is five hours behind UTC in winter, four in summer; clocks went back on 1 November 2026."""
    summer = datetime.fromisoformat("2026-11-01T03:59:59+00:00")
    winter = datetime.fromisoformat("2026-11-02T04:59:59+00:00")
    _, message = world.reach(summer)
    world.reach(summer + timedelta(seconds=1))
    world.reach(winter)
    world.reach(winter + timedelta(seconds=1))
    world.came_back(message, OPEN, winter + HOUR)
    world.came_back(message, OPEN, winter + 3 * DAY)
    assert only(world).days == (
        Day(date(2026, 10, 31), sent=1),
        Day(date(2026, 11, 1), sent=2),
        Day(date(2026, 11, 2), sent=1, opened=1),
    )


def test_days_of_a_zone_a_quarter_of_an_hour_off(connection: Connection, tmp_path: Path, now: datetime) -> None:
    project = make_project(tmp_path, {"shop": {"name": "Everest", "zone": "Asia/Kathmandu"}})  # UTC+5:45
    world = World(connection, project, now)
    world.reach(datetime.fromisoformat("2026-11-20T18:14:59+00:00"))
    world.reach(datetime.fromisoformat("2026-11-20T18:15:00+00:00"))
    assert only(world).days == (Day(date(2026, 11, 20), sent=1), Day(date(2026, 11, 21), sent=1))


def test_erasing_a_person_changes_no_number(world: World) -> None:
    for held_out in (False, True):
        customer, message = world.reach(world.now - 4 * DAY, held_out=held_out)
        world.came_back(message, OPEN, world.now - DAY)
        world.came_back(message, CLICK, world.now - DAY, link_id=world.link("https://shop.example/"))
        world.order(customer, world.now - DAY)
    world.attribute()
    before = to_json(report_of(world))
    erase_customer(world.connection, customer, now=world.now, key=b"k" * 32, source="test")
    erase_customer(world.connection, customer - 1, now=world.now, key=b"k" * 32, source="test")
    world.attribute()
    assert to_json(report_of(world)) == before


def test_purging_what_came_back_leaves_shares(world: World) -> None:
    for number in range(4):
        _, message = world.reach(world.now - 4 * DAY)
        world.came_back(message, OPEN, world.now - (1 + number) * DAY)
        world.came_back(message, CLICK, world.now - (1 + number) * DAY)
    world.connection.execute(delete(interactions).where(interactions.c.at < world.now - 2 * DAY - HOUR))
    world.connection.execute(delete(message_history))
    rates = only(world).total.rates()
    assert rates["sent"] == Rate(4, 4, "planned")
    assert (rates["opened"].count, rates["clicked"].count) == (2, 2)


def test_an_empty_shop_has_an_empty_report(world: World) -> None:
    found = report_of(world)
    assert found.campaigns[0].total == Funnel("", "")
    assert [step.step for step in found.campaigns[0].steps] == ["hello", "offer"]
    assert all(rate.value is None for rate in found.campaigns[0].total.rates().values())
    assert (found.all_conversions, found.all_revenue, found.campaigns[0].days) == (0, (), ())


def test_a_campaign_that_is_gone_from_the_files_stays_counted(world: World) -> None:
    customer, message = world.reach(world.now - 5 * DAY, campaign="spring")
    world.came_back(message, OPEN, world.now - 4 * DAY)
    columns = {"live_since": world.now - 9 * DAY, "definition_hash": "x"}
    world.connection.execute(insert(campaign_states), [{"name": name, **columns} for name in ("spring", "autumn")])
    found = report_of(world)
    assert [(each.name, each.in_files) for each in found.campaigns] == [("wake", True), ("autumn", False), ("spring", False)]
    spring = found.campaigns[2]
    assert (spring.total.sent, spring.total.opened, spring.enrolled) == (1, 1, 1)
    assert (spring.uplift, spring.variants, spring.title) == (None, (), "spring")
    assert report_of(world, "spring").campaigns == (spring,)
    assert customer


def test_a_campaign_that_nobody_knows_is_refused_with_the_names_there_are(world: World) -> None:
    with pytest.raises(InputError) as caught:
        report_of(world, "wak")
    assert "'wak'" in caught.value.message
    assert "there are wake" in caught.value.remedy


def test_steps_come_in_the_files_order_the_second_way_after_the_first(world: World) -> None:
    for step in ("zebra", "offer", "hello:fallback"):
        world.message(world.enroll(world.now - DAY), world.now - DAY, step=step)
    assert [step.step for step in only(world).steps] == ["hello", "hello:fallback", "offer", "zebra"]


def test_a_campaign_on_two_channels_has_no_channel_of_its_own(connection: Connection, tmp_path: Path, now: datetime) -> None:
    project = make_project(tmp_path, wake=waking(steps=[email_step("hello"), sms_step("text", after="2d")]))
    world = World(connection, project, now)
    enrollment = world.enroll(now - 4 * DAY)
    world.message(enrollment, now - 4 * DAY)
    world.message(enrollment, now - 2 * DAY, step="text", channel="sms")
    found = only(world)
    assert [found.total.channel, *(step.channel for step in found.steps)] == ["", "email", "sms"]


@pytest.mark.parametrize(
    ("audience", "shown"),
    [
        ({"preset": "after_order", "after": "placed"}, True),
        ({"preset": "after_order", "after": "voided"}, False),
        ({"preset": "sleeping", "inactive": "90d"}, False),
    ],
)
def test_references_stand_beside_thank_you_letters_only(
    connection: Connection, tmp_path: Path, now: datetime, audience: dict[str, str], shown: bool
) -> None:
    project = make_project(tmp_path, wake=campaign(audience=audience))
    found = only(World(connection, project, now)).references
    expected = {"opened": 0.425, "clicked": 0.183, "converted": 0.103} if shown else {}
    assert {each.rate: each.value for each in found} == expected
    assert all("thank-you letters" in each.source for each in found)


def test_rows_are_the_same_numbers(world: World) -> None:
    customer, message = world.reach(world.now - 4 * DAY)
    world.came_back(message, OPEN, world.now - DAY)
    world.order(customer, world.now - DAY)
    world.message(world.enroll(world.now - DAY), world.now - DAY, state=MessageState.SKIPPED, reason="no_consent")
    world.attribute()
    total, hello, offer = to_rows(report_of(world))
    assert (total["campaign"], total["step"], hello["step"], offer["step"]) == ("wake", "", "hello", "offer")
    assert (total["planned"], total["sent"], total["skipped"], total["skip_reasons"]) == (2, 1, 1, "no_consent=1")
    assert (total["open_rate"], total["conversion_rate"], total["revenue"]) == (1.0, 1.0, "2000 USD")
    assert offer["click_rate"] is None


def test_all_numbers_are_of_one_moment(engine: Engine, tmp_path: Path, now: datetime) -> None:
    """A report that is read while messages go out does not see them come in between."""
    project = make_project(tmp_path / "shop")
    with reading(engine) as connection:
        before = build_report(connection, project, now)
        with writing(engine) as other:
            World(other, project, now).reach(now - DAY)
        assert build_report(connection, project, now) == before
    with reading(engine) as connection:
        assert build_report(connection, project, now).campaigns[0].total.sent == 1
