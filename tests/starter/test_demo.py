"""`winback demo`: what a newcomer sees first, and what running it again does."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, func, select

from winback.project import load_project
from winback.store import (
    Channel,
    InteractionClass,
    InteractionKind,
    MessageState,
    conversions,
    coupons,
    enrollments,
    interactions,
    messages,
    open_engine,
    orders,
    passes,
    reading,
)

CAMPAIGNS = {"sleeping", "birthday", "thank_you", "nurture"}


def winback(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).parent / "winback"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WINBACK_")}
    return subprocess.run(
        [program, *arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        stdin=subprocess.DEVNULL,
        check=False,
    )


@pytest.fixture
def demo(filled_shop: Path, tmp_path: Path) -> Path:
    """Give a copy of the shop as `winback demo` left it."""
    shutil.copytree(filled_shop, tmp_path / "demo")
    assert winback("adopt", "--yes", cwd=tmp_path / "demo").returncode == 0
    return tmp_path / "demo"


def database(folder: Path) -> Engine:
    return open_engine(load_project(folder).settings.database.url, root=folder)


def ledger(folder: Path) -> dict[str, tuple[Any, ...]]:
    """Return what is known of every message that went."""
    columns = (messages.c.id, messages.c.state, messages.c.sent_at, messages.c.attempts, messages.c.provider_id)
    engine = database(folder)
    with reading(engine) as connection:
        rows = connection.execute(select(*columns).where(messages.c.sent_at.is_not(None))).all()
    engine.dispose()
    return {row[0]: tuple(row) for row in rows}


def outbox(folder: Path) -> dict[str, int]:
    """Return the files of the outbox, each with when it was written."""
    return {file.name: file.stat().st_mtime_ns for file in (folder / "var/outbox").rglob("*.*") if file.is_file()}


def test_all_four_campaigns_have_sent_through_the_outbox(filled_shop: Path) -> None:
    engine = database(filled_shop)
    with reading(engine) as connection:
        sent = select(messages.c.campaign, messages.c.step, messages.c.channel, messages.c.id).where(
            messages.c.sent_at.is_not(None)
        )
        rows = connection.execute(sent).all()
        assert {row.campaign for row in rows} == CAMPAIGNS
        project = load_project(filled_shop)
        steps = {(campaign.name, step.name) for campaign in project.campaigns.values() for step in campaign.steps}
        # When the demo runs on some weekdays, the last word to the first sleepers is still to come.
        assert steps - {(row.campaign, row.step) for row in rows} <= {("sleeping", "last_word"), ("nurture", "talk")}
        assert {row.channel for row in rows} == {Channel.EMAIL, Channel.SMS}
        assert len(rows) > 800
        for campaign in ("sleeping", "birthday"):
            held_out = enrollments.c.campaign == campaign, enrollments.c.held_out
            assert connection.scalar(select(func.count()).where(*held_out)) > 0  # type: ignore[operator]
        assert connection.scalar(select(func.count()).select_from(coupons)) > 50  # type: ignore[operator]
    engine.dispose()
    files = {path.name for path in (filled_shop / "var/outbox").rglob("*.*")}
    for row in rows:
        assert f"{row.id}.json" in files
        assert (f"{row.id}.eml" in files) == (row.channel == Channel.EMAIL)
    assert len([name for name in files if name.endswith(".json")]) == len(rows)


def test_people_reacted_through_the_real_endpoints(filled_shop: Path) -> None:
    engine = database(filled_shop)
    with reading(engine) as connection:
        seen = {
            (row.kind, row.klass): row.count
            for row in connection.execute(
                select(interactions.c.kind, interactions.c.klass, func.count().label("count")).group_by(
                    interactions.c.kind, interactions.c.klass
                )
            )
        }
        assert seen[InteractionKind.OPEN, InteractionClass.HUMAN] > 100
        assert seen[InteractionKind.OPEN, InteractionClass.PROXY] > 20
        assert seen[InteractionKind.CLICK, InteractionClass.HUMAN] > 50
        assert seen[InteractionKind.CLICK, InteractionClass.MACHINE] > 5
        assert seen[InteractionKind.UNSUBSCRIBE, InteractionClass.HUMAN] >= 1
        by_visitors = orders.c.external_id.like("WEB-%")
        assert connection.scalar(select(func.count()).where(by_visitors)) >= 5  # type: ignore[operator]
        assert connection.scalar(select(func.count()).where(~by_visitors)) == 6919
        assert connection.scalar(select(func.count()).select_from(conversions)) >= 10  # type: ignore[operator]
        # At their own hours: not all at the moment of a pass.
        moments = connection.scalar(select(func.count(func.distinct(interactions.c.at))))
        assert moments > 100  # type: ignore[operator]
    engine.dispose()


def test_every_message_ended_well_or_waits_for_its_time(filled_shop: Path) -> None:
    engine = database(filled_shop)
    with reading(engine) as connection:
        last = connection.scalar(select(func.max(passes.c.started_at)))
        assert last is not None
        bad = messages.c.state.in_([MessageState.FAILED, MessageState.UNCERTAIN, MessageState.SENDING])
        assert connection.scalar(select(func.count()).where(bad)) == 0
        overdue = messages.c.state == MessageState.PLANNED, messages.c.next_attempt_at <= last
        assert connection.scalar(select(func.count()).where(*overdue)) == 0
        errors = connection.scalars(select(passes.c.error).where(passes.c.error.is_not(None))).all()
        assert errors == []
        first = connection.scalar(select(func.min(passes.c.started_at)))
        assert timedelta(days=27) < last - first < timedelta(days=30)  # type: ignore[operator]
    engine.dispose()


def test_the_report_is_one_file_about_every_campaign(filled_shop: Path) -> None:
    page = (filled_shop / "var/report.html").read_text(encoding="utf-8")
    for campaign in load_project(filled_shop).campaigns.values():
        assert campaign.title in page
    assert "<svg" in page
    assert not [link for link in ('src="http', 'href="http://127', "<script src") if link in page]


def test_running_it_again_sends_nothing_twice_and_says_so(demo: Path) -> None:
    before, files = ledger(demo), outbox(demo)
    done = winback("demo", str(demo), cwd=demo.parent)
    assert done.returncode == 0, done.stderr
    assert "Half Note Records in demo is filled already" in done.stderr
    after = ledger(demo)
    new = after.keys() - before.keys()
    assert {id_: after[id_] for id_ in before} == before
    assert ("Nothing was due since the last time: nothing was sent." in done.stderr) == (not new)
    now_there = outbox(demo)
    assert {name: now_there[name] for name in files} == files
    assert {name.partition(".")[0] for name in now_there.keys() - files.keys()} == new
    engine = database(demo)
    with reading(engine) as connection:
        assert connection.scalar(select(func.count()).where(orders.c.external_id.like("HN-%"))) == 6919
        twice = select(messages.c.enrollment_id).group_by(messages.c.enrollment_id, messages.c.step).having(func.count() > 1)
        assert connection.execute(twice).all() == []
    engine.dispose()


def test_it_says_what_to_open_next_and_every_command_works(demo: Path) -> None:
    done = winback("demo", cwd=demo)
    assert done.returncode == 0, done.stderr
    assert "Half Note Records in this folder is filled already" in done.stderr
    said = done.stderr[done.stderr.index("What to open next:") :]
    assert "var/report.html" in said
    assert (demo / "var/report.html").is_file()
    assert (demo / "var/outbox").is_dir()
    tried = 0
    for line in said.splitlines():
        _, found, command = line.partition("winback ")
        if found and not command.startswith("daemon"):
            arguments = command.split()
            ran = winback(*arguments, cwd=demo)
            assert ran.returncode == 0, f"{line}: {ran.stderr}"
            assert ran.stdout.strip()
            tried += 1
    assert tried == 2


def test_each_preview_of_the_filled_shop_answers(filled_shop: Path) -> None:
    for campaign in sorted(CAMPAIGNS):
        seen = winback("preview", campaign, "-o", "json", cwd=filled_shop)
        assert seen.returncode == 0, seen.stderr
        assert json.loads(seen.stdout)["error"] is None


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (('email = "outbox"', 'email = "relay"\n\n[gateways.relay]\ntype = "smtp"\nhost = "localhost"'), "not into the outbox"),
        (("api_key", "# api_key"), "has no web.api_key"),
    ],
    ids=["real gateway", "closed API"],
)
def test_a_shop_that_would_write_to_real_people_is_refused(shop: Path, change: tuple[str, str], complaint: str) -> None:
    config = shop / "config.toml"
    config.write_text(config.read_text(encoding="utf-8").replace(*change), encoding="utf-8")
    if "smtp" in change[1]:
        config.write_text(config.read_text(encoding="utf-8").replace('sms   = "outbox"', ""), encoding="utf-8")
    done = winback("demo", str(shop), cwd=shop.parent)
    assert done.returncode == 2, done.stderr
    assert complaint in done.stderr
    assert not (shop / "var/winback.sqlite").exists()
