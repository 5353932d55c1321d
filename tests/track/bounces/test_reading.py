"""Mailboxes are read when their time has come, each mail counts once whoever is killed, and trouble is told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, func, select

from tests.servers.imap import CLOSE, Answer, Command, imap_server
from tests.track.bounces.mails import mail, person, sent
from tests.track.shops import Shop, make_project
from winback.errors import MailboxError
from winback.store import installation, messages, receipts
from winback.track.bounces import mailboxes, read_mailboxes, standing
from winback.track.bounces.mail import LARGEST
from winback.track.bounces.mailbox import BATCH, Maildir

NAME, PASSWORD = "bounces", "secret"


def make_maildir(folder: Path) -> Path:
    for name in ("new", "cur", "tmp"):
        (folder / name).mkdir(parents=True)
    return folder


def put(maildir: Path, content: bytes, name: str = "") -> Path:
    """Deliver a mail as a mail server does: into tmp/, then moved to new/."""
    name = name or f"{time.time_ns()}.M1P2.mx"
    (maildir / "tmp" / name).write_bytes(content)
    return (maildir / "tmp" / name).rename(maildir / "new" / name)


@pytest.fixture
def shop(engine: Engine, tmp_path: Path, now: datetime) -> Shop:
    """Give a shop that reads the Maildir bounces/ every five minutes."""
    project = make_project(tmp_path / "shop", gateways={"relay": {"type": "outbox"}}, bounces={"maildir": "bounces"})
    make_maildir(project.root / "bounces")
    return Shop(project, engine, now)


def imap_shop(shop: Shop, port: int, **settings: Any) -> Shop:
    """Return the shop with a mailbox on a server instead."""
    (shop.project.root / "imap.password").write_text(PASSWORD)
    imap = {"host": "127.0.0.1", "port": port, "tls": "none", "user": NAME, "password": {"file": "imap.password"}}
    bounces = {"imap": {**imap, **settings}, "every": "5min"}
    project = make_project(shop.project.root, gateways={"relay": {"type": "outbox"}}, bounces=bounces)
    return Shop(project, shop.engine, shop.now)


def reads(shop: Shop, *, later: timedelta = timedelta()) -> list[MailboxError]:
    shop.now += later
    return read_mailboxes(shop.engine, shop.project, shop.now)


def states(shop: Shop) -> list[str]:
    return sorted(state for (state,) in shop.rows(messages, "state"))


def files(shop: Shop, folder: str) -> list[str]:
    return sorted(path.name for path in (shop.project.root / "bounces" / folder).iterdir())


LATER = timedelta(minutes=5)


# The Maildir


def test_a_mail_in_a_maildir_counts_and_is_moved(shop: Shop) -> None:
    message = sent(shop, person(shop))
    maildir = shop.project.root / "bounces"
    put(maildir, mail("postfix_unknown_user", message), "1.bounce")
    put(maildir, mail("reply_question", message), "2.reply")
    put(maildir, mail("strangers_letter"), "3.letter:2,")
    assert reads(shop) == []
    assert states(shop) == ["bounced"]
    assert files(shop, "new") == []
    # What people wrote stays unseen for people.
    assert files(shop, "cur") == ["1.bounce:2,S", "2.reply:2,", "3.letter:2,"]
    assert reads(shop, later=LATER) == []
    assert len(shop.records(receipts)) == 2


def test_what_is_no_mail_is_left_alone(shop: Shop, tmp_path: Path) -> None:
    maildir = shop.project.root / "bounces"
    secret = tmp_path / "secret"
    secret.write_bytes(mail("reply_stop", sent(shop, person(shop))))
    (maildir / "new" / "1.link").symlink_to(secret)
    (maildir / "new" / "2.folder").mkdir()
    (maildir / "new" / ".hidden").write_bytes(secret.read_bytes())
    os.mkfifo(maildir / "new" / "3.pipe")
    (maildir / "tmp" / "4.unfinished").write_bytes(secret.read_bytes())
    put(maildir, mail("postfix_unknown_user", sent(shop, person(shop, "C2", "c2@example.com")), "c2@example.com"), "5.mail")
    wrong = reads(shop)
    assert shop.rows(receipts, "kind") == [("bounced",)]
    assert files(shop, "new") == [".hidden", "1.link", "2.folder", "3.pipe"]
    assert ["(1.link: " in error.message for error in wrong] == [True]


def test_only_the_beginning_of_a_huge_mail_is_read(shop: Shop) -> None:
    message = sent(shop, person(shop))
    put(shop.project.root / "bounces", mail("postfix_unknown_user", message) + b"\n" + b"x" * 10 * LARGEST)
    with_batch = next(Maildir(shop.project.root / "bounces").read("", shop.now))
    assert [len(content) for content in with_batch.contents] == [LARGEST]
    assert reads(shop) == []
    assert states(shop) == ["bounced"]


def test_a_folder_that_is_no_maildir_is_told_with_how_to_make_one(shop: Shop) -> None:
    maildir = shop.project.root / "bounces"
    for name in ("new", "cur", "tmp"):
        (maildir / name).rmdir()
    [error] = reads(shop)
    assert error.message == f"{maildir} is no Maildir"
    command = error.remedy.partition("make it: ")[2].partition(";")[0]
    subprocess.run(command, shell=True, check=True)
    assert reads(shop, later=LATER) == []


# When


def test_it_is_read_as_often_as_the_settings_say(shop: Shop) -> None:
    first, second = (sent(shop, person(shop, f"C{n}", f"c{n}@example.com")) for n in (1, 2))
    maildir = shop.project.root / "bounces"
    assert reads(shop) == []
    put(maildir, mail("postfix_unknown_user", first, "c1@example.com"))
    assert reads(shop, later=timedelta(minutes=4)) == []
    assert states(shop) == ["sent", "sent"]
    assert reads(shop, later=timedelta(minutes=1)) == []
    assert states(shop) == ["bounced", "sent"]
    put(maildir, mail("postfix_unknown_user", second, "c2@example.com"))
    assert reads(shop, later=timedelta(days=-1)) == [], "a clock that was ahead holds nothing up"
    assert states(shop) == ["bounced", "bounced"]


def test_what_one_pass_does_not_take_the_next_one_does_at_once(shop: Shop) -> None:
    maildir = shop.project.root / "bounces"
    for number in range(BATCH + 3):
        put(maildir, b"x", f"{number:05}")
    read_mailboxes(shop.engine, shop.project, shop.now, stop=iter([False, True]).__next__)
    assert len(files(shop, "new")) == 3
    reads(shop, later=timedelta(seconds=1))
    assert files(shop, "new") == []


def test_without_a_mailbox_nothing_is_read_or_written(engine: Engine, tmp_path: Path, now: datetime) -> None:
    shop = Shop(make_project(tmp_path / "shop"), engine, now)
    assert mailboxes(shop.project) == []
    assert reads(shop) == []
    assert shop.records(installation) == []


# IMAP, and the database's memory of it


def test_mails_on_a_server_count_once(shop: Shop) -> None:
    message = sent(shop, person(shop))
    with imap_server(users={NAME: PASSWORD}) as server:
        server.add(mail("postfix_unknown_user", message), arrived=shop.now)
        server.add(mail("reply_question", message), arrived=shop.now)
        by_imap = imap_shop(shop, server.port)
        assert reads(by_imap) == []
        assert states(shop) == ["bounced"]
        assert (server.flags(1), server.flags(2)) == ({r"\Seen"}, set())
        assert reads(by_imap, later=LATER) == []
        assert len(server.asked("FETCH")) == 1
        server.validity += 1  # the folder was made anew: everything is read again, and nothing counts twice
        assert reads(by_imap, later=LATER) == []
        assert len(server.asked("FETCH")) == 2
    assert len(shop.records(receipts)) == 2


def test_another_mailbox_is_read_from_its_own_beginning(shop: Shop) -> None:
    message = sent(shop, person(shop))
    with imap_server(users={NAME: PASSWORD}) as server:
        for _ in range(5):
            server.add(b"x", arrived=shop.now)
        assert reads(imap_shop(shop, server.port)) == []
        server.add(mail("postfix_unknown_user", message), "Bounces", arrived=shop.now)
        assert reads(imap_shop(shop, server.port, folder="Bounces", user="bounces"), later=LATER) == []
        assert states(shop) == ["bounced"]


def test_trouble_is_remembered_with_its_beginning_and_forgotten_when_it_is_over(shop: Shop) -> None:
    down = True

    def script(command: Command) -> Answer:
        return '{tag} NO "down" \\ for now' if down and command.verb == "SELECT" else None

    with imap_server(users={NAME: PASSWORD}, script=script) as server:
        by_imap = imap_shop(shop, server.port)
        began = shop.now
        for minutes in (0, 5, 10):
            by_imap.now = began + timedelta(minutes=minutes)
            assert len(reads(by_imap)) == 1
        [mailbox] = mailboxes(by_imap.project)
        with shop.engine.connect() as connection:
            found = standing(connection, mailbox)
        assert found is not None
        assert "down" in found.error
        assert (found.since, found.tried) == (began, by_imap.now)
        down = False
        assert reads(by_imap, later=LATER) == []
        with shop.engine.connect() as connection:
            found = standing(connection, mailbox)
        assert found is not None
        assert (found.error, found.since) == ("", None)


def test_what_is_kept_of_trouble_fits_whatever_the_server_says(shop: Shop) -> None:
    said = "{tag} NO " + '"\\' * 400
    with imap_server(users={NAME: PASSWORD}, script=lambda command: said if command.verb == "SELECT" else None) as server:
        assert len(reads(imap_shop(shop, server.port))) == 1
    assert all(len(value) <= 500 for (value,) in shop.rows(installation, "value"))


def test_one_mailbox_in_trouble_does_not_hold_up_the_other(shop: Shop) -> None:
    message = sent(shop, person(shop))
    put(shop.project.root / "bounces", mail("postfix_unknown_user", message))
    with imap_server(users={NAME: PASSWORD}, script=lambda command: CLOSE) as server:
        imap = {"host": "127.0.0.1", "port": server.port, "tls": "none", "user": NAME, "password": {"env": "HOME"}}
        project = make_project(shop.project.root, bounces={"maildir": "bounces", "imap": imap})
        wrong = read_mailboxes(shop.engine, project, shop.now)
    assert len(wrong) == 1
    assert states(shop) == ["bounced"]


# Killed in the middle

_VICTIM = textwrap.dedent(
    """
    import os, signal, sys
    from datetime import datetime
    from pathlib import Path
    from winback.project import load_project
    from winback.store import open_engine
    from winback.track.bounces import mailbox, reading

    root, url, now, where = Path(sys.argv[1]), sys.argv[2], datetime.fromisoformat(sys.argv[3]), sys.argv[4]
    real = {"take": reading.take, "move": mailbox._Moving.__call__}

    def die(*arguments, **named):
        os.kill(os.getpid(), signal.SIGKILL)

    def take(*arguments):
        done = real["take"](*arguments)
        die()

    if where == "before it is committed":
        reading.take = take
    elif where == "before it is moved":
        mailbox._Moving.__call__ = die
    reading.read_mailboxes(open_engine(url), load_project(root, environ={}), now)
    """
)


@pytest.mark.parametrize("where", ["before it is committed", "before it is moved"])
def test_whoever_is_killed_loses_and_doubles_nothing(shop: Shop, database_url: str, where: str) -> None:
    ids = [sent(shop, person(shop, f"C{n}", f"c{n}@example.com")) for n in range(5)]
    for number, each in enumerate(ids):
        put(shop.project.root / "bounces", mail("postfix_unknown_user", each, f"c{number}@example.com"))
    arguments = [str(shop.project.root), database_url, shop.now.isoformat(), where]
    done = subprocess.run([sys.executable, "-c", _VICTIM, *arguments], check=False, timeout=60)
    assert done.returncode == -9
    assert len(files(shop, "new")) == 5
    assert states(shop) == (["sent"] if where == "before it is committed" else ["bounced"]) * 5
    assert reads(shop, later=LATER) == []
    assert states(shop) == ["bounced"] * 5
    assert files(shop, "new") == []
    with shop.engine.connect() as connection:
        assert connection.scalar(select(func.count()).select_from(receipts)) == 5


def test_two_at_once_count_each_mail_once(shop: Shop, database_url: str) -> None:
    ids = [sent(shop, person(shop, f"C{n}", f"c{n}@example.com")) for n in range(20)]
    for number, each in enumerate(ids):
        put(shop.project.root / "bounces", mail("mailbox_full", each, f"c{number}@example.com"))
    environment: Mapping[str, str] = {**os.environ}
    # A minute apart by their clocks: neither finds that the other has just read it.
    nows = [shop.now.isoformat(), (shop.now - timedelta(minutes=1)).isoformat()]
    command = [sys.executable, "-c", _VICTIM, str(shop.project.root), database_url]
    running = [subprocess.Popen([*command, now, "nowhere"], env=environment) for now in nows]
    assert [process.wait(60) for process in running] == [0, 0]
    assert states(shop) == ["bounced"] * 20
    assert files(shop, "new") == []
    assert len(shop.records(receipts)) == 20
    assert all(
        json.loads(value)["error"] == "" for key, value in shop.rows(installation, "key", "value") if key == "mailbox maildir"
    )
