"""What can be wrong, what the log says, and why somebody gets nothing: all of it is explained."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from winback import scheduler
from winback.policy import REASONS
from winback.store import MessageState

_DOCS = Path(__file__).resolve().parents[2] / "docs"


def _source(module: str) -> str:
    return (Path(scheduler.__file__).parent / f"{module}.py").read_text(encoding="utf-8")


def _explained(page: str) -> set[str]:
    """Return what stands in backticks in the first column of the page's tables."""
    rows = re.findall(r"^\| (`[^|]*) \|", (_DOCS / page).read_text(encoding="utf-8"), re.MULTILINE)
    return {word for row in rows for word in re.findall(r"`([^`]+)`", row)}


@pytest.mark.parametrize("reason", REASONS)
def test_every_reason_is_explained(reason: str) -> None:
    assert reason in _explained("how-it-works.md")


@pytest.mark.parametrize("state", MessageState)
def test_every_state_is_in_the_diagram(state: MessageState) -> None:
    diagram = (_DOCS / "how-it-works.md").read_text(encoding="utf-8").split("planned ─►")[1].split("```")[0]
    assert state in f"planned {diagram}"


def test_everything_that_can_be_wrong_is_explained() -> None:
    names = set(re.findall(r'HealthItem\("(\w+)", (?!True)', _source("health")))
    assert len(names) > 10
    assert names <= _explained("operations.md")


def test_every_event_of_the_log_is_explained() -> None:
    events = set(re.findall(r'"([a-z]+\.[a-z]+)"', _source("daemon")))
    events |= {"daemon.started", "daemon.stopping", "daemon.stopped"}
    assert {"pass.finished", "lead.taken", "files.problem"} <= events
    assert events <= _explained("operations.md")
