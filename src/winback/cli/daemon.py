"""`winback run` and `winback daemon`: one pass now, or passes by the clock with the pages beside them."""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import typer

from winback.cli.base import (
    Column,
    Output,
    OutputOption,
    ShopOption,
    moment,
    open_database,
    open_running,
    readable_settings,
    say,
    show,
    show_json,
)
from winback.cli.doctor import doctor
from winback.cli.status import retry, status
from winback.errors import InputError

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from winback.cli.pages import Pages
    from winback.project import Project
    from winback.scheduler import PassOutcome
    from winback.scheduler.daemon import Daemon

#: A service manager kills what has not stopped after a while; this is well before, and enough for a batch in hand.
_STOP_WITHIN = timedelta(seconds=8)

#: The shortest and the longest time between two passes; `status` misses a daemon that makes none for two hours.
_SHORTEST, _LONGEST = timedelta(seconds=1), timedelta(hours=1)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("run")(run)
    app.command("daemon", short_help="Run the campaigns by the clock; serve the pages.")(daemon)
    app.command("status", short_help="Say whether all is well, and what comes next.")(status)
    app.command("doctor", short_help="Look closely at everything, gateways too.")(doctor)
    app.command("retry", short_help="Send again what failed or may not have arrived.")(retry)


def run(
    now: Annotated[
        str | None,
        typer.Option("--now", metavar="WHEN", help="As if it were this moment. What is due by then is really sent."),
    ] = None,
    shop: ShopOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Make one pass: plan, send what is due, then exit. Exit 1 when a part of it failed.

    \b
    Example: winback run
    """
    from winback import clock
    from winback.dispatch import Helpers
    from winback.scheduler import run_pass

    opened = open_running(shop)
    at = moment(now, opened.project)
    told = _Signals()
    worker = worker_name()
    with closing(Helpers(worker)) as helpers:
        outcome = run_pass(
            opened.engine,
            opened.project,
            at,
            worker,
            clock=clock.now if now is None else None,
            stop=lambda: told.to_stop,
            wait=told.wait if now is None else None,
            helpers=helpers,
        )
    if output is Output.JSON:
        show_json(_as_json(outcome))
    else:
        show(_campaign_rows(outcome), _CAMPAIGN_COLUMNS, output)
        for line in _turned_away(outcome):
            say(line)
    say(f"{outcome.sent} sent, {outcome.failed} failed, {outcome.skipped} skipped")
    if opened.project.staging is not None:
        say(f"The shop is tried out: {opened.project.staging}")
    for paused in outcome.paused:
        say(f"The campaign {paused.campaign} was paused {paused.reason}. To let it go on: winback resume {paused.campaign}")
    for error in outcome.errors:
        say(f"winback: {error}")
    if outcome.interrupted:
        say("winback: stopped before everything was done; the next pass goes on")
    if outcome.errors or outcome.interrupted:
        raise typer.Exit(1)


def daemon(
    host: Annotated[str | None, typer.Option("--host", help="Address to listen on, before web.host.", show_default=False)] = None,
    port: Annotated[
        int | None, typer.Option("--port", min=0, max=65535, help="Port to listen on, before web.port.", show_default=False)
    ] = None,
    every: Annotated[str, typer.Option("--every", metavar="DURATION", help="Time between two passes.")] = "1min",
    web: Annotated[bool, typer.Option("--web/--no-web", help="Serve the pages and the links of letters.")] = True,
    shop: ShopOption = None,
) -> None:
    """Run the campaigns by the clock, send, and serve the pages, until it is told to stop (Ctrl-C, SIGTERM).

    Changed files are taken over when nothing is wrong with them. Any number of daemons may run on one database.

    \b
    Example: winback daemon --every 30s
    """
    from winback.dispatch import Helpers
    from winback.project import find_root
    from winback.scheduler import log
    from winback.scheduler.daemon import Daemon
    from winback.scheduler.files import running_files
    from winback.scheduler.systemd import notify

    between = _every(every)
    root = find_root(Path.cwd()) if shop is None else shop
    engine = open_database(readable_settings(root))
    files = running_files(root, engine, host=host, port=port)
    project = files()
    _say_what_holds_it_back(engine, project)
    pages = _open_pages(project, files) if web else None
    log.to(sys.stderr)
    told = _Signals()
    worker = worker_name()
    helpers = Helpers(worker)
    passes = Daemon(engine, files, worker=worker, every=between, helpers=helpers)
    if pages is not None:
        pages.start()
    log.say("daemon.started", worker=worker, every=every, shop=project.root, pages=pages.address if pages else "none")
    passes.start()
    notify("READY=1")
    while not told.to_stop and not passes.hangs and (pages is None or pages.alive):
        time.sleep(0.1)
    again = passes.hangs and not told.to_stop
    if again:
        log.say("daemon.restarting", worker=worker)
    else:
        notify("STOPPING=1")
        log.say("daemon.stopping", worker=worker)
    clean = _stop(passes, pages)
    if clean or again:
        helpers.close()
    log.say("daemon.stopped", worker=worker, clean="yes" if clean else "no")
    sys.stderr.flush()
    if again:
        # What hangs cannot be ended within a process. What it holds is settled by the first pass, as after a crash.
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - the very command that is running
    if not clean:
        # A thread that hangs in a gateway would keep the process. What it holds is settled at the next start.
        os._exit(1)
    if not told.to_stop:
        raise InputError("the pages ended by themselves", "the lines above say why")


def _say_what_holds_it_back(engine: Engine, project: Project) -> None:
    from winback.installation import look
    from winback.store.refusals import answering

    with answering(engine):
        refusal = look(engine, project)
    if refusal is not None:
        say(f"winback: {refusal.message}")
        say(f"  {refusal.remedy}")
    if project.staging is not None:
        say(f"The shop is tried out: {project.staging}")


def worker_name() -> str:
    """Return a name that no other process of this shop has, on any machine."""
    import secrets
    import socket

    return f"{socket.gethostname()[:40]}-{os.getpid()}-{secrets.token_hex(2)}"


class _Signals:
    """Remember that somebody asked to stop: politely the first time, at once the second."""

    def __init__(self) -> None:
        self.to_stop = False
        # Not a threading.Event: a handler that sets one waits for ever where it has interrupted the one who waits for it.
        self._told_by, self._tell = os.pipe()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._told)

    def _told(self, number: int, _frame: Any) -> None:
        if self.to_stop:
            os._exit(128 + number)
        self.to_stop = True
        os.write(self._tell, b"!")

    def wait(self, seconds: float) -> None:
        """Wait for so long, or until somebody asks."""
        select.select([self._told_by], [], [], seconds)


def _every(text: str) -> timedelta:
    from winback.durations import parse_duration

    try:
        between = parse_duration(text)
    except ValueError as error:
        raise InputError(f"--every: {error}") from None
    if not _SHORTEST <= between <= _LONGEST:
        raise InputError(f"--every: {text!r} is no time between two passes", "write at least '1s' and at most '1h'")
    return between


def _open_pages(project: Project, files: Any) -> Pages:
    from winback.cli.pages import Pages

    pages = Pages(project, files)
    public = urlsplit(project.settings.web.public_url)
    if public.hostname in ("127.0.0.1", "localhost") and public.port != pages.port:
        say(f"Links in letters lead to {project.settings.web.public_url}; these pages are at {pages.address}.")
    return pages


def _stop(passes: Daemon, pages: Pages | None) -> bool:
    """Stop both at the same time; return whether everything in hand was finished."""
    until = time.monotonic() + _STOP_WITHIN.total_seconds()
    if pages is not None:
        pages.close()
    done = passes.stop(_STOP_WITHIN)
    if pages is not None:
        done &= pages.wait(max(0.5, until - time.monotonic()))
    return done


def _as_json(outcome: PassOutcome) -> dict[str, Any]:
    names = ("at", "enrolled", "planned", "sent", "failed", "skipped", "conversions", "interrupted", "errors")
    campaigns = [
        # Counters turn into something else in `asdict`.
        {**vars(each), "steps": [{**vars(step), "skipped": dict(step.skipped)} for step in each.steps]}
        for each in (outcome.plan.campaigns if outcome.plan else ())
    ]
    return {**{name: getattr(outcome, name) for name in names}, "campaigns": campaigns}


def _campaign_rows(outcome: PassOutcome) -> list[dict[str, Any]]:
    return [
        {
            "campaign": each.campaign,
            "audience": each.audience,
            "enrolled": each.enrolled,
            "planned": sum(step.planned for step in each.steps),
            "held_out": sum(step.held_out for step in each.steps),
            "skipped": sum(step.skipped.total() for step in each.steps),
            "note": each.error or ("paused" if each.paused else ""),
        }
        for each in (outcome.plan.campaigns if outcome.plan else ())
    ]


def _turned_away(outcome: PassOutcome) -> Iterator[str]:
    """Say of each campaign who of its audience did not come in, the most frequent reason first."""
    from winback.policy import REASONS

    for each in outcome.plan.campaigns if outcome.plan else ():
        counts = sorted(each.turned_away.items(), key=lambda item: -item[1])
        if counts:
            reasons = ", ".join(f"{count} {rule} ({REASONS.get(rule, rule)})" for rule, count in counts)
            yield f"{each.campaign}: turned away {reasons}"


_CAMPAIGN_COLUMNS = [
    Column("campaign", "campaign"),
    Column("audience", "in the audience", right=True),
    Column("enrolled", "came in", right=True),
    Column("planned", "messages", right=True),
    Column("held_out", "held out", right=True),
    Column("skipped", "skipped", right=True),
    Column("note", ""),
]
