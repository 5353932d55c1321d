"""What differs between two versions, as a marketer reads it."""

from __future__ import annotations

import pytest

from winback.project.snapshot import Snapshot
from winback.versions import Kind, differences

CAMPAIGN = """
title = "Wake"
[audience]
inactive = "90d"
[[steps]]
name = "hello"
after = "1d"
[[steps]]
name = "offer"
on = 2026-12-24
"""


def _keys(before: str, after: str) -> list[tuple[str, str, str, str]]:
    [change] = differences(Snapshot({"campaigns/wake.toml": before.encode()}), Snapshot({"campaigns/wake.toml": after.encode()}))
    return [(key.kind.value, key.key, key.before, key.after) for key in change.keys]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('"90d"', '"60d"', [("changed", "audience.inactive", '"90d"', '"60d"')]),
        ('after = "1d"', 'after = "2d"', [("changed", "steps.hello.after", '"1d"', '"2d"')]),
        ("2026-12-24", "2026-12-25", [("changed", "steps.offer.on", "2026-12-24", "2026-12-25")]),
        (
            'name = "hello"',
            'name = "hi"',
            [("removed", "steps.hello.after", '"1d"', ""), ("added", "steps.hi.after", "", '"1d"')],
        ),
        ("[audience]", "# a comment\n[audience]", []),
        ("[audience]", "[limits]\ncaps = [1, true]\n[audience]", [("added", "limits.caps", "", "[1, true]")]),
    ],
)
def test_keys_go_by_the_names_of_steps(old: str, new: str, expected: list[tuple[str, str, str, str]]) -> None:
    assert _keys(CAMPAIGN, CAMPAIGN.replace(old, new)) == expected


def test_a_step_that_moves_is_a_change_of_order() -> None:
    head, first, second = CAMPAIGN.split("[[steps]]")
    moved = "[[steps]]".join([head, second, first])
    assert _keys(CAMPAIGN, moved) == [("changed", "steps (order)", "hello, offer", "offer, hello")]


def test_tables_without_names_go_by_their_numbers() -> None:
    assert _keys("[[a]]\nx = 1\n[[a]]\nx = 2\n", "[[a]]\nx = 1\n[[a]]\nx = 3\n") == [("changed", "a.2.x", "2", "3")]


def test_templates_differ_line_by_line() -> None:
    old, new = Snapshot({"templates/a.sms.txt": b"one\ntwo\n", "gone": b""}), Snapshot({"templates/a.sms.txt": b"one\n2\n"})
    gone, changed = differences(old, new)
    assert (gone.path, gone.kind) == ("gone", Kind.REMOVED)
    assert changed.lines == ("@@ -1,2 +1,2 @@", " one", "-two", "+2")


def test_everything_is_new_against_nothing() -> None:
    [change] = differences(None, Snapshot({"config.toml": b"auto_apply = false"}))
    assert (change.kind, change.keys[0].after) == (Kind.ADDED, "false")
    assert differences(Snapshot({"a": b"x"}), Snapshot({"a": b"x"})) == ()
