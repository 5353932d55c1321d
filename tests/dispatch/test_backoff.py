"""Waits grow, have jitter that is always the same for a message, and never pass three days."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID, uuid5

import pytest

from winback.dispatch.backoff import pause_after, wait_before_retry

NAMESPACE = UUID(int=1)
IDS = [str(uuid5(NAMESPACE, str(number))) for number in range(300)]


@pytest.mark.parametrize(
    ("tried", "minutes"),
    [(1, 1), (2, 5), (3, 15), (4, 60), (5, 240), (6, 480), (7, 960), (8, 1440), (9, 2880), (10, 4320), (25, 4320)],
)
def test_a_wait_is_the_documented_one_and_at_most_a_fifth_longer(tried: int, minutes: int) -> None:
    waits = [wait_before_retry(message, tried) / timedelta(minutes=minutes) for message in IDS]
    assert min(waits) >= 1
    assert max(waits) <= 1.2
    # Spread over the whole of it: what failed together does not come back together.
    assert min(waits) < 1.02
    assert max(waits) > 1.18


def test_a_message_always_waits_equally_long() -> None:
    assert [wait_before_retry(IDS[0], tried) for tried in range(1, 9)] == [
        wait_before_retry(IDS[0], tried) for tried in range(1, 9)
    ]
    assert len({wait_before_retry(message, 1) for message in IDS}) > 250


@pytest.mark.parametrize(
    ("asked", "waited"),
    [(timedelta(hours=2), timedelta(hours=2)), (timedelta(days=30), timedelta(days=3)), (timedelta(seconds=-5), None)],
)
def test_the_other_side_may_ask_for_longer_but_not_for_weeks(asked: timedelta, waited: timedelta | None) -> None:
    assert wait_before_retry(IDS[0], 1, asked) == (waited or wait_before_retry(IDS[0], 1))


def test_a_pause_doubles_up_to_a_quarter_of_an_hour() -> None:
    assert [pause_after(failures) / timedelta(minutes=1) for failures in (0, 1, 2, 3, 4, 5, 6, 1000)] == [
        1,
        1,
        2,
        4,
        8,
        15,
        15,
        15,
    ]
    assert pause_after(1, timedelta(minutes=40)) == timedelta(minutes=40)
