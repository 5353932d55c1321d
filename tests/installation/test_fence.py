"""What a copy cannot bring along, case by case: every way to copy is noticed, and what is no copy goes on."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, insert, select

from tests.dispatch.gateways import Scripted, accept
from tests.installation.conftest import OpenShop, change_row, placed
from tests.project.builder import write_shop
from tests.scheduler.shops import WAKE, add_sleepers, make_shop, states
from winback.dispatch import dispatch
from winback.gateways.base import Outcome, Outgoing
from winback.installation import Kind, admit, advance, check, look, places_of
from winback.project import Project
from winback.scheduler import run_pass
from winback.store import AnyRow, installation, open_engine, places, reading, writing
from winback.store.migrate import migrate

CARD = "var/installation.json"


def kind(engine: Engine, project: Project) -> Kind | None:
    refusal = look(engine, project)
    return None if refusal is None else refusal.kind


# What goes on without a word.


def test_the_first_folder_is_let_in_by_itself(engine: Engine, open_shop: OpenShop, now: datetime) -> None:
    project = open_shop("shop")
    assert look(engine, project) is None
    assert check(engine, project, now) is None
    [row] = places_of(engine)
    assert (row.folder, row.adopted_by, row.adopted_at) == (str(project.root), None, now)


def test_a_pass_that_sends_leaves_every_copy_of_before_behind(engine: Engine, shop: Project, now: datetime) -> None:
    before = (shop.root / CARD).read_bytes()
    assert run_pass(engine, shop, now, "test").sent == 0
    assert (shop.root / CARD).read_bytes() == before
    add_sleepers(engine, 1, now, prefix="T")
    assert run_pass(engine, shop, now, "test").sent == 1
    assert (shop.root / CARD).read_bytes() != before
    assert kind(engine, shop) is None


def test_a_backup_that_is_made_while_a_pass_sends_is_an_older_one_afterwards(
    engine: Engine, shop: Project, now: datetime
) -> None:
    add_sleepers(engine, 2, now, prefix="T")
    asked = iter([False] * 4)
    run_pass(engine, shop, now, "test", stop=lambda: next(asked, True))  # planned, and not sent
    kept: list[AnyRow] = []

    def decide(message: Outgoing) -> Outcome:
        kept[:] = places_of(engine)
        return accept(message)

    gateway = Scripted(decide=decide)
    assert dispatch(engine, shop, worker="test", clock=lambda: now, gateways={"outbox": gateway}).sent == 2
    restore(engine, kept)
    assert kind(engine, shop) is Kind.RESTORED


def chown_all(root: Path) -> None:
    for path in (root / "var").rglob("*"):
        os.chown(path, os.getuid(), os.getgid())
        path.chmod(0o640 if path.is_file() else 0o750)


NO_COPIES: dict[str, Callable[[Path], object]] = {
    "another owner and other rights": chown_all,
    "read by a backup": lambda root: shutil.copytree(root, root.parent / "backup"),
    "its lock is gone": lambda root: (root / "var/installation.lock").unlink(),
    "a card that no pass got to put in place": lambda root: (root / f"{CARD}.new").write_text('{"place": "x'),
}


@pytest.mark.parametrize("what", NO_COPIES)
def test_what_is_no_copy_goes_on(engine: Engine, shop: Project, now: datetime, what: str) -> None:
    NO_COPIES[what](shop.root)
    assert kind(engine, shop) is None
    assert advance(engine, shop, now) is None


def test_a_restarted_machine_gives_its_disks_other_numbers(engine: Engine, shop: Project) -> None:
    change_row(engine, boot="a run before", device="4711")
    assert kind(engine, shop) is None


def test_a_container_does_not_know_its_machine(engine: Engine, shop: Project) -> None:
    change_row(engine, boot="", machine="", device="4711")
    assert kind(engine, shop) is None


def test_a_volume_is_the_same_wherever_a_running_machine_shows_it(engine: Engine, shop: Project) -> None:
    change_row(engine, machine="of another container", folder="/data/shop")
    assert kind(engine, shop) is None


def test_moved_before_the_machine_was_restarted(engine: Engine, shop: Project, now: datetime) -> None:
    moved = placed(shop, shop.root.rename(shop.root.parent / "moved"))
    change_row(engine, boot="a run before")
    assert kind(engine, moved) is None
    assert advance(engine, moved, now) is None
    assert places_of(engine)[0].folder == str(moved.root)


# Copies of the folder, with the database in it.

WAYS: dict[str, str] = {
    "cp -r": "cp -r shop copy",
    "cp -a": "cp -a shop copy",
    "cp -al": "cp -al shop copy",
    "tar": "mkdir copy && tar c --format=posix -C shop . | tar x -C copy",
}

IN_PLACE: dict[str, str] = {
    "cp -r": "cp -r backup/. shop/",
    "cp -a": "cp -a backup/. shop/",
    "removed and cp -a": "rm -rf shop && cp -a backup shop",
    "removed and tar": "rm -rf shop/var && mkdir shop/var && tar c --format=posix -C backup/var . | tar x -C shop/var",
    "only the database": "rm shop/var/winback.sqlite* && cp -a backup/var/winback.sqlite shop/var/",
}


def sqlite_shop(folder: Path, now: datetime) -> Project:
    """Make a shop whose database is in its folder, and send one letter."""
    root = write_shop(folder / "shop", campaigns={"wake": WAKE})
    project = make_shop(root, "", {"wake": WAKE})
    engine = database(root)
    migrate(engine)
    send_one(engine, project, now, "A")
    engine.dispose()
    return project


def database(root: Path) -> Engine:
    return open_engine("sqlite:///var/winback.sqlite", root=root)


def send_one(engine: Engine, project: Project, now: datetime, prefix: str) -> None:
    add_sleepers(engine, 1, now, prefix=prefix)
    assert run_pass(engine, project, now, "test").sent == 1


def shell(folder: Path, script: str) -> None:
    subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=folder, check=True)


@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_copy_a_folder_is_noticed(tmp_path: Path, now: datetime, way: str) -> None:
    project = sqlite_shop(tmp_path, now)
    shell(tmp_path, WAYS[way])
    copied = database(tmp_path / "copy")
    refusal = check(copied, placed(project, tmp_path / "copy"), now)
    copied.dispose()
    assert refusal is not None
    assert refusal.kind is (Kind.SECOND if way == "cp -al" else Kind.COPY)  # hard links: the very same database
    assert str(tmp_path / "shop") in refusal.message
    original = database(tmp_path / "shop")
    assert check(original, project, now) is None
    original.dispose()


@pytest.mark.parametrize("way", IN_PLACE)
@pytest.mark.parametrize("sent_since", [True, False], ids=["older", "of the same moment"])
def test_every_way_to_put_a_backup_back_is_noticed(tmp_path: Path, now: datetime, way: str, sent_since: bool) -> None:
    project = sqlite_shop(tmp_path, now)
    shell(tmp_path, "cp -a shop backup")
    engine = database(project.root)
    if sent_since:
        send_one(engine, project, now, "B")
    engine.dispose()
    shell(tmp_path, IN_PLACE[way])
    engine = database(project.root)
    refusal = check(engine, project, now)
    engine.dispose()
    if not sent_since and way in ("cp -r", "cp -a"):
        assert refusal is None  # every byte, and every file, is what it was
        return
    assert refusal is not None
    nothing_is_lost = way == "only the database" and not sent_since
    assert refusal.kind is (Kind.COPY if nothing_is_lost else Kind.RESTORED)


def test_a_snapshot_of_a_disk_beside_the_original(engine: Engine, shop: Project, tmp_path: Path) -> None:
    """After the machine was restarted nothing but the original tells the two apart."""
    snapshot = tmp_path / "snapshot"
    shutil.copytree(shop.root, snapshot)
    change_row(engine, boot="a run before", folder=str(snapshot))
    refusal = look(engine, shop)
    assert refusal is not None
    shutil.rmtree(snapshot)
    assert look(engine, shop) is None


def test_a_snapshot_that_is_shown_while_the_machine_runs(engine: Engine, shop: Project) -> None:
    """Of btrfs for example: every file keeps its number and its birth, on another device."""
    change_row(engine, device="4711")
    assert look(engine, shop) is not None


def test_a_disk_in_another_machine(engine: Engine, shop: Project) -> None:
    change_row(engine, boot="another's", machine="another", folder="/srv/shop")
    refusal = look(engine, shop)
    assert refusal is not None
    assert "/srv/shop on " in refusal.message


def test_the_folder_on_a_database_that_was_cloned(engine: Engine, shop: Project) -> None:
    change_row(engine, database="sqlite:1:b1" if engine.dialect.name == "sqlite" else "postgresql:1:1")
    refusal = look(engine, shop)
    assert refusal is not None
    assert (refusal.kind, "copy of the one that" in refusal.message) == (Kind.COPY, True)


# What is sent from nowhere else.


def test_a_second_folder_is_not_let_in_by_itself(engine: Engine, shop: Project, open_shop: OpenShop, now: datetime) -> None:
    second = open_shop("second")
    add_sleepers(engine, 1, now, prefix="T")
    outcome = run_pass(engine, second, now, "test")
    assert outcome.refused is not None
    assert outcome.refused.kind is Kind.SECOND
    assert outcome.errors == [str(outcome.refused)]
    assert f"The database sends from {shop.root} on " in outcome.errors[0]
    assert (outcome.plan, outcome.dispatch, outcome.recovered) == (None, None, None)
    assert states(engine) == {"sent": 2}
    assert not (second.root / CARD).exists()
    assert run_pass(engine, shop, now, "test").sent == 1


def test_a_dispatcher_of_its_own_is_refused_too(engine: Engine, shop: Project, open_shop: OpenShop, now: datetime) -> None:
    add_sleepers(engine, 1, now, prefix="T")
    asked = iter([False] * 4)
    run_pass(engine, shop, now, "test", stop=lambda: next(asked, True))
    assert states(engine) == {"sent": 2, "planned": 1}
    gateway = Scripted()
    result = dispatch(engine, open_shop("second"), worker="test", clock=lambda: now, gateways={"outbox": gateway})
    assert gateway.arrived == []
    assert [error for error in result.errors if "was not admitted to it" in error]
    assert states(engine) == {"sent": 2, "planned": 1}


BROKEN: dict[str, bytes | None] = {
    "missing": None,
    "empty": b"",
    "cut": b'{"place": "0123',
    "no table": b"[]",
    "another table": b'{"place": 1}',
    "no text": bytes(range(256)),
    "too long": b" " * 20_000,
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_card_that_cannot_be_read_is_no_card(engine: Engine, shop: Project, what: str) -> None:
    content = BROKEN[what]
    if content is None:
        (shop.root / CARD).unlink()
    else:
        (shop.root / CARD).write_bytes(content)
    assert kind(engine, shop) is Kind.SECOND


@pytest.mark.parametrize("name", ["installation.lock", "installation.json.new"])
def test_where_nothing_can_be_written_nothing_is_sent(engine: Engine, shop: Project, now: datetime, name: str) -> None:
    path = shop.root / "var" / name
    path.unlink(missing_ok=True)
    path.mkdir()  # what keeps root, too, from writing it
    add_sleepers(engine, 1, now, prefix="T")
    outcome = run_pass(engine, shop, now, "test")
    assert outcome.sent == 0
    assert ["installation.json" in error and "; nothing is sent" in error for error in outcome.errors] == [True]


def test_a_database_that_has_never_sent_in_a_folder_that_has(engine: Engine, shop: Project, now: datetime) -> None:
    with writing(engine) as connection:
        connection.execute(places.delete())
    refusal = check(engine, shop, now)
    assert refusal is not None
    assert refusal.kind is Kind.RESTORED
    assert places_of(engine) == []


# Several folders on one database.


def test_of_two_folders_that_come_first_at_once_one_is_let_in(engine: Engine, open_shop: OpenShop, now: datetime) -> None:
    shops = [open_shop(f"shop-{number}") for number in range(4)]
    together = threading.Barrier(len(shops))

    def come(project: Project) -> bool:
        together.wait()
        return check(engine, project, now) is None

    with ThreadPoolExecutor(len(shops)) as pool:
        let_in = list(pool.map(come, shops))
    assert sum(let_in) == 1
    assert [row.folder for row in places_of(engine)] == [str(shops[let_in.index(True)].root)]
    assert [kind(engine, project) is None for project in shops] == let_in


def test_many_that_send_from_one_folder_at_once_never_take_it_for_a_copy(engine: Engine, shop: Project, now: datetime) -> None:
    stop = threading.Event()
    wrong: list[object] = []

    def watch() -> None:
        while not stop.is_set():
            wrong.extend(refusal for refusal in [look(engine, shop)] if refusal)

    with ThreadPoolExecutor(6) as pool:
        watching = [pool.submit(watch) for _ in range(2)]
        refusals = [each for each in pool.map(lambda _: advance(engine, shop, now), range(40)) if each]
        stop.set()
        for each in watching:
            each.result()
    assert (refusals, wrong) == ([], [])


@pytest.fixture
def two(engine: Engine, shop: Project, open_shop: OpenShop, now: datetime) -> tuple[Project, Project]:
    """Give two folders that may both send."""
    second = open_shop("second")
    assert admit(engine, second, now, "anna@shop-2").refusal is not None
    return shop, second


def test_two_folders_share_a_database_once_both_are_admitted(engine: Engine, two: tuple[Project, Project], now: datetime) -> None:
    for project, prefix in zip(two * 2, "ABCD", strict=True):
        send_one(engine, project, now, prefix)
    assert [kind(engine, project) for project in two] == [None, None]
    assert {Path(row.folder).name: row.adopted_by for row in places_of(engine)} == {"shop": None, "second": "anna@shop-2"}


def restore(engine: Engine, rows: Sequence[AnyRow]) -> None:
    """Put the rows back that the fence goes by: to it that is an older database."""
    with writing(engine) as connection:
        connection.execute(places.delete())
        connection.execute(insert(places), [row._asdict() for row in rows])


def test_what_one_folder_notices_stops_the_other_too(engine: Engine, two: tuple[Project, Project], now: datetime) -> None:
    first, second = two
    with reading(engine) as connection:
        kept = list(connection.execute(select(places)))
    send_one(engine, first, now, "A")
    restore(engine, kept)
    assert kind(engine, first) is Kind.RESTORED
    assert kind(engine, second) is None  # it has sent nothing since and cannot know
    assert check(engine, first, now) is not None
    refusal = look(engine, second)
    assert refusal is not None
    assert "another folder has sent what it does not know of" in refusal.message


def test_a_folder_that_was_idle_notices_by_itself(engine: Engine, two: tuple[Project, Project], now: datetime) -> None:
    first, second = two
    with reading(engine) as connection:
        kept = list(connection.execute(select(places)))
    send_one(engine, first, now, "A")
    assert run_pass(engine, second, now + timedelta(minutes=1), "test").sent == 0  # as every minute
    restore(engine, kept)
    assert kind(engine, second) is Kind.RESTORED


def test_a_stray_copy_of_a_folder_stops_nobody(
    engine: Engine, two: tuple[Project, Project], tmp_path: Path, now: datetime
) -> None:
    first, second = two
    shutil.copytree(first.root, tmp_path / "stray")
    stray = placed(first, tmp_path / "stray")
    send_one(engine, first, now, "A")
    refusal = check(engine, stray, now)
    assert refusal is not None
    assert refusal.kind is Kind.SECOND
    with reading(engine) as connection:
        assert connection.execute(select(installation).where(installation.c.key == "fence.restored")).all() == []
    send_one(engine, second, now, "B")
