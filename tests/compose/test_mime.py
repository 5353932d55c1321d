"""MIME: parsed back without defects, headers whole on the wire, any language, nothing that breaks a header."""

from __future__ import annotations

import quopri
import re
from dataclasses import replace
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.header import decode_header, make_header
from email.message import EmailMessage

import pytest
from hypothesis import given
from hypothesis import strategies as st

from winback.compose.mime import Letter, build, encoded_line, encoded_pieces, encoded_start, encoded_tokens
from winback.errors import RenderError

UNSUBSCRIBE = "https://mail.shop.example/u/" + "A" * 140

LETTER = Letter(
    message_id="6a5b1f0e-8f0c-5b59-9d0f-3c6f6d2b7a51",
    sender_name="Half Note Records",
    sender="hello@shop.example",
    recipient="anna@example.com",
    reply_to="service@shop.example",
    subject="It has been a while",
    text="Hello Anna\n\n.a line that begins with a dot\n" + "long " * 300 + "\n",
    html='<!DOCTYPE html><html><body><p style="color: #123456">Hello Anna</p></body></html>',
    date=datetime(2026, 11, 24, 9, 30, tzinfo=UTC),
    unsubscribe_url=UNSUBSCRIBE,
    list_name="Half Note Records",
    list_label="marketing",
    feedback=("sleeping", "hello", "marketing"),
)

LANGUAGES = {
    "arabic": "وصلنا جديد منذ زيارتك الأخيرة، يا ليلى",
    "hebrew": "מה חדש מאז ביקורך האחרון",
    "russian": "Давно не виделись, Анна: вот что нового у нас",
    "japanese": "お久しぶりです。新着レコードをご覧ください",
    "emoji": "🎷🎺 Something for you 👩‍👩‍👧‍👦 " + "🥁" * 30,
    "german": "Schön, dass du da bist – für dich: 10 € Rabatt",
    "long": "A subject that goes on " * 12,
    "one word": "x" * 200,
    "looks encoded": "=?utf-8?q?not_really?=",
    "quotes": 'He said "hello", (twice) <really> \\o/',
}


def _parse(content: bytes) -> EmailMessage:
    message = message_from_bytes(content, policy=policy.default)
    assert isinstance(message, EmailMessage)
    for part in message.walk():
        assert part.defects == [], part.defects
        assert all(not header.defects for header in part.values()), part.items()
    return message


def _part(message: EmailMessage, kind: str) -> str:
    body = message.get_body((kind,))
    assert body is not None
    return str(body.get_content()).replace("\r\n", "\n")


@pytest.mark.parametrize("text", LANGUAGES.values(), ids=LANGUAGES)
def test_any_language_comes_back_as_it_was(text: str) -> None:
    letter = replace(LETTER, subject=text, sender_name=text[:10].strip(), text=text + "\n", html=f"<p>{text}</p>")
    content = build(letter)
    message = _parse(content)
    assert message["Subject"] == " ".join(text.split())
    assert message["From"].addresses[0].display_name == text[:10].strip()
    assert message["From"].addresses[0].addr_spec == "hello@shop.example"
    assert _part(message, "plain") == text + "\n"
    assert _part(message, "html") == f"<p>{text}</p>\n"
    assert content.isascii()


@pytest.mark.parametrize("name", LANGUAGES.values(), ids=LANGUAGES)
def test_a_long_name_is_written_in_several_words(name: str) -> None:
    """Read by the older reader of the standard library: the newer one puts spaces between them (against RFC 2047, 6.2)."""
    sender = message_from_bytes(build(replace(LETTER, sender_name=name)))["From"]
    assert str(make_header(decode_header(sender))).replace('"', "").replace("\\", "") == (
        " ".join(name.split()).replace('"', "").replace("\\", "") + " <hello@shop.example>"
    )


def test_headers_are_whole_on_the_wire() -> None:
    content = build(LETTER)
    head = content.partition(b"\r\n\r\n")[0]
    assert f"List-Unsubscribe: <{UNSUBSCRIBE}>\r\n".encode() in head
    assert b"\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n" in head
    assert b"\r\nMessage-ID: <6a5b1f0e-8f0c-5b59-9d0f-3c6f6d2b7a51@shop.example>\r\n" in head
    assert b"\r\nAuto-Submitted: auto-generated\r\n" in head
    message = _parse(content)
    assert message["List-Unsubscribe"] == f"<{UNSUBSCRIBE}>"
    assert message["List-Id"] == "Half Note Records <marketing.shop.example>"
    assert message["Reply-To"] == "service@shop.example"
    assert message["Date"].datetime == LETTER.date
    assert message["To"] == "anna@example.com"
    assert message["Feedback-ID"].split(":")[:3] == ["sleeping", "hello", "marketing"]


def test_the_same_letter_is_the_same_bytes() -> None:
    assert build(LETTER) == build(LETTER)


def test_lines_are_short_and_end_with_crlf() -> None:
    for letter in (LETTER, replace(LETTER, html="<p>" + "Ж" * 5000 + "</p>", subject="Ж" * 300)):
        content = build(letter)
        assert content.endswith(b"\r\n")
        assert not re.search(rb"(?<!\r)\n|\r(?!\n)", content)
        body = content.partition(b"\r\n\r\n")[2]
        assert max(map(len, body.split(b"\r\n"))) <= 76
        headers = content.partition(b"\r\n\r\n")[0].split(b"\r\n")
        assert max(len(line) for line in headers if not line.startswith(b"List-Unsubscribe:")) <= 78


def test_the_shorter_of_two_encodings_is_used() -> None:
    assert b"quoted-printable" in build(LETTER)
    assert b"quoted-printable" not in build(replace(LETTER, text="Жж" * 200, html="<p>" + "Жж" * 200 + "</p>"))


def test_a_letter_may_have_no_html() -> None:
    message = _parse(build(replace(LETTER, html=None)))
    assert message.get_content_type() == "text/plain"
    assert message.get_content().replace("\r\n", "\n") == LETTER.text


@pytest.mark.parametrize("evil", ["x\r\nBcc: all@example.com", "x\nBcc: y", "x\0y", "x\u2028y", "\r\n\r\nbody", "x\x85Bcc: y"])
def test_nothing_in_a_header_begins_another(evil: str) -> None:
    message = _parse(build(replace(LETTER, subject=evil, sender_name=evil, list_name=evil)))
    assert message["Bcc"] is None
    assert set(message.keys()) == set(_parse(build(LETTER)).keys())
    assert _part(message, "plain") == LETTER.text


@pytest.mark.parametrize(
    "address", ["", "anna", "anna@", "an na@example.com", "a@b.c\r\nBcc: x@y.z", "ü@example.com", "<a@b.c>", "a@b.c,d@e.f"]
)
def test_an_address_that_could_break_a_header_is_refused(address: str) -> None:
    for field in ("recipient", "sender"):
        with pytest.raises(RenderError):
            build(replace(LETTER, **{field: address}))


@given(subject=st.text(min_size=1, max_size=120), text=st.text(max_size=300), name=st.text(max_size=40))
def test_whatever_people_are_called(subject: str, text: str, name: str) -> None:
    message = _parse(build(replace(LETTER, subject=f"a{subject}", text=text, sender_name=name)))
    assert message["Subject"].startswith("a")
    assert message["To"] == "anna@example.com"
    assert [part.get_content_type() for part in message.iter_parts()] == ["text/plain", "text/html"]


_PIECE = st.text(st.sampled_from(list('ab =.\n\té🎷"<>&_-')), max_size=200)
_VALUE = st.text(st.sampled_from(list('ab =.\té🎷"<>&_-')), max_size=200)


@given(st.lists(_PIECE, min_size=1, max_size=4), st.lists(_VALUE, min_size=3, max_size=3))
def test_pieces_with_values_between_them_read_like_the_whole(literals: list[str], values: list[str]) -> None:
    pieces = [piece for literal in literals for piece in (literal, "")][:-1]
    encoded = encoded_pieces("text/plain", pieces)
    if encoded is None:
        return  # shorter in base64
    whole = list(pieces)
    whole[1::2] = values[: len(literals) - 1]
    encoded[1::2] = map(encoded_line, whole[1::2])
    head, _, body = b"".join(encoded).partition(b"\r\n\r\n")
    assert b"quoted-printable" in head
    # A value at the end keeps its line ends; pieces at the end lose theirs, as a whole part does.
    last = whole.pop().rstrip("\n")
    assert quopri.decodestring(body).decode() == ("".join(whole) + last).replace("\n", "\r\n") + "\r\n"
    assert [line for line in body.split(b"\r\n") if len(line) > 76 or line.startswith(b".")] == []


@given(st.text("ABab01-_", min_size=36, max_size=48), st.text("https://mail.example=/.é", max_size=80))
def test_a_token_reads_the_same_after_whatever_start(token: str, start: str) -> None:
    [ended] = encoded_tokens([token])
    assert ended == encoded_line(token)
    written = encoded_start(start) + ended
    assert quopri.decodestring(written).decode() == start + token
    assert [line for line in written.split(b"\r\n") if len(line) > 76 or line.startswith(b".")] == []
