"""The intervals, against published values, and against luck: groups that do not differ, looked at every week."""

from __future__ import annotations

import random
from math import sqrt

import pytest

from winback.report import Verdict
from winback.report.intervals import Moments, difference_of_means, effective, multiplier, newcombe, wilson
from winback.report.uplift import judge

Z95 = 1.959964

LOOKS = 30
SHOPS = 400


@pytest.mark.parametrize(
    ("count", "of", "low", "high"), [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (1, 29, 0.0061, 0.1718)]
)
def test_wilson_against_the_table_of_newcombe_1998(count: int, of: int, low: float, high: float) -> None:
    assert wilson(count, of, Z95) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(
    ("one", "other", "low", "high"),
    [((56, 70), (48, 80), 0.0524, 0.3339), ((9, 10), (3, 10), 0.1705, 0.8090), ((10, 10), (0, 20), 0.6791, 1.0)],
)
def test_the_difference_against_the_table_of_newcombe_1998(
    one: tuple[int, int], other: tuple[int, int], low: float, high: float
) -> None:
    found = newcombe(*one, *other, Z95)
    assert (found.low, found.high) == pytest.approx((low, high), abs=5e-5)
    swapped = newcombe(*other, *one, Z95)
    assert (swapped.low, swapped.high) == pytest.approx((-high, -low), abs=5e-5)


def test_the_multiplier_is_wider_than_that_of_a_single_look() -> None:
    found = [multiplier(size) for size in (5, 20, 100, 450, 10_000, 1_000_000)]
    assert all(value > Z95 + 0.9 for value in found)
    assert found[0] > found[1] > found[2] > found[3], "small groups need much more"
    assert multiplier(450) == pytest.approx(3.035, abs=0.001)
    assert multiplier(450, 0.01) > multiplier(450, 0.05)


def test_the_smaller_group_counts_most() -> None:
    assert effective(9_000, 1_000) == 900
    assert effective(500, 500) == 250


def test_a_mean_of_money_has_its_interval() -> None:
    same = Moments(100, 100.0, 200.0)
    found = difference_of_means(Moments(100, 300.0, 1_000.0), same)
    half = multiplier(50) * sqrt((1_000 - 900) / 99 / 100 + (200 - 100) / 99 / 100)
    assert (found.difference, found.low, found.high) == pytest.approx((2.0, 2.0 - half, 2.0 + half))
    assert not difference_of_means(same, same).tells


@pytest.mark.parametrize(("share", "rate"), [(0.1, 0.05), (0.5, 0.2)])
def test_luck_alone_wins_in_less_than_one_shop_of_twenty_however_often_one_looks(share: float, rate: float) -> None:
    """FIELD: 30 looks at an A/A test give 26 % false winners with z-tests, 1.75 % with a confidence sequence."""
    told, tested = _winners(share, rate, rate, per_look=100)
    assert told <= 0.05 * SHOPS
    # The same shops, judged as if each look were the only one: the simulation does offer luck its chances.
    assert tested >= 0.15 * SHOPS


def test_a_real_difference_is_found() -> None:
    told, _ = _winners(0.5, 0.10, 0.05, per_look=100)
    assert told >= 0.9 * SHOPS


def _winners(share: float, rate: float, held_out_rate: float, *, per_look: int) -> tuple[int, int]:
    """Return in how many of many shops a weekly look ever found a winner: by our judgement, and by a z-test."""
    draw = random.Random(20261124).random
    told = tested = 0
    for _ in range(SHOPS):
        people, converted = [0, 0], [0, 0]
        found = found_by_test = False
        for _ in range(LOOKS):
            for _ in range(per_look):
                side = draw() < share
                people[side] += 1
                converted[side] += draw() < (held_out_rate if side else rate)
            verdict, _ = judge(converted[0], people[0], converted[1], people[1])
            found = found or verdict is not Verdict.TOO_SMALL
            found_by_test = found_by_test or _z_test(people, converted)
        told += found
        tested += found_by_test
    return told, tested


def _z_test(people: list[int], converted: list[int]) -> bool:
    pooled = sum(converted) / sum(people)
    error = sqrt(pooled * (1 - pooled) * sum(1 / number for number in people))
    difference = converted[0] / people[0] - converted[1] / people[1]
    return error > 0 and min(people) >= 30 and sum(converted) >= 10 and abs(difference) > Z95 * error
