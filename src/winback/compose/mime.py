"""RFC 5322 bytes, built by hand: 7-bit safe, CRLF, no line over 76 in the body, and long header words left whole.

`email.policy.SMTP` turns a header word longer than a line, such as every signed List-Unsubscribe address, into encoded-words
(python/cpython#85725), after which no mail reader offers to unsubscribe. It also takes 2 to 4 ms a message.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime
from functools import lru_cache

from winback.errors import RenderError
from winback.gateways.base import WireForm

_LINE = 76  # characters, RFC 2047 section 2 for encoded-words, RFC 2045 section 6.7 for bodies
_LONGEST_LINE = 998  # characters, RFC 5322 section 2.1.1
_ADDRESS = re.compile(r"[!#-'*+\-/-9=?A-Z^-~]+(?:\.[!#-'*+\-/-9=?A-Z^-~]+)*@[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?\Z")
_URL = re.compile(r"[!-;=?-~]+\Z")
_TOKEN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\Z")
#: C0 and C1 controls, line and paragraph separators, and halves of surrogate pairs: none belongs into a header.
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")
_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]*\Z")
#: Half-pairs cannot be written in UTF-8, and NUL is not allowed in mail at all.
_UNWRITABLE = re.compile("[\ud800-\udfff]")
_REPLACEMENT = "\ufffd".encode()


@dataclass(slots=True)  # not frozen: one is made for each letter, and its many parts would take several times as long
class Letter:
    """Everything that a mail's bytes are made of. Addresses are bare and ASCII, names and texts any Unicode."""

    message_id: str  # of the ledger; Message-ID derives from it and never changes
    sender_name: str
    sender: str
    recipient: str
    reply_to: str | None
    subject: str
    text: str | bytes  # or a body part, encoded and with its headers
    html: str | bytes | None
    date: datetime
    unsubscribe_url: str
    list_name: str  # shown by mail readers
    list_label: str  # what a person leaves by unsubscribing, such as "marketing"
    feedback: tuple[str, ...]  # campaign, step, purpose: Gmail's complaint statistics by each


def build(letter: Letter) -> bytes:
    """Return the letter as the bytes that go over the wire; raise RenderError for an address that could break a header."""
    common, domain = _common_headers(
        letter.sender_name, letter.sender, letter.reply_to, letter.list_name, letter.list_label, letter.feedback
    )
    own = (
        ("To", _address(letter.recipient)),
        ("Subject", _unstructured("Subject", letter.subject)),
        ("Date", _date(letter.date)),
        ("Message-ID", f"<{_token(letter.message_id)}@{domain}>"),
        # RFC 2369 and RFC 8058: both headers, and the address whole.
        ("List-Unsubscribe", f"<{_url(letter.unsubscribe_url)}>"),
    )
    head = (common + _written(own)).encode("ascii")
    text = _part("text/plain", letter.text)
    if letter.html is None:
        return head + text
    # "=_" occurs neither in base64 nor in quoted-printable (RFC 2045 section 6.7).
    boundary = f"=_{letter.message_id.replace('-', '')}"
    edge = f"--{boundary}".encode()
    content = b"".join(
        (
            head,
            f'Content-Type: multipart/alternative;\r\n boundary="{boundary}"\r\n\r\n'.encode(),
            *(edge, b"\r\n", text, b"\r\n"),
            *(edge, b"\r\n", _part("text/html", letter.html), b"\r\n"),
            *(edge, b"--\r\n"),
        )
    )
    # No header's line begins with a dot, and no line of a part that was encoded beforehand.
    return WireForm(content) if isinstance(letter.text, bytes) and isinstance(letter.html, bytes) else content


@lru_cache(maxsize=256)
def _common_headers(
    sender_name: str, sender: str, reply_to: str | None, list_name: str, list_label: str, feedback: tuple[str, ...]
) -> tuple[str, str]:
    """Return the headers that are the same in all letters of a campaign's step, and the sender's domain."""
    domain = _address(sender).rpartition("@")[2]
    headers = _written(
        (
            ("From", _named("From", sender_name, sender) if sender_name.strip() else sender),
            *([("Reply-To", _address(reply_to))] if reply_to else []),
            ("List-Unsubscribe-Post", "List-Unsubscribe=One-Click"),
            ("List-Id", _named("List-Id", list_name, f"{_token(list_label)}.{domain}")),
            # RFC 3834 section 5: sent by a program at its own time, marketing and service alike; automatic answers stay away.
            ("Auto-Submitted", "auto-generated"),
            ("Feedback-ID", _feedback(feedback, domain)),
            ("MIME-Version", "1.0"),
        )
    )
    return headers, domain


def _written(headers: Sequence[tuple[str, str]]) -> str:
    return "".join([f"{name}: {_checked(value)}\r\n" for name, value in headers])


def single_line(value: str) -> str:
    """Return a header's text on one line: control characters and white space folded into single spaces."""
    if value.isprintable() and "  " not in value and value.strip(" ") == value:
        return value
    return " ".join(_CONTROLS.sub(" ", value).split())


def _part(kind: str, content: str | bytes) -> bytes:
    """Return one body part with its headers, in whichever of quoted-printable and base64 is shorter; bytes are one already."""
    if isinstance(content, bytes):
        return content
    if "\r" in content:
        content = content.replace("\r\n", "\n").replace("\r", "\n")
    normalised = content.rstrip("\n").replace("\n", "\r\n") + "\r\n"
    try:
        raw = normalised.encode("utf-8")
    except UnicodeEncodeError:
        raw = _UNWRITABLE.sub("\ufffd", normalised).encode("utf-8")
    raw = raw.replace(b"\x00", _REPLACEMENT)
    if _is_short_quoted(raw):
        return _part_head(kind, "quoted-printable") + _quoted_printable(raw)
    return _part_head(kind, "base64") + _base64_lines(raw)


def _is_short_quoted(raw: bytes) -> bool:
    """Say whether quoted-printable makes less of it than base64."""
    escapes = len(raw) - len(raw.translate(None, _NEEDS_ESCAPE))
    return 2 * escapes < len(raw) / 3


def _part_head(kind: str, encoding: str) -> bytes:
    return f'Content-Type: {kind}; charset="utf-8"\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n'.encode()


_NEEDS_ESCAPE = bytes([*range(9), 11, 12, *range(14, 32), ord("="), *range(127, 256)])


def encoded_pieces(kind: str, pieces: Sequence[str]) -> list[bytes] | None:
    """Return the pieces of a body part in quoted-printable, the headers before the first, to be joined with encoded values.

    Every other piece is a place for a value. Return None for a part that is shorter in base64, or cannot be written.
    """
    raw = "".join(pieces)
    if "\r" in raw or "\x00" in raw or _UNWRITABLE.search(raw) or not _is_short_quoted(raw.encode("utf-8")):
        return None
    encoded = [_closed(piece.replace("\n", "\r\n").encode("utf-8")) for piece in pieces[:-1]]
    last = pieces[-1].rstrip("\n")
    encoded.append(_closed(last.replace("\n", "\r\n").encode("utf-8")) + b"\r\n")
    encoded[0] = _part_head(kind, "quoted-printable") + encoded[0]
    return encoded


def encoded_line(value: str) -> bytes:
    """Return a text of one line that stands between two pieces; as they do, it begins a line, and ends one that goes on."""
    raw = value.encode("utf-8")
    if len(raw) < _LINE and raw.isascii() and b"=" not in raw and not raw.startswith(b"."):
        return raw + b"=\r\n"
    return _closed(raw)


@lru_cache(maxsize=64)
def encoded_start(start: str) -> bytes:
    """Return the start of a text of one line, right before a token of `encoded_tokens`, of 48 characters at most."""
    encoded = encoded_line(start)
    return start.encode() if len(start) < _LINE - 48 and encoded == start.encode() + b"=\r\n" else encoded


def encoded_tokens(tokens: Sequence[str]) -> list[bytes]:
    """Do as `encoded_line` for words of letters, digits, `-` and `_` that fit into a line."""
    return ("=\r\n\0".join(tokens) + "=\r\n").encode("ascii").split(b"\0")


def _closed(raw: bytes) -> bytes:
    """Return quoted-printable that ends with a line's end, a soft one where the text has none (RFC 2045 section 6.7, rule 5)."""
    if not raw:
        return b""
    body = _quoted_printable(raw)
    if b"\n" not in raw:
        body = body.replace(b"\n", b"\r\n")  # binascii breaks lines as the text does, with LF where it has none
    # Dots that begin a line would be doubled on the wire, which takes time: each becomes a line of its own.
    return _LEADING_DOTS.sub(lambda dots: b"=2E=\r\n" * len(dots[0]), _ended(body))


_LEADING_DOTS = re.compile(rb"^\.+", re.MULTILINE)


def _ended(body: bytes) -> bytes:
    start = body.rfind(b"\r\n") + 2 if b"\r\n" in body else 0
    if start == len(body):
        return body
    end = len(body)
    if end - start >= _LINE:
        end = start + _LINE - 1
        escape = body.rfind(b"=", end - 2, end)
        end = end if escape < 0 else escape
        return body[:end] + b"=\r\n" + body[end:] + b"=\r\n"
    return body + b"=\r\n"


def _quoted_printable(raw: bytes) -> bytes:
    body = binascii.b2a_qp(raw, quotetabs=False, istext=True)
    # A space at the end of a full line is written =20 past the limit (RFC 2045 section 6.7, rule 5): break before it.
    return _LONG_TAIL.sub(rb"\1=\r\n\2", body) if b"=20\r\n" in body or b"=09\r\n" in body else body


_LONG_TAIL = re.compile(rb"^([^\r\n]{74,76})(=20|=09)(?=\r$)", re.MULTILINE)


def _base64_lines(raw: bytes) -> bytes:
    encoded = b64encode(raw)
    return b"".join(encoded[start : start + _LINE] + b"\r\n" for start in range(0, len(encoded), _LINE))


def _unstructured(name: str, value: str) -> str:
    """Return a header's text, folded; as encoded-words (RFC 2047) when it is not plain ASCII that fits."""
    text = single_line(value)
    room = _LINE - len(name) - 2
    if len(text) <= room and text.isascii() and "=?" not in text:
        return text
    if not text.isascii() or "=?" in text or max(map(len, text.split(" "))) > room:
        return _encoded_words(text, room)
    lines = [""]
    for word in text.split(" "):
        limit = room if len(lines) == 1 else _LINE - 1
        if lines[-1] and len(lines[-1]) + 1 + len(word) > limit:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}" if lines[-1] else word
    return "\r\n ".join(lines)


def _named(name: str, phrase: str, address: str) -> str:
    return f"{_phrase(name, phrase)} <{address}>"


@lru_cache(maxsize=256)
def _date(moment: datetime) -> str:
    return format_datetime(moment)


def _phrase(name: str, value: str) -> str:
    """Return a display name: as it is, quoted, or as encoded-words (RFC 5322 section 3.2.5)."""
    text = single_line(value)
    room = _LINE - len(name) - 2
    if not text.isascii() or "=?" in text or len(text) > room - 4:
        return _encoded_words(text, room) + "\r\n"  # what follows begins a line of its own
    if _ATOMS.match(text):
        return text
    return '"' + text.replace("\\", r"\\").replace('"', r"\"") + '"'


def _encoded_words(text: str, room: int) -> str:
    """Return base64 encoded-words of at most 75 characters, each of whole characters, one to a line."""
    words: list[str] = []
    chunk = b""
    for character in text:
        encoded = character.encode("utf-8")
        limit = (min(room, 75) if not words else 75) - len("=?utf-8?b??=")
        if 4 * -(-(len(chunk) + len(encoded)) // 3) > limit:
            words.append(f"=?utf-8?b?{b64encode(chunk).decode('ascii')}?=")
            chunk = b""
        chunk += encoded
    words.append(f"=?utf-8?b?{b64encode(chunk).decode('ascii')}?=")
    return "\r\n ".join(words)


def _feedback(parts: tuple[str, ...], domain: str) -> str:
    """Return Gmail's Feedback-ID: up to three names of ours, then the sender's, 5 to 15 characters and always the same."""
    names = [re.sub(r"[^A-Za-z0-9_.-]", "-", part)[:40] for part in parts[:3]]
    sender = re.sub(r"[^a-z0-9]", "", domain.lower())[:15].ljust(5, "0")
    return ":".join((*names, sender))


def _address(value: str) -> str:
    if not _ADDRESS.match(value) or len(value) > 254:
        raise RenderError("an e-mail address cannot be written in a header", "correct the address, and import it again")
    return value


def _token(value: str) -> str:
    if not _TOKEN.match(value):
        raise RenderError(f"{value!r} cannot be part of a header", "use letters, digits, dots, hyphens and underscores")
    return value


def _url(value: str) -> str:
    if not _URL.match(value) or len(value) > _LONGEST_LINE - len("List-Unsubscribe: <>"):
        raise RenderError("the unsubscribe address cannot be written in a header", "look at web.public_url in config.toml")
    return value


def _checked(value: str) -> str:
    """Return a finished header value; the last line of defence against a line break that begins another header."""
    if value.isascii() and value.isprintable() and value.strip():
        return value
    if any(not line.isascii() or not line.isprintable() or not line.strip() for line in value.split("\r\n ")):
        raise RenderError("a header holds a line break or a control character", "look at names and subject")
    return value
