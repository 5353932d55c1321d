"""Letters in many scripts, long and awkward, read back from real mail servers: as they were made, with signatures that hold."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.compose.signatures import ed25519_key, rsa_key, verdicts
from tests.dispatch.gateways import Scripted
from tests.dispatch.house import WAKE, House, build
from tests.gateways.smtp.harness import smtp_gateway, wait_until
from tests.servers.postfix import postfix
from winback.compose.dkim_keys import private_pem
from winback.gateways.base import Outcome, Outgoing, Sender
from winback.gateways.smtp import SmtpGateway, SmtpOptions

END = '<p><a href="https://halfnote.example/new">New</a></p>\n<p><a href="{{ unsubscribe_url }}">No more</a></p>\n'

#: Subject and HTML, each with something by which it is known again.
LETTERS = {
    "arabic": ("مرحبًا زينب، هدية لعيد ميلادك", "<div dir='rtl'><p>كل عام وأنت بخير. خصم ١٠٪ حتى ٣٠ نوفمبر.</p></div>\n"),
    "hebrew": ("שלום דנה, התגעגענו", "<div dir='rtl'><p>יש לנו תקליטים חדשים; „לילה כחול“ ועוד.</p></div>\n"),
    "emoji": ("🎉 Zoë 👩‍👩‍👧‍👦 — 10 % 🎁" + " 🎶" * 40, "<p>🎷🎺 “quotes”, ½, ﬁ, a\u0301, \u200b, \U0010ffff</p>\n"),
    "long_lines": ("A line as long as RFC 5322 allows", f"<p>\n{'x' * 998}\n{'ü' * 499}\n{'y' * 5000}\n</p>\n"),
    "dots": (". begins this subject", "<pre>\n.\n..\n.two\n...\n. \n From the first column\nFrom here\n</pre>\n"),
    "long_token": ("A long way to unsubscribe", "<p>The address of the shop's server is long.</p>\n"),
    "large": ("90 kB, attachment-free", "".join(f"<p>Record {number}: “Blue &amp; Ж”, 12 €.</p>\n" for number in range(2000))),
    "plain": ("In ASCII alone", "<p>Nothing special, = signs, trailing spaces   \nand\ttabs\t\n</p>\n"),
}


class _Recording(SmtpGateway):
    """Keeps the bytes that it was given to send, by recipient."""

    def __init__(self, options: SmtpOptions) -> None:
        super().__init__(options, name="relay", root=Path())
        self.given: dict[str, bytes] = {}

    @contextmanager
    def connect(self) -> Iterator[Sender]:
        with super().connect() as sender:
            yield _RecordingSender(sender, self.given)


class _RecordingSender(Sender):
    def __init__(self, sender: Sender, given: dict[str, bytes]) -> None:
        self._sender = sender
        self._given = given

    def send(self, messages: Iterable[Outgoing], on_handover: Callable[[str], None]) -> Iterator[tuple[str, Outcome]]:
        def watched() -> Iterator[Outgoing]:
            for message in messages:
                self._given[message.recipient] = message.content
                yield message

        return self._sender.send(watched(), on_handover)


class _Keeping:
    """What aiosmtpd does with a letter."""

    def __init__(self) -> None:
        self.received: list[bytes] = []

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's name
        assert envelope.original_content is not None
        self.received.append(envelope.original_content)
        return "250 OK"


@contextmanager
def _aiosmtpd() -> Iterator[tuple[int, Callable[[], list[bytes]]]]:
    keeping = _Keeping()
    loop = asyncio.new_event_loop()
    factory = partial(SMTP, keeping, loop=loop, hostname="aiosmtpd.test")
    server = loop.run_until_complete(loop.create_server(factory, "127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield server.sockets[0].getsockname()[1], lambda: list(keeping.received)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        server.close()
        loop.run_until_complete(server.wait_closed())
        loop.close()


@contextmanager
def _postfix() -> Iterator[tuple[int, Callable[[], list[bytes]]]]:
    with postfix() as server:
        yield server.port, server.letters


def _shop(folder: Path, engine: Any, now: Any) -> House:
    keys = []
    for key in (rsa_key(), ed25519_key()):
        (folder / f"{key.selector}.pem").write_bytes(private_pem(key))
        private = {"file": str(folder / f"{key.selector}.pem")}
        keys.append({"selector": key.selector, "algorithm": key.algorithm, "private_key": private})
    campaigns = {
        name: {**WAKE, "steps": [{"name": "hello", "channel": "email", "template": name, "subject": subject}]}
        for name, (subject, _) in LETTERS.items()
    }
    shop = {"name": "حافظ & Дом «Нота»", "zone": "Europe/Berlin", "region": "DE", "email_from": "hello@shop.example"}
    long_address = "https://mail.halfnote.example/" + "a-folder/" * 60
    return build(
        folder / "shop",
        engine,
        now,
        settings={
            "shop": shop,
            "dkim": keys,
            "web": {"public_url": long_address},
            "deliver": {"email": "relay"},
            "gateways": {"relay": {"type": "smtp", "host": "127.0.0.1", "tls": "none"}},
        },
        templates={f"{name}.email.html": body + END for name, (_, body) in LETTERS.items()},
        **campaigns,
    )


@pytest.mark.parametrize("server", [_aiosmtpd, _postfix], ids=["aiosmtpd", "postfix"])
@pytest.mark.parametrize("backend", ["sqlite"])
def test_letters_are_read_back_as_they_were_made(server: Any, engine: Any, now: Any, tmp_path: Path) -> None:
    house = _shop(tmp_path, engine, now)
    for name in LETTERS:
        house.due(campaign=name, email=f"{name}@example.com", first_name=name)
    with server() as (port, letters):
        gateway = _Recording(smtp_gateway(port).options)
        result = house.run({"relay": gateway, "outbox": Scripted()})
        assert (result.sent, result.errors) == (len(LETTERS), [])
        wait_until(lambda: len(letters()) == len(LETTERS))
        received = letters()
    assert len(gateway.given) == len(LETTERS)
    for content in received:
        letter = message_from_bytes(content, policy=policy.default)
        name = str(letter["To"]).partition("@")[0]
        given = gateway.given[f"{name}@example.com"]
        assert content.endswith(given), f"{name}: bytes were changed on the way"
        assert verdicts(content, [rsa_key(), ed25519_key()]) == [True, True], name
        assert max(map(len, given.partition(b"\r\n\r\n")[2].split(b"\r\n"))) <= 76
        assert [part.defects for part in letter.walk()] == [[], [], []]
        subject, body = LETTERS[name]
        assert letter["Subject"] == subject
        assert letter["From"] == "حافظ & Дом «Нота» <hello@shop.example>"
        assert len(letter["List-Unsubscribe"]) > 600
        page = letter.get_body(("html",))
        assert page is not None
        # What the template says, but for the tags that a parser of HTML writes in its own way.
        for line in body.split("\n"):
            if line and not line.startswith("<"):
                assert line in page.get_content(), name
    assert max(map(len, received)) > 90_000
