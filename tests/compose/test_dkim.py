"""Signatures: verified by another implementation, by the published examples, and invalid once anything is changed."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from email import message_from_bytes, policy
from hashlib import sha256
from pathlib import Path

import pytest
from dkim.canonicalization import Relaxed
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.compose.signatures import ed25519_key, rsa_key, tags, verdicts
from tests.compose.test_mime import LANGUAGES, LETTER, UNSUBSCRIBE
from winback.compose.dkim import COVERED, Signer, relaxed_body, relaxed_fields
from winback.compose.dkim_keys import SigningKey, read_private_key
from winback.compose.mime import Letter, build

CASES = Path(__file__).resolve().parents[1] / "cases" / "dkim"
AT = datetime(2026, 11, 24, 9, 30, tzinfo=UTC)
KEYS = {"rsa": rsa_key, "ed25519": ed25519_key}


@pytest.fixture(params=KEYS)
def key(request: pytest.FixtureRequest) -> SigningKey:
    return KEYS[request.param]()


def _saying(text: str) -> Letter:
    return replace(LETTER, subject=text, sender_name=text, text=text, html=f"<p>{text}</p>")


LETTERS = {
    **{name: _saying(text) for name, text in LANGUAGES.items()},
    "90 kB": replace(LETTER, html="<p>" + "Seltene Pressungen, frisch eingetroffen – für dich. " * 1700 + "</p>"),
    "empty": replace(LETTER, text="", html=""),
    "text only": replace(LETTER, html=None),
    "empty text only": replace(LETTER, text="", html=None),
    "dot lines": replace(LETTER, text=".\n..\n.begins\n" * 20, html="<p>\n.\n..\n</p>"),
    "white space at ends": replace(LETTER, text="spaces   \ntab\t\n \n\t\n\n\n", html="<p>  \n\n  x \t </p> \n\n \n"),
    "no answers elsewhere": replace(LETTER, reply_to=None),
}


@pytest.mark.parametrize("letter", LETTERS.values(), ids=LETTERS)
def test_every_letter_verifies(letter: Letter, key: SigningKey) -> None:
    content = build(letter)
    signed = Signer([key]).sign(content, AT)
    assert verdicts(signed, [key]) == [True]
    assert signed.endswith(b"\r\n" + content)
    assert signed.isascii()
    message = message_from_bytes(signed, policy=policy.default)
    for part in message.walk():
        assert part.defects == []
        assert all(not header.defects for header in part.values())
    head = signed[: -len(content)].split(b"\r\n")
    assert max(map(len, head)) <= 78


_ANY_TEXT = st.text(st.characters() | st.sampled_from(" \t\r\n.="), max_size=200)


@settings(max_examples=60, deadline=None)
@given(subject=_ANY_TEXT, name=_ANY_TEXT, shop=_ANY_TEXT, text=_ANY_TEXT, html=st.none() | _ANY_TEXT)
def test_whatever_a_letter_says_it_verifies(subject: str, name: str, shop: str, text: str, html: str | None) -> None:
    letter = replace(LETTER, subject=f"a{subject}", sender_name=name, list_name=f"a{shop}", text=text, html=html)
    keys = [rsa_key(), ed25519_key()]
    assert verdicts(Signer(keys).sign(build(letter), AT), keys) == [True, True]


def test_what_a_signature_says(key: SigningKey) -> None:
    said = tags(Signer([key]).sign(build(LETTER), AT))
    assert (said["v"], said["a"], said["c"]) == ("1", f"{key.algorithm}-sha256", "relaxed/relaxed")
    assert (said["d"], said["s"]) == (key.domain, key.selector)
    assert said["t"] == "1795512600"
    assert "l" not in said  # the whole body
    assert {"From", "List-Unsubscribe", "List-Unsubscribe-Post"} <= set(COVERED)
    assert sorted(said["h"].split(":")) == sorted(COVERED * 2)


def test_two_keys_sign_beside_each_other() -> None:
    keys = [rsa_key(), ed25519_key()]
    signed = Signer(keys).sign(build(LETTER), AT)
    assert [tags(signed, place)["a"] for place in (0, 1)] == ["rsa-sha256", "ed25519-sha256"]
    assert verdicts(signed, keys) == [True, True]
    # Who cannot verify one is told by the other.
    assert verdicts(signed, [rsa_key()]) == [True, False]


def test_the_same_letter_at_the_same_time_is_the_same_bytes(key: SigningKey) -> None:
    content = build(LETTER)
    assert Signer([key]).sign(content, AT) == Signer([key]).sign(content, AT)


def _inserted(line: bytes) -> Callable[[bytes], bytes]:
    """Return a change that puts a header above the letter's own, below the signature."""
    return lambda signed: signed.replace(b"\r\nFrom: ", b"\r\n" + line + b"\r\nFrom: ", 1)


def _without(name: bytes) -> Callable[[bytes], bytes]:
    return lambda signed: re.sub(rb"(?m)^" + name + rb": [^\r]*\r\n", b"", signed, count=1)


TAMPERED: dict[str, Callable[[bytes], bytes]] = {
    "a letter of the body": lambda signed: signed.replace(b"Hello Anna", b"Hello Otto", 1),
    "more body": lambda signed: signed + b"Click here.\r\n",
    "less body": lambda signed: signed.replace(b"<p style", b"<p", 1),
    "the subject": lambda signed: signed.replace(b"It has been a while", b"It has been a whale", 1),
    "the sender": lambda signed: signed.replace(b"From: Half Note", b"From: Half Moon", 1),
    "the recipient": lambda signed: signed.replace(b"To: anna@", b"To: otto@", 1),
    "where to unsubscribe": lambda signed: signed.replace(UNSUBSCRIBE.encode(), b"https://evil.example/u/" + b"A" * 140, 1),
    "no way to unsubscribe": _without(b"List-Unsubscribe"),
    "no one-click": _without(b"List-Unsubscribe-Post"),
    "another kind of content": lambda signed: signed.replace(b"multipart/alternative", b"multipart/mixed", 1),
    **{f"a second {name}": _inserted(f"{name}: evil@example.org".encode()) for name in COVERED},
}


@pytest.mark.parametrize("change", TAMPERED.values(), ids=TAMPERED)
def test_nothing_can_be_changed(change: Callable[[bytes], bytes], key: SigningKey) -> None:
    signed = Signer([key]).sign(build(LETTER), AT)
    changed = change(signed)
    assert changed != signed
    assert verdicts(changed, [key]) == [False]


def test_a_reply_address_that_the_letter_does_not_have_cannot_be_added(key: SigningKey) -> None:
    signed = Signer([key]).sign(build(replace(LETTER, reply_to=None)), AT)
    assert verdicts(_inserted(b"Reply-To: evil@example.org")(signed), [key]) == [False]


def test_headers_that_are_there_twice_are_both_signed(key: SigningKey) -> None:
    content = build(LETTER).replace(b"\r\nTo: ", b"\r\nTo: otto@example.com\r\nTo: ", 1)
    signed = Signer([key]).sign(content, AT)
    assert verdicts(signed, [key]) == [True]
    assert verdicts(signed.replace(b"To: otto@", b"To: evil@", 1), [key]) == [False]


def test_what_relays_do_to_white_space_does_no_harm(key: SigningKey) -> None:
    signed = Signer([key]).sign(build(replace(LETTER, html=None, text="two  spaces and more\n")), AT)
    changed = signed.replace(b"two  spaces", b"two spaces").replace(b"Subject: It has", b"subject:  It\r\n  has") + b"\r\n"
    assert verdicts(changed, [key]) == [True]


# RFC 6376 and RFC 8463


def test_the_examples_of_rfc_6376() -> None:
    """Section 3.4.5, and the hash of an empty body in section 3.4.4."""
    assert relaxed_fields(b"A: X\r\nB : Y\t\r\n\tZ  ") == [(b"a", b"X"), (b"b", b"Y Z")]
    assert relaxed_body(b" C \r\nD \t E\r\n\r\n\r\n") == b" C\r\nD E\r\n"
    assert b64encode(sha256(relaxed_body(b"")).digest()) == b"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="


@given(st.lists(st.text(" \tab.=", max_size=12), max_size=8), st.booleans())
def test_bodies_are_canonical_as_elsewhere(lines: list[str], ended: bool) -> None:
    body = "\r\n".join(lines).encode() + (b"\r\n" if ended else b"")
    on_the_wire = body if body.endswith(b"\r\n") or not body else body + b"\r\n"  # SMTP ends every line
    theirs = Relaxed.canonicalize_body(on_the_wire)
    assert relaxed_body(body) == (b"" if theirs == b"\r\n" else theirs)  # dkimpy keeps a line of an empty body


@pytest.mark.parametrize(
    ("place", "text"),
    [(0, "nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A="), (1, (CASES / "rfc8463-rsa.pem").read_text())],
    ids=["ed25519", "rsa"],
)
def test_the_signatures_of_rfc_8463(place: int, text: str) -> None:
    """Appendix A: with the published keys, what is signed comes out as published, byte for byte."""
    content = (CASES / "rfc8463.eml").read_bytes().replace(b"\n", b"\r\n")
    head, _, body = content.partition(b"\r\n\r\n")
    fields = relaxed_fields(head)
    own = [value for name, value in fields if name == b"dkim-signature"][place]
    said = tags(content, place)
    assert b64encode(sha256(relaxed_body(body)).digest()).decode() == said["bh"]
    values = dict(fields)
    names = dict.fromkeys(said["h"].split(":"))  # the second of each name is not there: oversigned
    covered = b"".join(b"%b:%b\r\n" % (name.encode(), values[name.encode()]) for name in names)
    unsigned = own[: own.index(b" b=") + len(b" b=")]
    algorithm = "ed25519" if place == 0 else "rsa"
    key = SigningKey("football.example.com", said["s"], algorithm, read_private_key(text))
    signature = key.sign(covered + b"dkim-signature:" + unsigned)
    assert b64encode(signature).decode() == said["b"]
