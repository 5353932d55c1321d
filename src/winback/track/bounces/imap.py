"""A mailbox on a mail server, read by IMAP (RFC 3501): nothing is moved or deleted, and people's mail stays unread.

How far it was read is a UID that the database keeps, valid as long as the server's UIDVALIDITY stays the same (RFC 3501 section
2.3.1.1). Mail of machines about our letters gets the flag Seen, so that whoever looks into the mailbox finds what people wrote
unread.
"""

from __future__ import annotations

import binascii
import imaplib
import json
import re
import socket
import ssl
import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from winback.errors import MailboxError, WinbackError
from winback.track.bounces.mail import LARGEST
from winback.track.bounces.mailbox import BATCH, Batch, Mailbox

if TYPE_CHECKING:
    from winback.project.settings import ImapSettings

#: Seconds that one visit may take in all, however slowly the server answers; what is left waits for the next one.
VISIT = 60

#: English, whatever the machine's language (RFC 3501 section 9, date-month).
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

_UID = re.compile(rb"\bUID (\d{1,10})\b")


class ImapMailbox(Mailbox):
    """A folder of an account on a mail server."""

    name = "imap"

    def __init__(self, settings: ImapSettings, *, root: Path, visit: float = VISIT) -> None:
        self._settings = settings
        self._root = root
        self._visit = visit
        self.place = f"the mailbox of {settings.user} at {settings.host}"
        self.identity = f"{settings.user}@{settings.host}:{settings.real_port}/{settings.folder}"
        self._visit_over = False

    def read(self, mark: str, since: datetime) -> Generator[Batch, None, None]:
        with self.translated(), self._open() as connection:
            validity = self._select(connection, readonly=False)
            read = _Mark.of(mark)
            last = read.uid if read is not None and read.validity == validity else 0
            for uids in _batches(_search(connection, last, since)):
                mails = _fetch(connection, uids)
                now_read = _Mark(validity, uids[-1])
                yield Batch(list(mails.values()), str(now_read), _Flagging(self, connection, list(mails)))

    def check(self) -> None:
        with self.translated(), self._open() as connection:
            self._select(connection, readonly=True)

    def _select(self, connection: imaplib.IMAP4, *, readonly: bool) -> int:
        folder = self._settings.folder
        status, answer = connection.select(_quoted(folder), readonly=readonly)
        if status != "OK":
            raise MailboxError(
                f"{self.place} has no folder {folder!r}: {_said(answer)}", "look at bounces.imap.folder; it is mostly INBOX"
            )
        found = connection.response("UIDVALIDITY")[1]
        return int(found[-1]) if found and found[-1] else 0

    @contextmanager
    def _open(self) -> Iterator[imaplib.IMAP4]:
        connection = self._connect()
        # A server that gives a byte now and then would keep us for ever: each byte is within its time.
        end = threading.Timer(self._visit, self._hang_up, [connection.socket()])
        end.daemon = True
        end.start()
        try:
            self._log_in(connection)
            yield connection
        finally:
            end.cancel()
            with suppress(Exception):  # whatever the server still says
                connection.sock.settimeout(2)
                connection.logout()
            with suppress(Exception):
                connection.shutdown()

    def _connect(self) -> imaplib.IMAP4:
        settings = self._settings
        seconds = settings.timeout.total_seconds()
        if settings.tls == "implicit":
            return imaplib.IMAP4_SSL(settings.host, settings.real_port, ssl_context=self._trust(), timeout=seconds)
        connection = imaplib.IMAP4(settings.host, settings.real_port, timeout=seconds)
        if settings.tls == "starttls":
            try:
                connection.starttls(self._trust())
            except BaseException:
                with suppress(Exception):
                    connection.shutdown()
                raise
        return connection

    def _trust(self) -> ssl.SSLContext:
        file = self._settings.ca_file
        try:
            return ssl.create_default_context(cafile=str(self._root / file) if file else None)
        except (OSError, ssl.SSLError) as error:
            raise MailboxError(
                f"bounces.imap.ca_file {file} cannot be used: {error}", "give a file of certificates (PEM)"
            ) from None

    def _log_in(self, connection: imaplib.IMAP4) -> None:
        settings = self._settings
        secret = settings.token or settings.password
        word = secret.reveal() if secret is not None else ""
        try:
            if settings.token is not None:
                first = f"user={settings.user}\1auth=Bearer {word}\1\1".encode()
                connection.authenticate("XOAUTH2", _Answers(first))
            elif "AUTH=PLAIN" in connection.capabilities:
                connection.authenticate("PLAIN", _Answers(f"\0{settings.user}\0{word}".encode()))
            else:
                connection.login(settings.user, word)
        except imaplib.IMAP4.abort:
            raise
        except imaplib.IMAP4.error as error:
            message = f"{self.place} does not accept the name or the password: {_said(error.args)}".replace(word, "***")
            remedy = "correct user and password in [bounces.imap]; some providers want a password made for programs, or a token"
            raise MailboxError(message, remedy) from None

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Turn what goes wrong with the server into words; imaplib answers nonsense with errors of every kind."""
        try:
            yield
        except Exception as error:
            raise self._in_words(error) from None

    def _in_words(self, error: Exception) -> MailboxError:
        where = f"{self._settings.host}:{self._settings.real_port}"
        again = "it is tried again by itself"
        if isinstance(error, WinbackError):
            return MailboxError(error.message, error.remedy)
        if self._visit_over:
            return MailboxError(f"{self.place} is too slow: it could not be read in {self._visit:g} s", again)
        if isinstance(error, ssl.SSLCertVerificationError):
            remedy = "set bounces.imap.host to the name that the certificate is for, or ca_file"
            return MailboxError(f"the certificate of {where} cannot be trusted: {error.verify_message}", remedy)
        if isinstance(error, TimeoutError):
            return MailboxError(f"{self.place} did not answer within {self._settings.timeout.total_seconds():g} s", again)
        if isinstance(error, OSError):
            remedy = "look at host, port and tls in [bounces.imap]"
            return MailboxError(f"{where} cannot be reached: {error.strerror or error}", remedy)
        return MailboxError(f"{self.place} broke off: {_said(error.args) or type(error).__name__}", again)

    def _hang_up(self, line: socket.socket) -> None:
        """Break the connection that another thread is reading from; it then reads the end."""
        self._visit_over = True
        with suppress(OSError):
            socket.socket.shutdown(line, socket.SHUT_RDWR)


@dataclass(frozen=True)
class _Mark:
    """How far a folder was read."""

    validity: int
    uid: int

    @classmethod
    def of(cls, text: str) -> _Mark | None:
        return cls(**json.loads(text)) if text else None

    def __str__(self) -> str:
        return json.dumps({"validity": self.validity, "uid": self.uid})


class _Answers:
    """Answers a server's challenges: first with what logs in, then, where it tells why it refuses, with nothing."""

    def __init__(self, first: bytes) -> None:
        self._words = [first]

    def __call__(self, challenge: bytes) -> bytes:
        return self._words.pop() if self._words else b""


@dataclass(frozen=True)
class _Flagging:
    """Sets the flag Seen on mails that no person has to see."""

    mailbox: ImapMailbox
    connection: imaplib.IMAP4
    uids: Sequence[int]

    def __call__(self, done: Sequence[bool]) -> None:
        seen = [uid for uid, is_done in zip(self.uids, done, strict=True) if is_done]
        if seen:
            with self.mailbox.translated():
                self.connection.uid("STORE", _set(seen), "+FLAGS.SILENT", r"(\Seen)")


def _asked(connection: imaplib.IMAP4, *words: str) -> list[Any]:
    """Return what a server answers; a no must never pass for "there is nothing", or mails would be lost."""
    status, answer = connection.uid(*words)
    if status != "OK":
        raise imaplib.IMAP4.error(*answer)
    return answer


def _search(connection: imaplib.IMAP4, last: int, since: datetime) -> list[int]:
    """Return the UIDs after the last one that was read, in order; of a folder never read before those of the last days."""
    if last:
        answer = _asked(connection, "SEARCH", "UID", f"{last + 1}:*")
    else:
        answer = _asked(connection, "SEARCH", "SINCE", f"{since.day}-{_MONTHS[since.month - 1]}-{since.year}")
    found = {int(word) for line in answer if isinstance(line, bytes) for word in line.split()}
    # "9:*" is the newest mail even where that is older (RFC 3501 section 6.4.8).
    return sorted(uid for uid in found if uid > last)


def _fetch(connection: imaplib.IMAP4, uids: Sequence[int]) -> dict[int, bytes]:
    """Return the first bytes of mails by UID; those that were deleted meanwhile are not there."""
    answer = _asked(connection, "FETCH", _set(uids), f"(UID BODY.PEEK[]<0.{LARGEST}>)")
    found: dict[int, bytes] = {}
    for place, item in enumerate(answer):
        if not isinstance(item, tuple):
            continue
        # The UID may stand before the content or after it.
        after = answer[place + 1] if place + 1 < len(answer) and isinstance(answer[place + 1], bytes) else b""
        uid = _UID.search(item[0]) or _UID.search(after)
        if uid is not None and int(uid[1]) in uids:
            found[int(uid[1])] = item[1][:LARGEST]
    return dict(sorted(found.items()))


def _batches(uids: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(uids), BATCH):
        yield uids[start : start + BATCH]


def _set(uids: Sequence[int]) -> str:
    return ",".join(map(str, uids))


def _quoted(folder: str) -> str:
    """Return a folder's name as IMAP writes it: modified UTF-7 (RFC 3501 section 5.1.3), in quotes."""
    text = re.sub(r"[^\x20-\x7e]+", _shifted, folder.replace("&", "&-"))
    return '"' + text.replace("\\", r"\\").replace('"', r"\"") + '"'


def _shifted(found: re.Match[str]) -> str:
    encoded = binascii.b2a_base64(found[0].encode("utf-16-be"), newline=False)
    return f"&{encoded.decode('ascii').rstrip('=').replace('/', ',')}-"


def _said(answer: Sequence[object]) -> str:
    words = " ".join(each.decode("utf-8", "replace") if isinstance(each, bytes) else str(each) for each in answer if each)
    return "".join(letter for letter in words if letter.isprintable())[:200]
