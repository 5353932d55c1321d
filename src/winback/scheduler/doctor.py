"""Look closer than `health` does: files, templates, keys, database, clocks, and every gateway tried without sending."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from winback import clock
from winback.errors import Problem, StoreError, WinbackError
from winback.project import Project, inspect_project
from winback.project.project import SECRET_VARIABLE
from winback.scheduler.files import check_beyond_files
from winback.scheduler.health import HealthItem, health
from winback.scheduler.passes import describe
from winback.store import Channel, messages, open_engine, reading

if TYPE_CHECKING:
    from sqlalchemy import Engine

#: Clocks of two machines may differ by so much before leases and "due" mean different things to them.
_APART = timedelta(seconds=5)

_CONFIG = Path("config.toml")


def examine(root: Path, now: datetime) -> list[HealthItem]:
    """Return everything that was looked at in the shop in `root`, as far as one thing lets another be looked at."""
    project, problems = inspect_project(root)
    items = list(_files(project, problems))
    if any(problem.file == _CONFIG for problem in problems):
        return items  # with its settings unknown, the rest would be looked for in the wrong places
    items += _gateways(project)
    items += _mailboxes(project)
    engine = open_engine(project.settings.database.url, root=project.root)
    try:
        items += _database(project, engine, now)
    finally:
        engine.dispose()
    return items


def _files(project: Project, problems: list[Problem]) -> Iterator[HealthItem]:
    beyond = [] if any(problem.file == _CONFIG for problem in problems) else check_beyond_files(project)
    found = sorted({*problems, *beyond})
    for problem in found:
        yield HealthItem("files", False, str(problem), "winback check lists what is wrong with the files")
    if not found:
        yield HealthItem("files", True, f"{len(project.campaigns)} campaigns and their templates have no problems")


def _gateways(project: Project) -> Iterator[HealthItem]:
    from winback.gateways.registry import configure

    carried: dict[str, list[str]] = {}
    for channel in Channel:
        carried.setdefault(project.settings.deliver.for_channel(channel), []).append(channel.value)
    for name, channels in carried.items():
        gateway = project.settings.gateways.get(name)
        if gateway is None:
            continue  # told with the files
        what = f"gateway {name} ({' and '.join(channels)})"
        try:
            wrong = configure(name, gateway.table, root=project.root).check()
        except WinbackError as error:
            yield HealthItem("gateway", False, f"{what}: {error.message}", error.remedy)
            continue
        except Exception as error:  # a plugin may be broken in any way
            yield HealthItem("gateway", False, f"{what}: {describe(error)}", "repair or remove the plugin of this gateway")
            continue
        for problem in wrong:
            message, _, remedy = problem.partition("; ")
            yield HealthItem("gateway", False, f"{what}: {message}", remedy)
        if not wrong:
            yield HealthItem("gateway", True, f"{what} can be reached")


def _mailboxes(project: Project) -> Iterator[HealthItem]:
    from winback.track.bounces import mailboxes

    for mailbox in mailboxes(project):
        try:
            mailbox.check()
        except WinbackError as error:
            yield HealthItem("mailbox", False, error.message, error.remedy)
        else:
            yield HealthItem("mailbox", True, f"{mailbox.place} can be read")


def _database(project: Project, engine: Engine, now: datetime) -> Iterator[HealthItem]:
    from winback.store.migrate import migrate

    try:
        migrate(engine)
    except StoreError as error:
        yield HealthItem("database", False, error.message, error.remedy)
        return
    with reading(engine) as connection:
        yield HealthItem("database", True, f"{engine.dialect.name} answers, its schema is up to date")
        if engine.dialect.name == "postgresql":
            there = connection.execute(select(func.clock_timestamp())).scalar_one()
            apart = abs(clock.now() - there)
            message = f"this machine's clock and the database's are {apart.total_seconds():.1f} seconds apart"
            yield HealthItem("clock", apart <= _APART, message, "" if apart <= _APART else "let both follow a time server")
        used = connection.scalar(select(messages.c.id).limit(1)) is not None
        yield from _secret(project, used)
        yield from health(connection, project, now)


def _secret(project: Project, used: bool) -> Iterator[HealthItem]:
    """Look for the shop's secret without making one: a new one would make the links of all sent letters invalid."""
    path = project.var / "secret.key"
    if project.own_secret is not None:
        yield HealthItem("secret", True, f"the shop's secret is in the environment as {SECRET_VARIABLE}")
    elif not path.exists():
        remedy = "put it back from a backup: without it links in sent letters are invalid, and blocked addresses are forgotten"
        yield HealthItem("secret", not used, f"{path} is not there" + ("" if used else " yet"), remedy if used else "")
    elif path.stat().st_mode & 0o077:
        yield HealthItem("secret", False, f"{path} can be read by others on this machine", f"chmod 600 {path}")
    else:
        yield HealthItem("secret", True, f"{path} is there, for its owner only; keep it with your backups")
