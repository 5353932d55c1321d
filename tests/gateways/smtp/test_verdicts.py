"""What servers say and what it means: real replies, as a file of cases."""

from __future__ import annotations

import tomllib
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from winback.gateways.base import Outcome, Refused, Retry
from winback.gateways.smtp.replies import Reply
from winback.gateways.smtp.verdicts import RULES, outcome_of

CASES = tomllib.loads((Path(__file__).parents[2] / "cases" / "smtp_replies.toml").read_text("utf-8"))["reply"]

PHASES = ("greeting", "ehlo", "starttls", "auth", "mail", "rcpt", "data", "end")


def meaning(outcome: Outcome) -> str:
    if isinstance(outcome, Retry):
        return "everybody" if outcome.whole_gateway else "later"
    assert isinstance(outcome, Refused)
    return "no-address" if outcome.hard_bounce else "never"


def reply_of(text: str) -> Reply:
    return Reply.of([line.encode() for line in text.split("\n")])


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['at']} {case['says'][:60]}")
def test_a_reply_means_what_it_should(case: dict[str, Any]) -> None:
    outcome = outcome_of(reply_of(case["says"]), case["at"])
    assert meaning(outcome) == case["means"], outcome
    assert case.get("reason", "") in outcome.reason
    assert outcome.reply == case["says"]
    if isinstance(outcome, Retry):
        assert outcome.after == (timedelta(seconds=case["after"]) if "after" in case else None)


def test_every_rule_has_a_case_that_it_decides() -> None:
    decided = {next(rule for rule in RULES if rule.fits(reply_of(case["says"]), case["at"])) for case in CASES}
    assert [rule for rule in RULES if rule not in decided] == []


def test_every_rule_has_a_source() -> None:
    assert all(rule.source for rule in RULES)


@given(
    code=st.integers(400, 599),
    text=st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=80),
    phase=st.sampled_from(PHASES),
)
def test_every_refusal_means_something(code: int, text: str, phase: Any) -> None:
    outcome = outcome_of(Reply(code, f"{code} {text}"), phase)
    assert outcome.reason
    if phase not in ("rcpt", "data", "end", "mail"):
        assert meaning(outcome) == "everybody"
    if 400 <= code < 500:
        assert isinstance(outcome, Retry), "4xx is never final (RFC 5321 section 4.2.1)"


@pytest.mark.parametrize(
    ("raw", "queue_id"),
    [
        ("250 2.0.0 Ok: queued as 4ZxYwV1qzHz9rxx", "4ZxYwV1qzHz9rxx"),  # Postfix
        ("250 OK id=1sVJ3M-00000001abc-2DeF", "1sVJ3M-00000001abc-2DeF"),  # Exim
        ("250 2.0.0 46FA1B2C003456 Message accepted for delivery", "46FA1B2C003456"),  # sendmail
        ("250 Ok 01020190a1b2c3d4-5e6f7a8b-0000-4000-8000-000000", "01020190a1b2c3d4-5e6f7a8b-0000-4000-8000-000000"),  # SES
        ("250 2.6.0 <a@b> [InternalId=12345678901, Hostname=X.outlook.com] Queued mail for delivery", "12345678901"),
        ("250 Message Queued (1B2C3D4E-0000-4000-8000-0123456789AB.1)", "1B2C3D4E-0000-4000-8000-0123456789AB.1"),  # Haraka
        ("250 Ok: queued as <abc@host>", "abc@host"),
        ("250 2.0.0 OK", None),
        ("250", None),
    ],
)  # fmt: skip
def test_the_servers_name_for_a_message_is_found(raw: str, queue_id: str | None) -> None:
    assert Reply(250, raw).queue_id == queue_id
