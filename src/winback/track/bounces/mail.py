"""Take a mail apart that anybody may have written, in bounded time and space.

The standard library's parser follows every nesting as deep as it goes, and knows charsets that take minutes; what is needed here
is less: headers, the first parts, and the text of each. Nothing in a mail makes this fail.
"""

from __future__ import annotations

import binascii
import quopri
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.errors import HeaderParseError
from email.header import decode_header
from email.message import Message
from email.parser import BytesHeaderParser
from email.utils import getaddresses, parsedate_to_datetime
from itertools import islice

#: Bytes of a mail that are looked at. A bounce tells everything in its first part, then quotes a letter of at most 100 kB.
LARGEST = 256 * 1024

_PARTS = 50  # of all levels together, those that only hold others included
_HEADER = 2000  # letters of a header that are looked at
_HEADERS = 64 * 1024  # bytes of all headers of a mail or a part

_BLANK_LINE = re.compile(rb"\r?\n\r?\n|\A\r?\n")
_TYPE = re.compile(r"\s*([\w.+-]{1,60}/[\w.+-]{1,60})")
_BOUNDARY = re.compile(r'boundary\s*=\s*(?:"([^"]{1,200})"|([^\s;"]{1,200}))', re.IGNORECASE)
_CHARSET = re.compile(r"charset\s*=\s*[\"']?([\w.:+-]{1,40})", re.IGNORECASE)

#: Names of real charsets. Python also knows codecs by name that are none, and some that take very long (punycode, idna).
_REAL = re.compile(
    r"(?:us-?)?ascii|utf-?(?:7|8|16|32)(?:-?[bl]e)?|(?:iso|latin|windows|cp|ibm|koi|mac|gb|big5|hz|euc|shift|s?jis|ks|tis)[\w.:-]*",
    re.IGNORECASE,
)

_CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


@dataclass(frozen=True)
class Part:
    """A part of a mail that holds no others: its type in lower case, and its text, lines ended by LF."""

    kind: str
    text: str


@dataclass(frozen=True)
class Mail:
    """A mail's headers and its parts, in their order."""

    headers: Message
    parts: tuple[Part, ...]

    def header(self, name: str) -> str:
        """Return a header as one line of readable text; '' where it is not there."""
        return header_text(self.headers, name)

    def address(self, name: str) -> str:
        """Return the first address of a header; '' where there is none."""
        found = getaddresses([self.header(name)])
        return next((address for _, address in found if "@" in address), "")

    @property
    def at(self) -> datetime | None:
        """Return when it says it was written."""
        try:
            moment = parsedate_to_datetime(self.header("Date"))
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
        except (ValueError, TypeError, OverflowError, IndexError):
            return None

    def text_of(self, *kinds: str) -> str:
        """Return the text of all parts of these types, a line between each."""
        return "\n".join(part.text for part in self.parts if part.kind in kinds)


def read_mail(content: bytes) -> Mail:
    """Return the headers and parts of a mail, as far as its first bytes (`LARGEST`) go."""
    head, body = _divided(content[:LARGEST])
    headers = read_headers(head)
    return Mail(headers, tuple(_parts(headers, body)))


def read_headers(head: bytes) -> Message:
    """Return the headers in these bytes."""
    return BytesHeaderParser().parsebytes(head[:_HEADERS])


def header_text(headers: Message, name: str) -> str:
    """Return a header as one line of readable text; '' where it is not there."""
    raw = _raw(headers, name)
    try:
        pieces = [piece if isinstance(piece, str) else _decoded(piece, charset or "") for piece, charset in decode_header(raw)]
    except (HeaderParseError, binascii.Error, ValueError):
        pieces = [raw]
    return " ".join(_CONTROLS.sub("", "".join(pieces)).split())


def _raw(headers: Message, name: str) -> str:
    """Return a header's beginning as it stands; many write UTF-8 there, which the standard library takes for nonsense."""
    found = next((value for key, value in headers.raw_items() if key.lower() == name.lower()), "")
    return str(found)[:_HEADER].encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _divided(content: bytes) -> tuple[bytes, bytes]:
    found = _BLANK_LINE.search(content)
    return (content, b"") if found is None else (content[: found.start()], content[found.end() :])


def _parts(headers: Message, body: bytes) -> Iterator[Part]:
    waiting = [(headers, body)]
    for _ in range(_PARTS):
        if not waiting:
            return
        headers, body = waiting.pop()
        kind, parameters = _kind(headers)
        boundary = _BOUNDARY.search(parameters)
        if kind.startswith("multipart/") and boundary is not None:
            pieces = islice(_pieces(body, (boundary[1] or boundary[2]).encode("utf-8", "replace")), _PARTS)
            inside = [(read_headers(head), rest) for head, rest in map(_divided, pieces)]
            waiting += reversed(inside)
        else:
            charset = _CHARSET.search(parameters)
            encoding = header_text(headers, "Content-Transfer-Encoding").lower()
            text = _decoded(_unwrapped(body, encoding), charset[1] if charset else "")
            yield Part(kind, _CONTROLS.sub("", text.replace("\r\n", "\n").replace("\r", "\n")))


def _kind(headers: Message) -> tuple[str, str]:
    """Return the type of a mail or a part in lower case, and its header's whole text."""
    raw = _raw(headers, "Content-Type")
    found = _TYPE.match(raw)
    return (found[1].lower() if found else "text/plain"), raw


def _pieces(body: bytes, boundary: bytes) -> Iterator[bytes]:
    """Give what stands between the lines of a boundary (RFC 2046 section 5.1.1), also where its end is missing."""
    lines = re.compile(rb"(?:\A|\r?\n)--" + re.escape(boundary) + rb"(--)?[ \t]*(?=\r?\n|\Z)")
    begin = None
    for found in lines.finditer(body):
        if begin is not None:
            yield body[begin : found.start()]
        if found[1]:
            return
        line_end = body.find(b"\n", found.end())
        begin = len(body) if line_end < 0 else line_end + 1
    if begin is not None:
        yield body[begin:]


def _unwrapped(body: bytes, encoding: str) -> bytes:
    if encoding == "quoted-printable":
        return quopri.decodestring(body)
    if encoding == "base64":
        try:
            return binascii.a2b_base64(body + b"==")  # what was cut off has lost its padding
        except binascii.Error:
            return body
    return body


def _decoded(raw: bytes, charset: str) -> str:
    if _REAL.fullmatch(charset) is not None:
        try:
            return raw.decode(charset, "replace")
        except (LookupError, ValueError):
            pass
    return raw.decode("utf-8", "replace")
