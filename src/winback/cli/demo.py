"""`winback demo`: the demo shop, filled with real orders, run over its last days, and shown."""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from winback.cli.base import say
from winback.errors import InputError

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from winback.project import Project
    from winback.starter.visitors import Received

#: Where the demo goes when it is not started in a shop.
_FOLDER = Path("winback-demo")

#: The demo shop opens its doors this long ago, and looks at its campaigns this often.
_OPENED = timedelta(days=12)
_EVERY = timedelta(hours=4)

#: The variable that config.toml names for the key of the JSON API.
_API_KEY = "WINBACK_API_KEY"

_WORKER = "demo"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("demo")(demo)


def demo(
    folder: Annotated[
        Path | None, typer.Argument(metavar="DIR", help="Where the shop is, or will be; this folder's shop, else ./winback-demo.")
    ] = None,
) -> None:
    """Fill the demo shop, run its four campaigns over the last twelve days into the outbox, let people react, write the report.

    No message leaves this machine. Running it again goes on from the last time: nothing is filled or sent twice.

    \b
    Example: winback demo my-demo
    """
    from winback import clock
    from winback.project import load_project
    from winback.starter import fill
    from winback.store.engine import open_engine
    from winback.store.migrate import migrate

    os.environ.setdefault(_API_KEY, secrets.token_urlsafe(24))
    root = _place(folder)
    project = load_project(root)
    engine = open_engine(project.settings.database.url, root=project.root)
    migrate(engine)
    now = clock.now().replace(microsecond=0)
    say(f"Filling {project.settings.shop.name} in {root} with customers and orders …")
    fill(engine, project, now=now)
    _run(engine, project, now)
    report = _report(engine, project, now)
    _say_what_to_open(engine, project, report)
    engine.dispose()


@dataclass
class _Clock:
    """The demo's time, which the web application asks for."""

    at: datetime

    def __call__(self) -> datetime:
        return self.at


def _place(folder: Path | None) -> Path:
    """Return the shop's folder, made from the starter when there is none yet."""
    from winback.starter import copy_shop

    if folder is None:
        folder = Path.cwd() if (Path.cwd() / "config.toml").exists() else _FOLDER
    if not (folder / "config.toml").exists():
        copy_shop(folder)
    return folder.resolve()


def _run(engine: Engine, project: Project, now: datetime) -> None:
    """Make every pass between the last one and now, and let the people who got something react before the next."""
    from rich.console import Console
    from rich.progress import track

    from winback.scheduler import run_pass
    from winback.starter.visitors import Visitors

    began = _last_pass(engine) or now - _OPENED
    moments = list(_moments(began, now))
    clock = _Clock(began)
    with _served(project.root, clock) as address:
        people = Visitors(address, project.settings.web.public_url, os.environ[_API_KEY], project.root / "var" / "outbox")
        received_until = began
        console = Console(stderr=True)
        for at in track(moments, description="Running the campaigns", console=console, disable=not console.is_terminal):
            clock.at = at
            people.respond(_received(engine, received_until, at), at)
            received_until = at
            outcome = run_pass(engine, project, at, _WORKER)
            for problem in outcome.errors:
                raise InputError(f"the pass at {at:%Y-%m-%d %H:%M} failed: {problem}", "winback doctor says more")
    _say_what_happened(engine, began, people.done)


def _moments(after: datetime, until: datetime) -> Iterator[datetime]:
    at = after + _EVERY
    while at < until:
        yield at
        at += _EVERY
    yield until


def _last_pass(engine: Engine) -> datetime | None:
    from sqlalchemy import func, select

    from winback.store import passes, reading

    with reading(engine) as connection:
        return connection.scalar(select(func.max(passes.c.started_at, type_=passes.c.started_at.type)))


def _received(engine: Engine, since: datetime, until: datetime) -> list[Received]:
    """Return the messages that people got in a stretch of time, the holdout's virtual ones too."""
    from sqlalchemy import and_, or_, select

    from winback.starter.visitors import Received
    from winback.store import MessageState, customers, messages, reading

    held_out = messages.c.state == MessageState.HELD_OUT
    with reading(engine) as connection:
        rows = connection.execute(
            select(messages.c.id, customers.c.external_id, messages.c.channel, held_out)
            .join(customers, customers.c.id == messages.c.customer_id)
            .where(
                or_(
                    and_(messages.c.sent_at >= since, messages.c.sent_at < until),
                    and_(held_out, messages.c.due_at >= since, messages.c.due_at < until),
                )
            )
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
            .where(messages.c.sent_at > began)
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
    say()
    say("What to open next:")
    say(f"  the report            {_short(report)}")
    say(f"  the pages             winback daemon{at}, then {project.settings.web.public_url}")
    say(f"  the messages as sent  {_short(project.root / 'var' / 'outbox')}")
    say(f"  who gets what next    winback preview sleeping{at}")
    say(f"  why somebody got it   winback explain sleeping {customer}{at}")


def _short(path: Path) -> str:
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)
