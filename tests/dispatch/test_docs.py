"""docs/delivery.md names every state and every reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from winback.dispatch.outcomes import ATTEMPTS, RESENT
from winback.dispatch.preparing import RENDER
from winback.dispatch.taking import RULES_FAILED
from winback.policy import REASONS, WITHDRAWN
from winback.store import MessageState

PAGE = (Path(__file__).parents[2] / "docs" / "delivery.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("state", [state.value for state in MessageState])
def test_every_state_is_explained(state: str) -> None:
    word = state.replace("_", " ")
    assert f"| {word} |" in PAGE or f"`{word}`" in PAGE


@pytest.mark.parametrize("reason", [*REASONS, WITHDRAWN, RULES_FAILED, ATTEMPTS, RESENT])
def test_every_reason_is_explained(reason: str) -> None:
    assert f"\n| `{reason}` | " in PAGE


def test_rules_are_explained_in_the_words_that_the_program_uses() -> None:
    for reason, meaning in REASONS.items():
        assert f"| `{reason}` | {meaning}" in PAGE.replace("(its `only_if`)", "(its only_if)")


def test_a_template_that_fails_has_a_reason_that_is_explained() -> None:
    assert f"`{RENDER} templates/…:12`" in PAGE
