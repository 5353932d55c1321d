"""What a campaign caused: who is on which side, whose time counts how, and what is said of it."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Connection, update

from tests.project.builder import email_step
from tests.report.worlds import World, make_project, waking
from winback.report import Comparison, Revenue, Verdict, build_report
from winback.report.uplift import judge
from winback.store import MessageState, orders

DAY = timedelta(days=1)
WEEK = timedelta(weeks=1)
WINDOW = 10 * DAY
INSTANT = timedelta(microseconds=1)


def uplift(world: World) -> Comparison:
    found = build_report(world.connection, world.project, world.now).campaigns[0].uplift
    assert found is not None
    return found


def sides(world: World) -> tuple[int, int, int, int]:
    """Return people and converted of those written to, then of those left alone."""
    found = uplift(world)
    return found.group.people, found.group.converted, found.against.people, found.against.converted


def arms(world: World) -> dict[str, Comparison]:
    found = build_report(world.connection, world.project, world.now).campaigns[0].variants
    return {comparison.group.name: comparison for comparison in found}


@pytest.mark.parametrize("held_out", [False, True])
@pytest.mark.parametrize(
    ("after", "counts"),
    [(timedelta(0), False), (INSTANT, True), (WINDOW, True), (WINDOW + INSTANT, False), (-DAY, False)],
    ids=["at the start", "right after", "at the end", "too late", "before"],
)
def test_the_window_begins_after_the_first_message_was_due(world: World, held_out: bool, after: timedelta, counts: bool) -> None:
    start = world.now - 20 * DAY
    customer, _ = world.reach(start, held_out=held_out)
    world.reach(start, held_out=not held_out)
    world.order(customer, start + after)
    people_converted = sides(world)
    assert people_converted == ((1, 0, 1, int(counts)) if held_out else (1, int(counts), 1, 0))


@pytest.mark.parametrize(
    ("state", "began", "counts"),
    [
        (MessageState.SENT, None, True),
        (MessageState.DELIVERED, None, True),
        (MessageState.BOUNCED, None, True),
        (MessageState.FAILED, None, True),
        (MessageState.UNCERTAIN, None, True),
        (MessageState.CANCELLED, None, True),
        (MessageState.PLANNED, None, True),
        (MessageState.SKIPPED, MessageState.PLANNED, True),
        (MessageState.SKIPPED, MessageState.SKIPPED, False),
    ],
    ids=lambda value: str(value or ""),
)
def test_what_became_of_a_message_moves_nobody(
    world: World, state: MessageState, began: MessageState | None, counts: bool
) -> None:
    """Intent to treat: only a message that planning itself skipped is no start, on either side."""
    world.reach(world.now - 3 * DAY, held_out=True)
    start = world.now - 3 * DAY
    world.message(world.enroll(start), start, state=state, **({"began": began} if began else {}))
    assert sides(world)[0] == int(counts)


def test_whoever_was_skipped_at_first_starts_with_the_next_message(world: World) -> None:
    for held_out in (False, True):
        start = world.now - 9 * DAY
        enrollment = world.enroll(start, customer=(customer := world.person()), held_out=held_out)
        world.message(enrollment, start, state=MessageState.SKIPPED)
        going = MessageState.HELD_OUT if held_out else MessageState.SENT
        world.message(enrollment, start + 7 * DAY, state=going, step="offer")
        world.order(customer, start + 6 * DAY)
        if held_out:
            world.order(customer, start + 8 * DAY)
    assert sides(world) == (1, 0, 1, 1)


def test_a_message_that_is_due_later_is_no_start_yet(world: World) -> None:
    world.reach(world.now + DAY / 2, held_out=True)
    world.reach(world.now + DAY / 2)
    world.reach(world.now)
    world.reach(world.now - 9 * DAY)
    found = uplift(world)
    assert (found.group.people, found.against.people, found.verdict) == (2, 0, Verdict.NONE)


def test_people_count_once_from_their_first_start(world: World) -> None:
    """Who orders comes in again: a second window would give the buyers more time than the others."""
    start = world.now - 30 * DAY
    customer, _ = world.reach(start)
    world.order(customer, start + DAY)
    world.order(customer, start + 2 * DAY)
    world.reach(start + 15 * DAY, customer=customer)
    world.order(customer, start + 16 * DAY)
    world.reach(start, held_out=True)
    found = uplift(world)
    assert (found.group.people, found.group.converted) == (1, 1)
    assert found.group.revenue == (Revenue("USD", 4000),)


def test_a_person_stays_on_the_side_of_the_first_time(world: World) -> None:
    customer, _ = world.reach(world.now - 20 * DAY)
    world.reach(world.now - 5 * DAY, customer=customer, held_out=True)
    world.reach(world.now - 20 * DAY, held_out=True)
    assert sides(world) == (1, 0, 1, 0)


def test_orders_that_were_taken_back_and_later_ones_do_not_count(world: World) -> None:
    world.reach(world.now - 5 * DAY, held_out=True)
    customer, _ = world.reach(world.now - 5 * DAY)
    order = world.order(customer, world.now - DAY)
    world.order(customer, world.now + DAY)
    assert sides(world)[1] == 1
    world.connection.execute(update(orders).where(orders.c.id == order).values(status="returned"))
    assert sides(world)[1] == 0


def test_revenue_is_kept_by_currency(world: World) -> None:
    customer, _ = world.reach(world.now - 5 * DAY)
    world.reach(world.now - 5 * DAY, held_out=True)
    for currency, minor in (("EUR", 100), ("USD", 200), ("EUR", 300)):
        world.order(customer, world.now - DAY, minor, currency=currency)
    found = uplift(world)
    assert found.group.revenue == (Revenue("EUR", 400), Revenue("USD", 200))
    assert (found.group.converted, found.against.revenue) == (1, ())


def test_events_can_be_the_success(connection: Connection, tmp_path: Path, now: datetime) -> None:
    measure = {"holdout": "10%", "conversion": "event:webinar_attended", "window": "10d"}
    world = World(connection, make_project(tmp_path, wake=waking(measure=measure)), now)
    world.reach(now - 5 * DAY, held_out=True)
    customer, _ = world.reach(now - 5 * DAY)
    world.order(customer, now - DAY)
    world.event(customer, "webinar_booked", now - DAY)
    assert sides(world)[1] == 0
    world.event(customer, "webinar_attended", now - DAY)
    world.event(customer, "webinar_attended", now - DAY)
    found = uplift(world)
    assert (found.group.converted, found.group.revenue) == (1, ())
    assert "did “webinar attended”" in found.sentence


def test_without_a_holdout_nothing_is_said(connection: Connection, tmp_path: Path, now: datetime) -> None:
    project = make_project(tmp_path, wake=waking(measure={"window": "10d"}))
    World(connection, project, now).crowd(40, 20, now - 5 * DAY)
    assert build_report(connection, project, now).campaigns[0].uplift is None


def test_nobody_on_a_side_is_nothing_to_compare(world: World) -> None:
    assert uplift(world).sentence == "Nothing to compare yet: no message was due so far."
    world.crowd(40, 20, world.now - 5 * DAY)
    found = uplift(world)
    assert (found.verdict, found.difference, found.weeks_left) == (Verdict.NONE, None, None)
    assert found.sentence == "Nothing to compare yet: nobody has been left alone so far."


def test_a_campaign_that_works(world: World) -> None:
    start = world.now - 60 * DAY
    world.crowd(900, 180, start, minor=5000)
    world.crowd(100, 3, start, minor=5000, held_out=True)
    found = uplift(world)
    assert found.verdict is Verdict.MORE
    assert found.difference == pytest.approx(0.17)
    assert found.low is not None
    assert found.low > 0
    assert (found.caused, found.still_open, found.weeks_left) == (153, 0, None)
    assert (found.gain[0].currency, found.gain[0].minor) == ("USD", 153 * 5000)
    assert 0 < found.gain[0].low < found.gain[0].minor < found.gain[0].high
    assert found.sentence.startswith(
        "It works. Of the 900 people written to, 20.0% ordered; of the 100 people left alone, 3.0%. "
        "That is about 153 people more than would have without it; it may be as few as"
    )
    assert "They spent about $7,650 more in all than would be expected otherwise, between $" in found.sentence


def test_more_buyers_who_spend_less_each_are_no_gain_of_money(world: World) -> None:
    start = world.now - 60 * DAY
    world.crowd(500, 90, start, minor=2000)
    world.crowd(500, 20, start, minor=8900, held_out=True)
    found = uplift(world)
    assert (found.verdict, found.gain) == (Verdict.MORE, ())
    assert "spent" not in found.sentence


def test_a_campaign_that_does_harm(world: World) -> None:
    start = world.now - 60 * DAY
    world.crowd(500, 10, start)
    world.crowd(500, 90, start, held_out=True)
    found = uplift(world)
    assert found.verdict is Verdict.FEWER
    assert found.caused == -80
    assert found.gain[0].minor < 0
    assert found.sentence.startswith(
        "It does harm. Of the 500 people written to, 2.0% ordered; of the 500 people left alone, 18.0%."
    )
    assert "about 80 people fewer than would have without it" in found.sentence
    assert "They spent about $1,600 less" in found.sentence


def test_too_small_says_what_it_would_take(world: World) -> None:
    for week in range(9):
        at = world.now - 30 * DAY - week * WEEK
        world.crowd(90, 9, at)
        world.crowd(10, int(week % 2), at, held_out=True)
    # The pace is that of the last eight weeks, of which the first four here brought nobody.
    found = uplift(world)
    assert found.verdict is Verdict.TOO_SMALL
    assert (found.caused, found.gain) == (None, ())
    assert found.sentence.startswith(
        "Too small to say. Of the 810 people written to, 10.0% ordered; of the 90 people left alone, 4.4%."
    )
    assert found.weeks_left is not None
    weeks = found.weeks_left
    assert f"about {round(weeks * 12 / 52)} more months at this pace" in found.sentence
    per_week = 4 / 8  # crowds of the last eight weeks

    def then(weeks: float) -> Verdict:
        written, alone = 810 + 90 * per_week * weeks, 90 + 10 * per_week * weeks
        return judge(round(written * 0.1), round(written), round(alone * 4 / 90), round(alone))[0]

    assert then(weeks) is Verdict.MORE
    assert then(weeks - 1) is Verdict.TOO_SMALL


def test_people_whose_time_is_not_over_count_so_far(world: World) -> None:
    world.crowd(40, 4, world.now - 5 * DAY)
    world.crowd(40, 1, world.now - 5 * DAY, held_out=True)
    world.crowd(10, 0, world.now - 11 * DAY)
    found = uplift(world)
    assert found.still_open == 80
    assert "ordered so far" in found.sentence


def test_too_few_people_are_never_a_verdict(world: World) -> None:
    world.crowd(29, 29, world.now - 40 * DAY)
    world.crowd(29, 0, world.now - 40 * DAY, held_out=True)
    found = uplift(world)
    assert found.low is not None
    assert found.low > 0, "by the interval alone it would be one"
    assert found.verdict is Verdict.TOO_SMALL
    assert "These are too few to go by." in found.sentence


@pytest.mark.parametrize(
    ("starts", "said"),
    [
        ([3], "It is too early to guess how long it takes to tell."),
        ([200], "Nobody has come in for weeks, so there is no end to it at this pace."),
        ([30, 20, 10], "At this pace it would take more than five years to tell, if there is a difference at all."),
    ],
)
def test_when_it_cannot_be_said_how_long_it_takes(world: World, starts: list[int], said: str) -> None:
    for days in starts:
        world.crowd(40, 4, world.now - days * DAY)
        world.crowd(40, 4, world.now - days * DAY, held_out=True)
    found = uplift(world)
    assert (found.verdict, found.weeks_left) == (Verdict.TOO_SMALL, None)
    assert said in found.sentence


def test_people_from_before_the_holdout_are_not_compared(world: World) -> None:
    """A good season, or the whole window of last year's people, is no effect of the letters."""
    world.crowd(300, 90, world.now - 200 * DAY)
    world.crowd(50, 3, world.now - 30 * DAY)
    world.crowd(50, 3, world.now - 30 * DAY + timedelta(hours=3), held_out=True)
    found = uplift(world)
    assert (found.group.people, found.group.converted) == (50, 3)
    assert found.since == world.now - 30 * DAY + timedelta(hours=3)


def test_people_from_after_the_holdout_are_not_compared(connection: Connection, tmp_path: Path, now: datetime) -> None:
    project = make_project(tmp_path, wake=waking(measure={"window": "10d"}))
    world = World(connection, project, now)
    world.crowd(50, 5, now - 100 * DAY)
    world.crowd(50, 5, now - 100 * DAY, held_out=True)
    world.crowd(300, 0, now - 30 * DAY)
    found = uplift(world)
    assert (found.group.people, found.group.converted) == (50, 5)
    assert "Nobody comes in on one of the two sides any more" in found.sentence


def test_all_are_compared_where_both_sides_began_on_the_same_day(world: World) -> None:
    world.crowd(5, 1, world.now - 3 * DAY)
    world.crowd(5, 1, world.now - 3 * DAY + timedelta(hours=20), held_out=True)
    assert sides(world) == (5, 1, 5, 1)
    assert uplift(world).since is None


def with_arms(**variants: str) -> dict[str, object]:
    changed = {name: {"subject": f"Subject {name}"} for name in variants}
    return waking(variants=variants, steps=[email_step("hello", variants=changed)] if changed else [email_step("hello")])


def test_arms_are_compared_with_the_base_arm_without_the_held_out(connection: Connection, tmp_path: Path, now: datetime) -> None:
    world = World(connection, make_project(tmp_path, wake=with_arms(b="50%")), now)
    start = now - 40 * DAY
    world.crowd(400, 100, start, variant="b")
    world.crowd(400, 30, start, variant="a")
    world.crowd(80, 80, start, variant="b", held_out=True)
    (found,) = arms(world).values()
    assert (found.group.name, found.group.people, found.against.name, found.against.people) == ("arm b", 400, "arm a", 400)
    assert found.verdict is Verdict.MORE
    assert found.sentence.startswith(
        "Arm b does better than arm a. Of the 400 people in arm b, 25.0% ordered; of the 400 people in arm a, 7.5%."
    )
    assert "without it" not in found.sentence


def test_an_arm_without_people_is_said_to_be_empty(connection: Connection, tmp_path: Path, now: datetime) -> None:
    world = World(connection, make_project(tmp_path, wake=with_arms(b="50%")), now)
    world.crowd(40, 4, now - 20 * DAY, variant="a")
    assert arms(world)["arm b"].sentence == "Nothing to compare yet: nobody is in arm b."


def test_a_test_that_is_over_stays_in_the_report(world: World) -> None:
    world.crowd(40, 4, world.now - 20 * DAY, variant="b")
    world.crowd(40, 4, world.now - 20 * DAY, variant="a")
    world.crowd(40, 0, world.now - 2 * DAY, variant="")
    found = arms(world)["arm b"]
    assert (found.group.people, found.against.people, found.verdict) == (40, 40, Verdict.TOO_SMALL)


def test_an_arm_that_came_later_is_compared_with_those_of_its_time(connection: Connection, tmp_path: Path, now: datetime) -> None:
    world = World(connection, make_project(tmp_path, wake=with_arms(b="30%", c="30%")), now)
    for name in ("a", "b"):
        world.crowd(100, 50, now - 200 * DAY, variant=name)
    for name in ("a", "b", "c"):
        world.crowd(50, 5, now - 30 * DAY, variant=name)
    found = arms(world)
    assert (found["arm b"].group.people, found["arm b"].against.people) == (150, 150)
    assert (found["arm c"].group.people, found["arm c"].against.people, found["arm c"].against.converted) == (50, 50, 5)


def test_several_arms_share_the_chance_of_a_false_winner(connection: Connection, tmp_path: Path, now: datetime) -> None:
    counts = (60, 400, 30, 400)
    assert judge(*counts)[0] is Verdict.MORE
    assert judge(*counts, 0.05 / 4)[0] is Verdict.TOO_SMALL
    world = World(connection, make_project(tmp_path, wake=with_arms(b="20%", c="20%", d="20%", e="20%")), now)
    world.crowd(400, 30, now - 40 * DAY, variant="a")
    for name in "bcde":
        world.crowd(400, 60 if name == "b" else 30, now - 40 * DAY, variant=name)
    assert arms(world)["arm b"].verdict is Verdict.TOO_SMALL
