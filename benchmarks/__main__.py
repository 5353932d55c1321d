"""Measure all contestants in turn, some rounds, and print one table. It stops by itself, and talks to this machine only."""

from __future__ import annotations

import argparse
import importlib.util
import os
import platform
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from benchmarks import obvious, ours, teams, wires

_CONNECTIONS = 10  # of those who use several


@dataclass
class Row:
    """One line of the table: a rate for each round; without any, the reason."""

    name: str
    measure: Callable[[], float]
    rates: list[float] = field(default_factory=list)
    missing: str = ""

    def run(self) -> None:
        """Measure once more, unless it cannot be."""
        if self.missing:
            return
        print(f"  … {self.name}", file=sys.stderr, flush=True)
        try:
            self.rates.append(self.measure())
        except (FileNotFoundError, ModuleNotFoundError, teams.TeamError) as error:
            self.missing = str(error)

    def ratio(self, baseline: Row) -> str:
        """Return how many times as fast as another one this was, in the middle one of the rounds."""
        both = list(zip(self.rates, baseline.rates, strict=False))
        return f"{median(own / other for own, other in both):.2f}" if both else ""


def main() -> int:
    """Measure, and print."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("--processes", type=int, default=min(2, os.cpu_count() or 1), help="of each contestant that uses several")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured; the middle one counts")
    parser.add_argument("--scale", type=float, default=1.0, help="more or fewer messages than usual")
    parser.add_argument("--packages", default="", help="a folder where pip put what benchmarks/requirements.txt names")
    parser.add_argument("--only", default="", help="contestants whose names hold this text")
    parser.add_argument(
        "--postgres", default="", help="URL of a server on which winback gets databases of its own, for SQLite files"
    )
    parser.add_argument(
        "--profile", action="store_true", help="show where one process of winback spends its time, and nothing else"
    )
    options = parser.parse_args()
    if options.packages:
        sys.path.append(options.packages)
    if wires.program("smtp-sink") is None:
        print("nothing is measured: smtp-sink is not installed (Debian: apt install postfix)")
        return 0
    print(f"{platform.machine()}, {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}, Python {platform.python_version()}")
    with tempfile.TemporaryDirectory(prefix="winback-bench-") as folder:
        bench = Bench(Path(folder), options)
        if options.profile:
            bench.profile()
        else:
            bench.compare()
    return 0


class Bench:
    """One run: a folder for its files, and what was asked for."""

    def __init__(self, folder: Path, options: argparse.Namespace) -> None:
        self._folder = folder
        self._options = options
        self._team: int = options.processes

    def compare(self) -> None:
        """Measure everybody in each round, so that a slow minute of the machine strikes all alike."""
        team = self._team
        with wires.sink() as port, wires.slow_line(port) as distant:
            source = Row("smtp-source, 16 sessions", lambda: wires.source_rate(port, self._count(12_000)))
            obvious_way = Row(
                f"jinja2 + EmailMessage + smtplib, {team} processes",
                lambda: self._shared(obvious.jinja_and_smtplib, self._count(400), port),
            )
            counting = Row(
                f"the same, links counted (itsdangerous), {team} processes",
                lambda: self._shared(obvious.jinja_and_smtplib, self._count(400), port, True),
            )
            near = [
                Row(f"mailmerge, {team} processes", lambda: self._mailmerge(port)),
                Row("aiosmtplib, finished messages", lambda: self._aiosmtplib(port, self._count(2_500))),
                Row("winback's SMTP engine, finished messages", lambda: self._engine(port, self._count(12_000))),
                Row("winback end to end, 1 process", lambda: self._end_to_end(1, self._count(10_000), port)),
            ]
            if team > 1:
                name = f"winback end to end, {team} processes"
                near.append(Row(name, lambda: self._end_to_end(team, self._count(10_000), port)))
            library = Row("aiosmtplib", lambda: self._aiosmtplib(distant, self._count(500)))
            far = [
                Row("winback's SMTP engine, finished messages", lambda: self._engine(distant, self._count(2_500))),
                Row("winback end to end, 1 process", lambda: self._end_to_end(1, self._count(2_500), distant)),
            ]
            rows = [row for row in (source, obvious_way, counting, *near, library, *far) if self._options.only in row.name]
            for _ in range(self._options.rounds):
                for row in rows:
                    row.run()
        baselines = {"smtp-source": source, "the obvious way": obvious_way, "the same, counted": counting}
        _print([source, obvious_way, counting, *near], baselines)
        print(f"\nBehind a line of 20 ms there and back, {_CONNECTIONS} connections")
        _print([library, *far], {"aiosmtplib": library})

    def profile(self) -> None:
        """Send with one process, here, and say what it was at."""
        from benchmarks import where

        count = self._count(10_000)
        counts: Counter[str] = Counter()
        with wires.sink() as port, self._shop(port, count, _CONNECTIONS) as root:
            send = ours.end_to_end(str(root), 0)
            begin, cpu = time.perf_counter(), time.process_time()
            with where.counting(counts):
                send()
            elapsed, cpu = time.perf_counter() - begin, time.process_time() - cpu
        print(f"\n{count} messages: {cpu / count * 1e6:.0f} µs of CPU each, {elapsed / count * 1e6:.0f} µs by the clock\n")
        print("share   µs each  part")
        for part, looks in counts.most_common():
            share = looks / counts.total()
            print(f"{share:5.1%}  {share * cpu / count * 1e6:8.1f}  {part}")

    def _count(self, usual: int) -> int:
        return max(50, int(usual * self._options.scale))

    def _shared(self, member: teams.Member, count: int, port: int, *more: object) -> float:
        return teams.run(member, [(port, number * count, count, *more) for number in range(self._team)]).rate

    def _mailmerge(self, port: int) -> float:
        _wanted("mailmerge")
        return self._shared(obvious.mailmerge, self._count(500), port, str(self._folder), self._options.packages)

    def _aiosmtplib(self, port: int, count: int) -> float:
        _wanted("aiosmtplib")
        return teams.run(obvious.aiosmtplib, [(port, count, _CONNECTIONS, self._options.packages)]).rate

    def _engine(self, port: int, count: int) -> float:
        return teams.run(ours.engine_alone, [(port, count, _CONNECTIONS)]).rate

    def _end_to_end(self, team: int, count: int, port: int) -> float:
        with self._shop(port, team * count, _CONNECTIONS // team) as root:
            done = teams.run(ours.end_to_end, [(str(root), number) for number in range(team)])
        if done.sent != team * count:
            raise teams.TeamError(f"{done.sent} of {team * count} were sent")
        return done.rate

    @contextmanager
    def _shop(self, port: int, count: int, connections: int) -> Iterator[Path]:
        """Give a shop with so many letters planned."""
        root = self._folder / "shop"
        with ours.own_database(self._options.postgres) as database:
            ours.prepare(root, port, count, connections=connections, database=database)
            yield root
        shutil.rmtree(root)


def _wanted(package: str) -> None:
    if importlib.util.find_spec(package) is None:
        raise ModuleNotFoundError(f"{package} is not installed (benchmarks/requirements.txt)")


def _print(rows: list[Row], baselines: dict[str, Row]) -> None:
    heads = [f"× {name}" for name in baselines]
    width = max(len(row.name) for row in rows)
    print(f"\n{'':{width}}  messages/s  lowest, highest  " + "  ".join(heads))
    for row in rows:
        if not row.rates:
            print(f"{row.name:{width}}  skipped: {row.missing or 'not asked for'}")
            continue
        cells = "  ".join(f"{row.ratio(base):>{len(head)}}" for base, head in zip(baselines.values(), heads, strict=True))
        print(f"{row.name:{width}}  {median(row.rates):10.0f}  {min(row.rates):6.0f}, {max(row.rates):7.0f}  {cells}")


if __name__ == "__main__":
    begun = time.perf_counter()
    code = main()
    print(f"\n{time.perf_counter() - begun:.0f} s", file=sys.stderr)
    sys.exit(code)
