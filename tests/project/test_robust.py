"""Whatever stands in a file, it gives problems and never a traceback."""

from __future__ import annotations

import copy
from datetime import date, time
from pathlib import Path
from typing import Any

import pytest

from tests.project.builder import campaign, email_step, sms_step, to_toml, write_shop
from winback.project import inspect_project
from winback.project.completeness import renderable

CAMPAIGN = campaign(
    goal="x",
    schedule={"at": "09:30", "days": ["mon"], "late": "2h"},
    limits={"cooldown": "90d"},
    measure={"holdout": "10%"},
    exit={"when": "ordered"},
    variants={"b": "50%"},
    steps=[
        email_step("hello", variants={"b": {"subject": "B"}}, coupon={"pool": "X", "expires": "7d"}),
        sms_step("text", after="3d", only_if="not clicked('hello')"),
    ],
)
SETTINGS = {
    "shop": {"name": "x", "zone": "Europe/Berlin", "brand": {"color": "#000000"}},
    "web": {"host": "127.0.0.1", "password": {"env": "X"}},
    "gateways": {"relay": {"type": "smtp", "host": "mail", "password": {"env": "X"}}},
    "deliver": {"email": "relay"},
    "limits": {"email": ["1 in 16h"]},
    "quiet_hours": {"sms": "21:00-09:00"},
}

_GONE = object()

#: One of each kind, and texts that are almost something.
_VALUES = [
    _GONE,
    5,
    -1,
    1.5,
    True,
    "",
    "x",
    "10%",
    "not 'closed",
    [],
    ["x"],
    [5],
    [{}],
    {},
    {"name": "x"},
    {"name": 5},
    {"env": "X"},
    date(2026, 12, 24),
    time(9, 30, 15),
]


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, each in inner for place in _places(each, (*path, key)))]


def _changed(tables: dict[str, Any], place: tuple[Any, ...], value: Any) -> dict[str, Any]:
    tables = copy.deepcopy(tables)
    here: Any = tables
    for part in place[:-1]:
        here = here[part]
    if value is _GONE:
        del here[place[-1]]
    else:
        here[place[-1]] = value
    return tables


def _assert_only_problems(root: Path) -> None:
    project, problems = inspect_project(root, environ={})
    renderable(project)
    for problem in problems:
        assert problem.message
        assert problem.line >= 1
        for library in ("pydantic", "Input should", "Value error"):
            assert library not in str(problem)


@pytest.mark.parametrize("place", _places(CAMPAIGN)[1:], ids=str)
def test_any_value_in_a_campaign_gives_problems_or_is_fine(place: tuple[Any, ...], tmp_path: Path) -> None:
    write_shop(tmp_path, campaigns={"case": CAMPAIGN})
    for value in _VALUES:
        _assert_only_problems(write_shop(tmp_path, campaigns={"case": to_toml(_changed(CAMPAIGN, place, value))}))


@pytest.mark.parametrize("place", _places(SETTINGS)[1:], ids=str)
def test_any_value_in_the_settings_gives_problems_or_is_fine(place: tuple[Any, ...], tmp_path: Path) -> None:
    for value in _VALUES:
        _assert_only_problems(write_shop(tmp_path, settings=_changed(SETTINGS, place, value)))
