"""A mailbox is read by IMAP over TLS, each mail once, and whatever the server does costs nothing but time."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.servers.certificates import Certificate, make_certificate
from tests.servers.imap import CLOSE, DRIP, HANG, Answer, Command, ImapServer, imap_server
from winback.errors import MailboxError
from winback.project.settings import ImapSettings
from winback.secrets import Secret
from winback.track.bounces.imap import ImapMailbox
from winback.track.bounces.mail import LARGEST
from winback.track.bounces.mailbox import BATCH

NAME, PASSWORD = "bounces@halfnote.example", 'pässword with "quotes" and \\'


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """Give a certificate for this machine."""
    return make_certificate(tmp_path_factory.mktemp("tls"), "localhost", "127.0.0.1")


def mailbox(server: ImapServer, *, visit: float = 30, root: Path = Path(), **settings: Any) -> ImapMailbox:
    given = {"host": "127.0.0.1", "port": server.port, "tls": "none", "user": NAME, "password": Secret(PASSWORD), **settings}
    return ImapMailbox(ImapSettings(**given), root=root, visit=visit)


def read(box: ImapMailbox, mark: str = "", since: datetime | None = None) -> tuple[list[bytes], str]:
    """Read everything, mark every second mail as done, and return the mails and how far it went."""
    found: list[bytes] = []
    with closing(box.read(mark, since or datetime.now().astimezone() - timedelta(days=14))) as batches:
        for batch in batches:
            batch.settle([number % 2 == 0 for number in range(len(batch.contents))])
            found += batch.contents
            mark = batch.mark or mark
    return found, mark


@pytest.fixture
def server() -> Iterator[ImapServer]:
    """Give a server with three mails."""
    with imap_server(users={NAME: PASSWORD}) as running:
        for number in range(3):
            running.add(b"mail %d" % number)
        yield running


def test_each_mail_is_read_once(server: ImapServer) -> None:
    found, mark = read(mailbox(server))
    assert found == [b"mail 0", b"mail 1", b"mail 2"]
    assert read(mailbox(server), mark) == ([], mark)
    server.add(b"mail 3")
    found, mark = read(mailbox(server), mark)
    assert found == [b"mail 3"]
    assert read(mailbox(server), mark) == ([], mark)


def test_only_what_is_done_with_is_marked_as_seen(server: ImapServer) -> None:
    read(mailbox(server))
    assert [server.flags(uid) for uid in (1, 2, 3)] == [{r"\Seen"}, set(), {r"\Seen"}]
    assert len(server.asked("STORE")) == 1


def test_a_new_mailbox_is_not_read_from_its_beginning(server: ImapServer) -> None:
    for mail in server.folders["INBOX"][:2]:
        mail.arrived -= timedelta(days=30)
    assert read(mailbox(server))[0] == [b"mail 2"]
    assert "SINCE" in server.asked("SEARCH")[0]


def test_a_folder_that_was_made_anew_is_read_anew(server: ImapServer) -> None:
    _, mark = read(mailbox(server))
    server.validity += 1
    server.folders["INBOX"] = server.folders["INBOX"][:1]
    found, later = read(mailbox(server), mark)
    assert found == [b"mail 0"]
    assert later != mark


def test_many_mails_come_in_batches_each_with_its_mark(server: ImapServer) -> None:
    for number in range(3, 2 * BATCH + 5):
        server.add(b"mail %d" % number)
    with closing(mailbox(server).read("", datetime.now().astimezone())) as batches:
        first = next(batches)
        assert len(first.contents) == BATCH
    found, _ = read(mailbox(server), first.mark)
    assert found == [b"mail %d" % number for number in range(BATCH, 2 * BATCH + 5)]


def test_only_the_beginning_of_a_huge_mail_is_fetched(server: ImapServer) -> None:
    server.add(b"x" * (LARGEST + 5000))
    assert [len(content) for content in read(mailbox(server))[0]] == [6, 6, 6, LARGEST]
    assert server.asked("FETCH")[0].endswith(f"<0.{LARGEST}>)")


def test_a_server_may_name_the_mail_after_its_content() -> None:
    with imap_server(users={NAME: PASSWORD}, uid_after_content=True) as server:
        server.add(b"one)\r\nUID 7")
        server.add(b"two")
        assert read(mailbox(server))[0] == [b"one)\r\nUID 7", b"two"]


def test_a_mail_that_is_deleted_meanwhile_is_passed_over() -> None:
    def script(command: Command) -> Answer:
        if command.verb == "FETCH":
            server.folders["INBOX"] = server.folders["INBOX"][1:]

    with imap_server(users={NAME: PASSWORD}, script=script) as server:
        for number in range(3):
            server.add(b"mail %d" % number)
        assert read(mailbox(server))[0] == [b"mail 1", b"mail 2"]


@pytest.mark.parametrize("folder", ['Rück & läufer "alt"', "INBOX/Bounces"])
def test_a_folder_can_have_any_name(folder: str) -> None:
    wire = {'Rück & läufer "alt"': r"R&APw-ck &- l&AOQ-ufer \"alt\""}.get(folder, folder)
    with imap_server(users={NAME: PASSWORD}) as server:
        server.add(b"there", wire)
        assert read(mailbox(server, folder=folder))[0] == [b"there"]


# Logging in, and TLS


def test_the_connection_is_encrypted_and_the_server_proven(certificate: Certificate) -> None:
    for tls in ("implicit", "starttls"):
        with imap_server(users={NAME: PASSWORD}, tls=tls, tls_context=certificate.server_context()) as server:
            server.add(b"hello")
            box = mailbox(server, tls=tls, ca_file=certificate.file.name, root=certificate.file.parent)
            assert read(box)[0] == [b"hello"]
            assert server.logins == [(NAME, True)]
            with pytest.raises(MailboxError, match=r"the certificate of 127\.0\.0\.1:\d+ cannot be trusted"):
                read(mailbox(server, tls=tls))
            assert len(server.logins) == 1


def test_where_encryption_is_wanted_and_not_offered_no_password_goes(server: ImapServer) -> None:
    with pytest.raises(MailboxError):
        read(mailbox(server, tls="starttls"))
    assert server.logins == []
    assert not server.asked("LOGIN")
    assert not server.asked("AUTHENTICATE")


def test_a_server_without_authenticate_gets_a_login() -> None:
    with imap_server(users={"bounces": "secret"}, capabilities="IMAP4rev1") as server:
        server.add(b"hello")
        assert read(mailbox(server, user="bounces", password=Secret("secret")))[0] == [b"hello"]
        assert server.asked("LOGIN")


def test_a_token_logs_in_instead_of_a_password() -> None:
    with imap_server(users={NAME: "ya29.token"}) as server:
        server.add(b"hello")
        assert read(mailbox(server, password=None, token=Secret("ya29.token")))[0] == [b"hello"]
        with pytest.raises(MailboxError, match="does not accept"):
            read(mailbox(server, password=None, token=Secret("ya29.expired")))


def test_a_wrong_password_is_named_and_never_shown(server: ImapServer) -> None:
    with pytest.raises(MailboxError) as caught:
        read(mailbox(server, password=Secret("Invalid")))
    assert caught.value.message == (
        "the mailbox of bounces@halfnote.example at 127.0.0.1 does not accept the name or the password: "
        "[AUTHENTICATIONFAILED] *** credentials"
    )
    assert "token" in caught.value.remedy


def test_a_secret_that_is_not_there_is_named(server: ImapServer) -> None:
    with pytest.raises(MailboxError, match="the environment variable IMAP_PASSWORD is empty or not set"):
        read(mailbox(server, password=Secret.from_env("IMAP_PASSWORD", {})))


# Servers that misbehave

TROUBLE: Mapping[str, tuple[Answer, str]] = {
    "closes": (CLOSE, "broke off"),
    "says no": ("{tag} NO not now", "broke off"),
    "says bad": ("{tag} BAD what", "broke off"),
    "says bye": ("* BYE shutting down", "broke off"),
    "talks nonsense": (b"\xff\xfe\x00 ((((\r\n" * 10, "broke off"),
    "never ends a line": (b"* " + b"x" * 1_100_000 + b"\r\n", "broke off"),
    "promises a mail that never comes": (b"* 1 FETCH (UID 1 BODY[]<0> {50000}\r\nabc", "did not answer within 0.5 s"),
    "hangs": (HANG, "did not answer within 0.5 s"),
    "drips": (DRIP, "is too slow"),
}


@pytest.mark.parametrize("verb", ["AUTHENTICATE", "SELECT", "SEARCH", "FETCH"])
@pytest.mark.parametrize("trouble", TROUBLE)
def test_a_server_that_misbehaves_costs_only_time(trouble: str, verb: str) -> None:
    answer, said = TROUBLE[trouble]
    with imap_server(users={NAME: PASSWORD}, script=lambda command: answer if command.verb == verb else None) as server:
        server.add(b"hello")
        # Only of a server that says nothing more the time runs out; with the others it is over at once.
        silent = answer is HANG or trouble in ("says bye", "promises a mail that never comes")
        box = mailbox(server, timeout=timedelta(seconds=0.5 if silent else 20), visit=1 if answer is DRIP else 60)
        begin = time.perf_counter()
        with pytest.raises(MailboxError) as caught:
            read(box)
        assert time.perf_counter() - begin < 15
        assert caught.value.message.startswith(("the mailbox of", "127.0.0.1:"))
        assert caught.value.remedy
        if trouble not in ("says no", "says bad", "says bye", "promises a mail that never comes") and verb != "AUTHENTICATE":
            assert said in caught.value.message
    for thread in threading.enumerate():
        if isinstance(thread, threading.Timer):
            thread.join(10)
            assert not thread.is_alive(), "it waits although nobody reads any more"


def test_a_line_that_breaks_after_some_batches_goes_on_there() -> None:
    def script(command: Command) -> Answer:
        return CLOSE if command.verb == "FETCH" and command.number == 2 else None

    with imap_server(users={NAME: PASSWORD}, script=script) as server:
        for number in range(BATCH + 10):
            server.add(b"mail %d" % number)
        with closing(mailbox(server).read("", datetime.now().astimezone())) as batches:
            first = next(batches)
            with pytest.raises(MailboxError, match="broke off"):
                next(batches)
        found, _ = read(mailbox(server), first.mark)
    assert [*first.contents, *found] == [b"mail %d" % number for number in range(BATCH + 10)]


def test_flags_that_cannot_be_set_are_no_reason_to_read_again() -> None:
    def script(command: Command) -> Answer:
        return CLOSE if command.verb == "STORE" else None

    with imap_server(users={NAME: PASSWORD}, script=script) as server:
        server.add(b"hello")
        with closing(mailbox(server).read("", datetime.now().astimezone())) as batches:
            batch = next(batches)
            with pytest.raises(MailboxError, match="broke off"):
                batch.settle([True])
        assert read(mailbox(server), batch.mark)[0] == []


def test_nobody_there_is_said_in_words() -> None:
    with imap_server() as server:
        box = mailbox(server)
    with pytest.raises(MailboxError, match=r"127\.0\.0\.1:\d+ cannot be reached: Connection refused"):
        read(box)


def test_a_folder_that_is_not_there_is_named(server: ImapServer) -> None:
    with pytest.raises(MailboxError, match=r"has no folder 'Bounces': Mailbox doesn't exist"):
        read(mailbox(server, folder="Bounces"))


def test_trying_it_changes_nothing(server: ImapServer) -> None:
    mailbox(server).check()
    assert server.asked("EXAMINE")
    assert not server.asked("SELECT")
    with pytest.raises(MailboxError, match="has no folder"):
        mailbox(server, folder="Bounces").check()
