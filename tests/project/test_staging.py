"""Whom a shop that is tried out may write to: what files and environment say, and what happens when they say it wrongly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.project.builder import write_shop
from winback.errors import ProjectError
from winback.project import Project, load_project
from winback.project.watch import ShopFiles
from winback.store import Channel

EMAIL, SMS = Channel.EMAIL, Channel.SMS


def shop(folder: Path, variable: str | None = None, **deliver: Any) -> Project:
    root = write_shop(folder, settings={"deliver": deliver} if deliver else {})
    return load_project(root, environ={} if variable is None else {"WINBACK_STAGING": variable})


def goes_to(project: Project, channel: Channel, address: str) -> str | None:
    assert project.staging is not None
    return project.staging.destination(channel, address)


def test_a_shop_is_not_tried_out_unless_it_says_so(tmp_path: Path) -> None:
    assert shop(tmp_path).staging is None


ALLOW = ["@Ourshop.example", "Anna@Example.com", "@bücher.example", "+49 1511 2345678"]

DESTINATIONS: list[tuple[Channel, str, bool]] = [
    (EMAIL, "bob@ourshop.example", True),
    (EMAIL, "anna@example.com", True),
    (EMAIL, "eva@xn--bcher-kva.example", True),
    (EMAIL, "bob@example.com", False),
    (EMAIL, "anna+test@example.com", False),
    (EMAIL, "bob@mail.ourshop.example", False),
    (EMAIL, "bob@ourshop.example.com", False),
    (EMAIL, "bob@notourshop.example", False),
    (EMAIL, "", False),
    (SMS, "+4915112345678", True),
    (SMS, "+4915112345679", False),
    (SMS, "+491511234567", False),
]


@pytest.mark.parametrize("by", ["file", "variable"])
def test_only_who_is_on_the_list_gets_messages(tmp_path: Path, by: str) -> None:
    project = shop(tmp_path, allow=ALLOW) if by == "file" else shop(tmp_path, ", ".join(ALLOW))
    found = [(channel, address, goes_to(project, channel, address) == address) for channel, address, _ in DESTINATIONS]
    assert found == DESTINATIONS
    assert all(goes_to(project, channel, address) is None for channel, address, on in DESTINATIONS if not on)


@pytest.mark.parametrize(
    ("variable", "deliver", "letter", "text"),
    [
        (None, {"redirect_email": "QA@ourshop.example"}, "qa@ourshop.example", None),
        (None, {"redirect_sms": "+49 1511 2345678"}, None, "+4915112345678"),
        (None, {"allow": []}, None, None),
        (None, {"allow": ["@else.example"], "redirect_email": "qa@ourshop.example"}, "qa@ourshop.example", None),
        ("to:qa@ourshop.example", {}, "qa@ourshop.example", None),
        ("to:qa@ourshop.example,to:+4915112345678", {}, "qa@ourshop.example", "+4915112345678"),
        ("to:qa@ourshop.example", {"redirect_email": "b@ourshop.example"}, "qa@ourshop.example", None),
        # Both hold: who is on one list only gets nothing.
        ("@else.example", {"allow": ["customer@example.com"]}, None, None),
        ("customer@example.com", {"allow": ["@example.com"]}, "customer@example.com", None),
        ("customer@example.com", {"redirect_email": "qa@ourshop.example"}, "qa@ourshop.example", None),
        ("to:qa@ourshop.example", {"allow": ["@example.com"]}, "qa@ourshop.example", None),
    ],
)
def test_what_nobody_says_goes_to_nobody(
    tmp_path: Path, variable: str | None, deliver: dict[str, Any], letter: str | None, text: str | None
) -> None:
    project = shop(tmp_path, variable, **deliver)
    assert goes_to(project, EMAIL, "customer@example.com") == letter
    assert goes_to(project, SMS, "+493012345678") == text


WRONG: list[dict[str, Any]] = [
    {"allow": "anna@example.com"},
    {"allow": ["anna@example.com", 5]},
    {"allow": ["anna"]},
    {"allow": ["*@example.com"]},
    {"allow": ["*"]},
    {"allow": [""]},
    {"allow": ["@"]},
    {"allow": ["01511 2345678"]},
    {"allow": ["+4915"]},
    {"allow": ["anna@example.com\nBcc: all@example.com"]},
    {"allow": True},
    {"allowed": ["anna@example.com"]},
    {"redirect_email": ""},
    {"redirect_email": "Anna <anna@example.com>"},
    {"redirect_email": "@example.com"},
    {"redirect_email": "anna@example.com\r\nBcc: all@example.com"},
    {"redirect_sms": "01511 2345678"},
    {"redirect_sms": "anna@example.com"},
]


@pytest.mark.parametrize("deliver", WRONG, ids=str)
def test_a_wrong_value_is_an_error(tmp_path: Path, deliver: dict[str, Any]) -> None:
    with pytest.raises(ProjectError) as caught:
        shop(tmp_path, **deliver)
    [problem] = caught.value.problems
    assert problem.key.partition("[")[0] == f"deliver.{next(iter(deliver))}"


WRONG_VARIABLES = ["", " ", ",", "1", "on", "anna@example.com,", "to:", "to:@example.com", "to:a@example.com, to:b@example.com"]


@pytest.mark.parametrize("variable", [*WRONG_VARIABLES, "anna@example.com; bob@example.com", "*", "@example.com @example.org"])
def test_a_variable_that_cannot_be_understood_is_an_error(tmp_path: Path, variable: str) -> None:
    with pytest.raises(ProjectError, match="WINBACK_STAGING"):
        shop(tmp_path, variable)


class _Running:
    """A shop's files as a daemon has them, looked at anew after every change."""

    def __init__(self, folder: Path) -> None:
        self.root = write_shop(folder, settings={"deliver": {"email": "outbox"}})
        self.files = ShopFiles(self.root)

    def write(self, text: str) -> Project:
        (self.root / "config.toml").write_text(text)
        self.files._look()  # it looks once a second otherwise
        return self.files()


def test_a_running_shop_waits_while_nobody_knows_to_whom_it_may_write(tmp_path: Path) -> None:
    running = _Running(tmp_path)
    assert running.files().unclear == ""
    misspelt = running.write('[deliver]\nalow = ["@ourshop.example"]\n')
    assert misspelt.unclear.startswith("to whom messages may go is not clear: config.toml:2: deliver.alow")
    # What is said anew is right, but something else keeps it from being taken over.
    elsewhere = running.write('[deliver]\nallow = ["@ourshop.example"]\n[web]\nport = "x"\n')
    assert elsewhere.unclear.startswith("config.toml says anew to whom messages may go")
    assert elsewhere.staging is None
    mended = running.write('[deliver]\nallow = ["@ourshop.example"]\n')
    assert (mended.unclear, mended.staging is None) == ("", False)


def test_a_running_shop_goes_on_with_its_last_good_files_when_anything_else_is_wrong(tmp_path: Path) -> None:
    running = _Running(tmp_path)
    assert running.write('[web]\nport = "x"\n').unclear == ""
    assert running.write("[web\n").unclear == ""
    assert running.files.problems
