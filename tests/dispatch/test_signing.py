"""Letters of a shop with DKIM keys: they arrive with signatures that hold, and wait while a key is not there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.compose.signatures import ed25519_key, rsa_key, verdicts
from tests.dispatch.conftest import MakeHouse
from tests.dispatch.gateways import Scripted
from tests.dispatch.house import House
from tests.servers.smtp import smtp_server
from winback.compose.dkim_keys import private_pem
from winback.errors import SigningError
from winback.gateways.base import Sender

#: Letters that SMTP has to change on the wire, and to change back: dots at the beginning of lines, and 90 kB of it.
LONG = "<p>Hello</p>\n" + ".\n..dots\n" * 10_000 + '<p><a href="{{ unsubscribe_url }}">No more</a></p>\n'


def _signing(make_house: MakeHouse, folder: Path, **changes: Any) -> House:
    """Return the shop with two keys, in files that are not there yet."""
    keys = [
        {"selector": key.selector, "algorithm": key.algorithm, "private_key": {"file": str(folder / f"{key.selector}.pem")}}
        for key in (rsa_key(), ed25519_key())
    ]
    shop = {"name": "Half Note", "zone": "Europe/Berlin", "region": "DE", "email_from": "hello@shop.example"}
    settings = {"shop": shop, "dkim": keys, **changes.pop("settings", {})}
    return make_house(settings=settings, **changes)


def _write_keys(folder: Path) -> None:
    for key in (rsa_key(), ed25519_key()):
        (folder / f"{key.selector}.pem").write_bytes(private_pem(key))


def test_what_a_mail_server_receives_is_signed(make_house: MakeHouse, tmp_path: Path) -> None:
    _write_keys(tmp_path)
    with smtp_server() as server:
        relay = {"type": "smtp", "host": server.host, "port": server.port, "tls": "none", "hostname": "shop.example"}
        settings = {"deliver": {"email": "relay"}, "gateways": {"relay": relay}}
        house = _signing(make_house, tmp_path, settings=settings, templates={"wake.email.html": LONG})
        house.due(first_name="Zoë & Ко")
        house.due(first_name=None)
        assert house.run().sent == 2
        assert server.violations == []
        assert len(server.messages) == 2
        for received in server.messages:
            assert len(received.content) > 90_000
            assert verdicts(received.content, [rsa_key(), ed25519_key()]) == [True, True]
            assert verdicts(received.content.replace(b"Hello", b"Hallo"), [rsa_key(), ed25519_key()]) == [False, False]


def test_while_a_key_is_missing_letters_wait_and_text_messages_go(make_house: MakeHouse, tmp_path: Path) -> None:
    house = _signing(make_house, tmp_path, settings={"deliver": {"email": "relay"}, "gateways": {"relay": {"type": "outbox"}}})
    relay, texts = Scripted("relay"), Scripted()
    [letter] = house.due()
    [text] = house.due(campaign="care")
    result = house.run({"relay": relay, "outbox": texts})
    assert (relay.ids, texts.ids) == ([], [text])
    [error] = result.errors
    assert "letters cannot be signed (DKIM)" in error
    assert "winback1.pem" in error
    assert house.row(letter).state == "planned"
    assert house.row(letter).attempts == 0
    paused = house.pause()
    assert paused is not None
    assert paused[1] == error  # what `winback status` shows
    _write_keys(tmp_path)
    assert house.run({"relay": relay, "outbox": texts}).errors == []
    assert relay.ids == [letter]
    assert verdicts(relay.arrived[0].content, [rsa_key(), ed25519_key()]) == [True, True]
    assert house.pause() is None


class _Losing(Scripted):
    """Takes the keys away when it is connected: after they were looked at, before the first letter."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    @contextmanager
    def connect(self) -> Iterator[Sender]:
        for path in self.folder.glob("*.pem"):
            path.unlink()
        with super().connect() as sender:
            yield sender


def test_a_key_that_disappears_meanwhile_costs_no_letter(make_house: MakeHouse, tmp_path: Path) -> None:
    _write_keys(tmp_path)
    house = _signing(make_house, tmp_path)
    house.due(3)
    gateway = _Losing(tmp_path)
    with pytest.raises(SigningError, match=r"winback1\.pem cannot be read"):
        house.run(gateway)
    assert gateway.arrived == []
    assert house.states() == {"planned": 3}
