"""Very many letters through the dispatcher: do the last go as fast as the first, and how much memory does it take?

In two steps, so that the second can be measured by itself: `prepare FOLDER`, then `send FOLDER`, as often as you like; each goes
on where the one before stopped. It reports the rate of each tenth of the letters, as the ledger's own times tell it, and the
processor time that one of its letters took, which other programs on the machine change less.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from bisect import bisect
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from sqlalchemy import select

from benchmarks import letter, ours, teams, wires
from winback.project import load_project
from winback.store import messages, open_engine, reading

_CONNECTIONS = 10
_NOTE = "bench.json"

#: So often, in moments that the dispatcher asks for, the processor time is noted.
_EVERY = 1000


def main() -> int:
    """Prepare, or send."""
    parser = argparse.ArgumentParser(prog="benchmarks.million", description=__doc__)
    parser.add_argument("do", choices=["prepare", "send"])
    parser.add_argument("folder", type=Path, help="where the shop is made, with its database: 3 KB for each letter")
    parser.add_argument("--count", type=int, default=1_000_000, help="how many letters to prepare")
    parser.add_argument("--processes", type=int, default=2, help="that send")
    parser.add_argument("--seconds", type=float, default=3600, help="stop then, for now")
    options = parser.parse_args()
    if options.do == "prepare":
        _prepare(options.folder, options.count)
    else:
        _send(options.folder, options.processes, options.seconds)
    return 0


def _prepare(root: Path, count: int) -> None:
    shutil.rmtree(root, ignore_errors=True)
    begin = time.perf_counter()
    with wires.sink() as port:  # for its number only; the sink that takes the letters comes later
        ours.prepare(root, port, count, connections=_CONNECTIONS)
    (root / _NOTE).write_text(json.dumps({"count": count}), encoding="utf-8")
    size = sum(path.stat().st_size for path in (root / "var").glob("*.sqlite*"))
    print(f"{count} letters planned in {time.perf_counter() - begin:.0f} s; {size / 1e6:.0f} MB")


def _send(root: Path, team: int, seconds: float) -> None:
    count = json.loads((root / _NOTE).read_text(encoding="utf-8"))["count"]
    before = _sent_at(root)
    with wires.sink() as port:
        ours.write_config(root, port, connections=_CONNECTIONS // team)
        begin = before[-1] if before else letter.NOW
        members = [(str(root), number, begin, seconds) for number in range(team)]
        done = teams.run(_member, members, limit=seconds + 60)
    print(
        f"{done.sent} letters in {done.seconds:.0f} s, {done.rate:.0f} a second; the larger process: {done.memory / 1e6:.0f} MB"
    )
    times = _sent_at(root)
    print(f"{len(times)} of {count} are sent")
    tenth = count // 10
    used = [[(datetime.fromisoformat(at), cpu) for at, cpu in json.loads(file.read_text())] for file in root.glob("cpu-*.json")]
    print("tenth  a second  µs of the processors a letter")
    for number in range(len(before) // tenth, len(times) // tenth):
        part = times[number * tenth : (number + 1) * tenth]
        cpu = sum(_used(process, part[-1]) - _used(process, part[0]) for process in used)
        print(f"{number + 1:5}  {(len(part) - 1) / (part[-1] - part[0]).total_seconds():8.0f}  {cpu / len(part) * 1e6:8.0f}")


def _member(root: str, number: int, begin: datetime, seconds: float) -> Callable[[], int]:
    """Send, and keep in a file how much of the processor was used by when."""
    noted: list[tuple[str, float]] = []
    asked = 0

    def watch(moment: datetime) -> None:
        nonlocal asked
        if asked % _EVERY == 0:
            noted.append((moment.isoformat(), time.process_time()))
        asked += 1

    send = ours.end_to_end(root, number, begin, seconds, watch)

    def sent() -> int:
        count = send()
        (Path(root) / f"cpu-{number}.json").write_text(json.dumps(noted), encoding="utf-8")
        return count

    return sent


def _used(process: list[tuple[datetime, float]], at: datetime) -> float:
    """Return what a process had used of the processors by a moment, in seconds."""
    place = bisect(process, at, key=lambda note: note[0])
    if place in (0, len(process)):
        return process[min(place, len(process) - 1)][1]
    (begin, before), (end, after) = process[place - 1 : place + 1]
    return before + (after - before) * ((at - begin) / (end - begin))


def _sent_at(root: Path) -> list[datetime]:
    engine = open_engine(load_project(root, environ={}).settings.database.url, root=root)
    with reading(engine) as connection:
        found = list(
            connection.scalars(select(messages.c.sent_at).where(messages.c.sent_at.is_not(None)).order_by(messages.c.sent_at))
        )
    engine.dispose()
    return found


if __name__ == "__main__":
    sys.exit(main())
