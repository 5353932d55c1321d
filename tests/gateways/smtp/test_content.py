"""The bytes that go out: whatever the content is, it ends where it should and comes out as it went in."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from winback.gateways.smtp.content import Capabilities, wire_form
from winback.gateways.smtp.opening import read_capabilities
from winback.gateways.smtp.replies import Reply


@given(st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b".", b"x", b"\0", b"\xff"]), max_size=12).map(b"".join))
def test_any_content_survives(content: bytes) -> None:
    wire = wire_form(content)
    assert wire.endswith(b"\r\n")
    assert not re.search(rb"\r(?!\n)|(?<!\r)\n", wire)
    assert b"\r\n.\r\n" not in b"\r\n" + wire
    lines = [line.removeprefix(b".") for line in wire.split(b"\r\n")]
    assert all(line.startswith(b"..") or not line.startswith(b".") for line in wire.split(b"\r\n"))
    meant = re.sub(rb"\r\n|\r|\n", b"\r\n", content)
    assert b"\r\n".join(lines) == (meant if meant.endswith(b"\r\n") else meant + b"\r\n")


@pytest.mark.parametrize(
    ("lines", "capabilities"),
    [
        ([], Capabilities()),
        (["PIPELINING", "8bitmime", "SMTPUTF8"], Capabilities(pipelining=True, eight_bit=True, utf8=True)),
        (["SIZE 35882577"], Capabilities(size=35_882_577, names_size=True)),
        (["SIZE 0"], Capabilities(names_size=True)),
        (["SIZE"], Capabilities(names_size=True)),
        (["AUTH PLAIN login", "AUTH=LOGIN XOAUTH2"], Capabilities(auth=frozenset({"PLAIN", "LOGIN", "XOAUTH2"}))),
        (["STARTTLS", "X-UNKNOWN 1 2 3", ""], Capabilities(starttls=True)),
    ],
)
def test_what_a_server_offers_is_read_from_its_reply_to_ehlo(lines: list[str], capabilities: Capabilities) -> None:
    lines = ["mail.test PIPELINING", *lines]
    raw = "\n".join(f"250{' ' if place == len(lines) else '-'}{line}" for place, line in enumerate(lines, start=1))
    assert read_capabilities(Reply(250, raw)) == capabilities
