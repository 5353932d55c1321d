"""`winback demo`: the demo shop, filled with real orders, run over its last days, and shown."""

from __future__ import annotations

import os
import secrets
import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from zoneinfo import ZoneInfo

import typer

from winback.cli.base import say
from winback.errors import InputError

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from winback.project import Project
    from winback.starter.story import Story
    from winback.starter.visitors import Received

#: Where the demo goes when it is not started in a shop.
_FOLDER = Path("winback-demo")

#: The demo shop opened its doors so many days ago: long enough for the last step of most campaigns.
_DAYS = 28

#: When it looks at its campaigns, in its own zone: soon after the hours at which most messages are due.
_HOURS = (10, 16, 22)

#: The variable that the demo shop's config.toml names for the key of the JSON API.
_API_KEY = "WINBACK_API_KEY"

_WORKER = "demo"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("demo", short_help="Run a filled shop over four weeks, and look.")(demo)


def demo(
    folder: Annotated[
        Path | None, typer.Argument(metavar="DIR", help="Where the shop is, or will be; this folder's shop, else ./winback-demo.")
    ] = None,
) -> None:
    """Fill the demo shop, run its four campaigns over the last four weeks into the outbox, let people react, write the report.

    No message leaves this machine. Running it again goes on from the last time: nothing is filled or sent twice.

    \b
    Example: winback demo my-demo
    """
    from winback import clock
    from winback.project import load_project
    from winback.starter import fill, story_of
    from winback.store.engine import open_engine
    from winback.store.migrate import migrate

    os.environ.setdefault(_API_KEY, secrets.token_urlsafe(24))  # for this run; nobody else needs it
    root = _place(folder)
    project = load_project(root)
    _require_demo_settings(project)
    engine = open_engine(project.settings.database.url, root=project.root)
    migrate(engine)
    now = clock.now().replace(microsecond=0)
    filled = fill(engine, project, now=now, until=_opening(project, now))
    shop = f"{project.settings.shop.name} in {'this folder' if root == Path.cwd() else _short(root)}"
    if filled is None:
        say(f"{shop} is filled already.")
    else:
        say(f"Filled {shop}: {filled.customers} customers, {filled.orders} orders, {filled.events} events.")
    _run(engine, project, story_of(engine, project), now)
    report = _report(engine, project, now)
    _say_what_to_open(engine, project, report)
    engine.dispose()


@dataclass
class _Clock:
    """The demo's time, which the web application asks for."""

    at: datetime

    def __call__(self) -> datetime:
        return self.at

    def set(self, at: datetime) -> None:
        """Let it be `at`."""
        self.at = at


def _place(folder: Path | None) -> Path:
    """Return the shop's folder, made from the starter when there is none yet."""
    from winback.starter import copy_shop

    if folder is None:
        folder = Path.cwd() if (Path.cwd() / "config.toml").exists() else _FOLDER
    if not (folder / "config.toml").exists():
        copy_shop(folder)
    return folder.resolve()


def _require_demo_settings(project: Project) -> None:
    """Refuse a shop in which the demo would write to real people, or could not hand over orders."""
    from winback.store import Channel

    settings = project.settings
    for channel in Channel:
        gateway = settings.deliver.for_channel(channel)
        if settings.gateways[gateway].type != "outbox":
            raise InputError(
                f"this shop sends {channel} by {gateway!r}, not into the outbox", "try another folder: winback demo my-demo"
            )
    if settings.web.api_key is None:
        raise InputError("this shop has no web.api_key", f'add api_key = {{ env = "{_API_KEY}" }} to [web] in config.toml')


def _run(engine: Engine, project: Project, story: Story, now: datetime) -> None:
    """Make every pass between the last one and now; before each, tell what happened meanwhile and let people react."""
    from rich.console import Console
    from rich.progress import track

    from winback.importers import Kind
    from winback.scheduler import run_pass
    from winback.starter.visitors import Visitors

    last = _last_pass(engine)
    moments = list(_moments(project, last, now))
    clock = _Clock(last)
    web = project.settings.web
    key = web.api_key.reveal() if web.api_key else ""
    with _served(project.root, clock) as address:
        people = Visitors(address, web.public_url, key, project.root / "var" / "outbox", clock.set)
        console = Console(stderr=True)
        for at in track(moments, description="Running the campaigns", console=console, disable=not console.is_terminal):
            people.respond(_received(engine, last, at), last, at)
            clock.set(at)
            for kind in Kind:
                people.tell(kind, story.rows(kind, last, at))
            outcome = run_pass(engine, project, at, _WORKER)
            project = replace(project, version=outcome.version)
            for problem in outcome.errors:
                raise InputError(f"the pass at {at:%Y-%m-%d %H:%M} failed: {problem}", "winback doctor says more")
            last = at
    _say_what_happened(engine, moments[0], people.done)


def _opening(project: Project, now: datetime) -> datetime:
    """Return the midnight at which the demo shop opened."""
    from winback.clock import start_of_day

    return start_of_day(now - timedelta(days=_DAYS), ZoneInfo(project.settings.shop.zone))


def _moments(project: Project, last: datetime, now: datetime) -> Iterator[datetime]:
    """Yield when to look at the campaigns since the last time, but for no longer than the demo shop is open; and now."""
    from winback.clock import local_instant

    zone = ZoneInfo(project.settings.shop.zone)
    day = max(last, _opening(project, now)).astimezone(zone).date()
    while day <= now.astimezone(zone).date():
        yield from (at for hour in _HOURS if last < (at := local_instant(day, time(hour), zone)) < now)
        day += timedelta(days=1)
    yield now


def _last_pass(engine: Engine) -> datetime:
    """Return when the campaigns were looked at last, else up to when the shop was filled."""
    from sqlalchemy import func, select

    from winback.store import import_runs, passes, reading

    with reading(engine) as connection:
        for column in (passes.c.started_at, import_runs.c.started_at):
            found = connection.scalar(select(func.max(column, type_=column.type)))
            if isinstance(found, datetime):
                return found
    raise InputError("the shop is not filled", "choose a folder for a new shop: winback demo my-demo")


def _received(engine: Engine, since: datetime, until: datetime) -> list[Received]:
    """Return the messages to which people may react in a stretch of time, the holdout's virtual ones too."""
    from sqlalchemy import case, or_, select

    from winback.starter.visitors import LONGEST, Received
    from winback.store import MessageState, customers, messages, reading

    held_out = messages.c.state == MessageState.HELD_OUT
    at = case((held_out, messages.c.due_at), else_=messages.c.sent_at)
    with reading(engine) as connection:
        rows = connection.execute(
            select(messages.c.id, customers.c.external_id, messages.c.channel, held_out, at)
            .join(customers, customers.c.id == messages.c.customer_id)
            .where(or_(messages.c.sent_at.is_not(None), held_out), at >= since - LONGEST, at < until)
            .order_by(messages.c.id)
        )
        return [Received(*row) for row in rows]


@contextmanager
def _served(root: Path, clock: _Clock) -> Iterator[str]:
    """Run the web application on a free port of this machine; give its address."""
    import uvicorn

    from winback.web.app import create_app

    config = uvicorn.Config(create_app(root, now=clock), host="127.0.0.1", port=0, log_level="error", access_log=False)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, name="web", daemon=True)
    thread.start()
    while not server.started:
        thread.join(0.01)
        if not thread.is_alive():
            raise InputError("the web application did not start", "winback doctor says more")
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


def _report(engine: Engine, project: Project, now: datetime) -> Path:
    from winback.report import build_report, to_html
    from winback.store import reading

    with reading(engine) as connection:
        page = to_html(build_report(connection, project, now))
    file = project.root / "var" / "report.html"
    file.write_text(page, encoding="utf-8")
    return file


def _say_what_happened(engine: Engine, began: datetime, done: dict[str, int]) -> None:
    from sqlalchemy import func, select

    from winback.store import messages, reading

    with reading(engine) as connection:
        rows = connection.execute(
            select(messages.c.campaign, messages.c.channel, func.count())
            .where(messages.c.sent_at >= began)
            .group_by(messages.c.campaign, messages.c.channel)
            .order_by(messages.c.campaign, messages.c.channel)
        ).all()
    if not rows:
        say("Nothing was due since the last time: nothing was sent.")
    for campaign, channel, count in rows:
        say(f"  {campaign:<12} {count:>5} by {channel}")
    if done:
        say("People reacted: " + ", ".join(f"{count} {what}" for what, count in sorted(done.items())) + ".")


def _say_what_to_open(engine: Engine, project: Project, report: Path) -> None:
    from sqlalchemy import select

    from winback.store import customers, messages, reading

    with reading(engine) as connection:
        customer = connection.scalar(
            select(customers.c.external_id)
            .join(messages, messages.c.customer_id == customers.c.id)
            .where(messages.c.campaign == "sleeping", messages.c.sent_at.is_not(None))
            .order_by(customers.c.external_id)
            .limit(1)
        )
    at = "" if project.root == Path.cwd() else f" --shop {_short(project.root)}"
    winback = "winback" if shutil.which("winback") else _short(Path(sys.argv[0]).absolute())
    say()
    say("What to open next:")
    say(f"  the report            {_short(report)}")
    say(f"  the pages             {winback} daemon{at}, then {project.settings.web.public_url}")
    say(f"  the messages as sent  {_short(project.root / 'var' / 'outbox')}")
    say(f"  who gets what next    {winback} preview sleeping{at}")
    say(f"  why somebody got it   {winback} explain sleeping {customer}{at}")


def _short(path: Path) -> str:
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)
