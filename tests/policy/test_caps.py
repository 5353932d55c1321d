"""Frequency caps: how many messages fit into a rolling window, who counts, and who goes first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, literal, select

from tests.project.builder import campaign, sms_step, write_shop
from tests.rows import add_customer, add_message
from winback.policy import Ask, RuleName, Stage, audience_context, first_failure
from winback.project import Project, load_project
from winback.project.settings import LimitSettings
from winback.store import Channel, UtcDateTime, customers, reading, writing

NOW = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)

#: State, hours from NOW, channel, campaign.
Other = tuple[str, float, str, str]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    limits = {"email": ["1 in 16h", "3 in 7d"], "sms": ["1 in 24h"]}
    campaigns = {
        "first": campaign(priority=10),
        "wake": campaign(priority=40),
        "equal": campaign(priority=40),
        "newsletter": campaign(priority=90),
        "thanks": campaign(priority=10, purpose="service"),
        "text": campaign(priority=40, steps=[sms_step()]),
    }
    return load_project(write_shop(tmp_path, campaigns=campaigns, settings={"limits": limits}), environ={})


def _is_capped(engine: Engine, project: Project, name: str, others: Sequence[Other], at: datetime = NOW) -> bool:
    asking = project.campaigns[name]
    with writing(engine) as connection:
        customer = add_customer(connection, "C1", NOW - 400 * HOUR, phone="+4915112345678", sms_marketing=True)
        for number, (state, hours, channel, other) in enumerate(others):
            when = NOW + hours * HOUR
            sent = when if state in ("sent", "delivered", "bounced", "uncertain") else None
            add_message(
                connection,
                customer,
                when,
                state=state,
                sent_at=sent,
                channel=channel,
                campaign=other,
                step=f"s{number}",
                purpose=project.campaigns[other].purpose.value,
            )
    ask = Ask(
        project=project,
        campaign=asking,
        stage=Stage.PLAN,
        context=audience_context(project, NOW),
        step=asking.steps[0],
        channel=asking.steps[0].channel,
        customer=customers,
        at=literal(at, UtcDateTime()),
    )
    with reading(engine) as connection:
        failure = connection.scalar(select(first_failure(ask)).where(customers.c.external_id == "C1"))
    assert failure in (None, RuleName.CAPPED)
    return failure == RuleName.CAPPED


@pytest.mark.parametrize(
    ("name", "others", "capped"),
    [
        ("wake", [], False),
        ("wake", [("sent", -15.9, "email", "first")], True),
        ("wake", [("sent", -16, "email", "first")], False),  # exactly 16 hours ago is outside of "in 16h"
        ("wake", [("sent", -17, "email", "first"), ("sent", -40, "email", "first"), ("sent", -160, "email", "wake")], True),
        ("wake", [("sent", -17, "email", "first"), ("sent", -40, "email", "first"), ("sent", -168, "email", "wake")], False),
        ("wake", [("sent", -1, "sms", "text")], False),  # each channel has caps of its own
        ("text", [("sent", -1, "email", "wake")], False),
        ("text", [("sent", -23, "sms", "wake")], True),
        ("wake", [("delivered", -1, "email", "first")], True),
        ("wake", [("bounced", -1, "email", "first")], True),
        ("wake", [("uncertain", -1, "email", "first")], True),  # it may have arrived
        ("wake", [(state, -1, "email", "first") for state in ("skipped", "held_out", "cancelled", "failed")], False),
        ("wake", [("planned", 3, "email", "first")], True),  # a greeting at 13:00 keeps its place
        ("wake", [("planned", 3, "email", "equal")], True),
        ("wake", [("planned", 3, "email", "newsletter")], False),  # what comes behind has no precedence
        ("wake", [("planned", 17, "email", "first")], False),
        ("wake", [("sent", -1, "email", "thanks")], True),  # service messages count …
        ("thanks", [("sent", -1, "email", "wake")], False),  # … and are never capped
    ],
)
def test_what_counts(engine: Engine, project: Project, name: str, others: list[Other], capped: bool) -> None:
    assert _is_capped(engine, project, name, others) is capped


def test_the_window_is_around_the_time_at_which_the_message_would_go(engine: Engine, project: Project) -> None:
    assert _is_capped(engine, project, "wake", [("sent", -1, "email", "first")], at=NOW + 16 * HOUR) is False


def test_others_messages_do_not_count(engine: Engine, project: Project) -> None:
    with writing(engine) as connection:
        somebody_else = add_customer(connection, "C0", NOW, erased_at=NOW)
        add_message(connection, somebody_else, NOW - HOUR, campaign="first")
    assert _is_capped(engine, project, "wake", []) is False


def test_no_caps_no_limit(engine: Engine, tmp_path: Path) -> None:
    root = write_shop(tmp_path, campaigns={"wake": campaign()}, settings={"limits": {"email": []}})
    project = load_project(root, environ={})
    assert project.settings.limits.for_channel(Channel.EMAIL) == ()
    assert _is_capped(engine, project, "wake", [("sent", -0.1, "email", "wake")]) is False


@pytest.mark.parametrize(
    ("limits", "others", "capped"),
    [
        ({"total": ["1 in 1d"]}, [("sent", -1, "sms", "text")], True),  # every channel counts …
        ({"total": ["1 in 1d"]}, [("sent", -1, "email", "thanks")], True),  # … and every purpose
        ({"total": ["1 in 1d"]}, [("sent", -25, "sms", "text")], False),
        ({"marketing": ["1 in 1d"]}, [("sent", -1, "sms", "text")], True),
        ({"marketing": ["1 in 1d"]}, [("sent", -1, "email", "thanks")], False),
        ({"marketing": ["2 in 1d"]}, [("sent", -1, "email", "first"), ("planned", 2, "sms", "text")], True),
    ],
)
def test_what_counts_over_all_channels(
    engine: Engine, project: Project, limits: dict[str, list[str]], others: list[Other], capped: bool
) -> None:
    settings = project.settings.model_copy(update={"limits": LimitSettings.model_validate({"email": [], "sms": [], **limits})})
    assert _is_capped(engine, replace(project, settings=settings), "wake", others) is capped
