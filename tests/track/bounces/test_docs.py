"""docs/bounces.md is about what is really there."""

from __future__ import annotations

import re
from pathlib import Path

from winback.durations import format_duration
from winback.store import BounceReason, SuppressionReason
from winback.track import soft_bounces
from winback.track.bounces import reading
from winback.track.bounces.mail import LARGEST

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "bounces.md").read_text(encoding="utf-8")


def test_every_reason_is_named_and_no_other() -> None:
    known = {*BounceReason, SuppressionReason.SOFT_BOUNCES, SuppressionReason.COMPLAINT}
    table = PAGE.partition("## What follows")[2].partition("\n## ")[0]
    assert set(re.findall(r"\(`(\w+)`\)", table)) == {str(each) for each in known}


def test_the_numbers_are_those_of_the_program() -> None:
    weeks = {14: "two weeks"}[reading._FIRST.days]
    days = {5: "five days"}[soft_bounces._RETURNS_WITHIN.days]
    over = format_duration(soft_bounces.OVER).replace("d", " days")
    for words in (f"After {soft_bounces.IN_A_ROW} in a row over {over}", f"first {LARGEST // 1024} kB", weeks, f"after {days}"):
        assert words in PAGE, words
