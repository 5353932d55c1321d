"""Run every contestant once, and print one table. It stops by itself after a few minutes, and talks to this machine only."""

from __future__ import annotations

import argparse
import importlib.util
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks import obvious, ours, teams, wires

_CONNECTIONS = 10  # of those who use several


@dataclass(frozen=True)
class Row:
    """One line of the table; without a rate, the reason."""

    name: str
    rate: float | None
    note: str = ""


def main() -> int:
    """Measure, and print."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("--processes", type=int, default=min(2, os.cpu_count() or 1), help="of each contestant that uses several")
    parser.add_argument("--scale", type=float, default=1.0, help="more or fewer messages than usual")
    parser.add_argument("--packages", default="", help="a folder where pip put what benchmarks/requirements.txt names")
    parser.add_argument("--only", default="", help="contestants whose names hold this text")
    options = parser.parse_args()
    if options.packages:
        sys.path.append(options.packages)
    if wires.program("smtp-sink") is None:
        print("nothing is measured: smtp-sink is not installed (Debian: apt install postfix)")
        return 0
    print(f"{platform.machine()}, {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}, Python {platform.python_version()}")
    with tempfile.TemporaryDirectory(prefix="winback-bench-") as folder:
        _run(Path(folder), options)
    return 0


def _run(folder: Path, options: argparse.Namespace) -> None:
    team, packages = options.processes, options.packages

    def count(usual: int) -> int:
        return max(50, int(usual * options.scale))

    def measured(name: str, measure: Callable[[], float]) -> Row:
        return _measured(name, measure, options.only)

    with wires.sink() as port:
        source = measured("smtp-source, 16 sessions", lambda: wires.source_rate(port, count(10_000)))
        obvious_way = measured(
            f"jinja2 + EmailMessage + smtplib, {team} processes",
            lambda: _shared(obvious.jinja_and_smtplib, team, count(600), port),
        )
        near = [
            measured(f"mailmerge, {team} processes", lambda: _mailmerge(team, count(600), port, folder, packages)),
            measured(f"winback end to end, {team} processes", lambda: _end_to_end(team, count(4_000), port, folder)),
            measured("winback end to end, 1 process", lambda: _end_to_end(1, count(4_000), port, folder)),
            measured("aiosmtplib, finished messages", lambda: _aiosmtplib(port, count(4_000), packages)),
            measured("winback's SMTP engine, finished messages", lambda: _engine(port, count(15_000))),
        ]
        with wires.slow_line(port) as distant:
            library = measured("aiosmtplib behind 20 ms", lambda: _aiosmtplib(distant, count(600), packages))
            far = [
                measured("winback's SMTP engine behind 20 ms", lambda: _engine(distant, count(3_000))),
                measured(
                    f"winback end to end behind 20 ms, {team} processes", lambda: _end_to_end(team, count(1_500), distant, folder)
                ),
            ]
    _print([source, obvious_way, *near], {"smtp-source": source, "the obvious way": obvious_way})
    print(f"\nA line of 20 ms there and back, {_CONNECTIONS} connections")
    _print([library, *far], {"aiosmtplib": library})


def _measured(name: str, measure: Callable[[], float], only: str) -> Row:
    if only and only not in name:
        return Row(name, None, "not asked for")
    print(f"  … {name}", file=sys.stderr, flush=True)
    try:
        return Row(name, measure())
    except (FileNotFoundError, ModuleNotFoundError, teams.TeamError) as error:
        return Row(name, None, str(error))


def _shared(member: teams.Member, team: int, count: int, port: int, *more: object) -> float:
    return teams.rate(member, [(port, number * count, count, *more) for number in range(team)])[0]


def _mailmerge(team: int, count: int, port: int, folder: Path, packages: str) -> float:
    _wanted("mailmerge")
    return _shared(obvious.mailmerge, team, count, port, str(folder), packages)


def _aiosmtplib(port: int, count: int, packages: str) -> float:
    _wanted("aiosmtplib")
    return teams.rate(obvious.aiosmtplib, [(port, count, _CONNECTIONS, packages)])[0]


def _engine(port: int, count: int) -> float:
    return teams.rate(ours.engine_alone, [(port, count, _CONNECTIONS)])[0]


def _end_to_end(team: int, count: int, port: int, folder: Path) -> float:
    root = folder / "shop"
    ours.prepare(root, port, team * count, connections=_CONNECTIONS // team)
    rate, sent = teams.rate(ours.end_to_end, [(str(root), number) for number in range(team)])
    shutil.rmtree(root)
    if sent != team * count:
        raise teams.TeamError(f"{sent} of {team * count} were sent")
    return rate


def _wanted(package: str) -> None:
    if importlib.util.find_spec(package) is None:
        raise ModuleNotFoundError(f"{package} is not installed (benchmarks/requirements.txt)")


def _print(rows: list[Row], baselines: dict[str, Row]) -> None:
    heads = [f"× {name}" for name in baselines]
    width = max(len(row.name) for row in rows)
    print(f"\n{'':{width}}  messages/s  " + "  ".join(heads))
    for row in rows:
        if row.rate is None:
            print(f"{row.name:{width}}  skipped: {row.note}")
            continue
        ratios = (f"{row.rate / base.rate:.2f}" if base.rate else "" for base in baselines.values())
        cells = "  ".join(f"{ratio:>{len(head)}}" for ratio, head in zip(ratios, heads, strict=True))
        print(f"{row.name:{width}}  {row.rate:10.0f}  {cells}")


if __name__ == "__main__":
    begun = time.perf_counter()
    code = main()
    print(f"\n{time.perf_counter() - begun:.0f} s", file=sys.stderr)
    sys.exit(code)
