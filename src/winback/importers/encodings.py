"""Find out in which encoding a file was written."""

from __future__ import annotations

import codecs
import unicodedata
from io import BytesIO, TextIOWrapper
from typing import BinaryIO

from winback.errors import InputError

_CHUNK = 1 << 20

#: From which share of NULs on every other place a text is UTF-16: names may be Chinese, but not the signs between them.
_UTF16_SHARE = 0.05

#: How much text outside ASCII is looked at when a file is not UTF-8.
_SAMPLE = 1 << 16

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)

#: What a file that is not Unicode most likely is where the shop is, should the text itself not tell.
_BY_REGION = {
    **dict.fromkeys(("RU", "BY", "BG", "UA", "RS", "MK", "KZ"), "cp1251"),
    **dict.fromkeys(("PL", "CZ", "SK", "HU", "SI", "HR", "BA", "RO", "AL"), "cp1250"),
    **dict.fromkeys(("LT", "LV", "EE"), "cp1257"),
    **dict.fromkeys(("AE", "SA", "EG", "JO", "KW", "QA", "OM", "BH", "LB", "IQ", "MA", "TN", "DZ"), "cp1256"),
    "GR": "cp1253",
    "TR": "cp1254",
    "IL": "cp1255",
    "VN": "cp1258",
    "TH": "cp874",
    "JP": "cp932",
    "KR": "cp949",
    "CN": "gb18030",
    "TW": "big5",
}

#: Encodings that exports really come in; the detector chooses among them.
_CANDIDATES = [
    *(
        "cp1252",
        "cp1250",
        "cp1251",
        "koi8_r",
        "koi8_u",
        "iso8859_2",
        "iso8859_5",
        "cp866",
        "cp1253",
        "cp1254",
        "cp1255",
        "cp1256",
    ),
    *("cp1257", "cp1258", "cp932", "euc_jp", "cp949", "gb18030", "big5"),
]


#: Scripts with one usual encoding: a file that reads as the shop's own script in it is in it.
_SCRIPTS = {
    "cp1253": ("GREEK ",),
    "cp1255": ("HEBREW ",),
    "cp1256": ("ARABIC ",),
    "cp932": ("CJK UNIFIED", "HIRAGANA ", "KATAKANA "),
    "cp949": ("HANGUL ",),
    "gb18030": ("CJK UNIFIED",),
    "big5": ("CJK UNIFIED",),
    "cp874": ("THAI ",),
}


def detect_encoding(stream: BinaryIO, region: str) -> str:
    """Return the encoding of a file, read in pieces: by its byte order mark, else UTF-8 where it is valid, else the likeliest.

    A file of one byte per letter cannot say what it is: the letters are judged by how well they read as a language, and
    `region` (the shop's country) decides when that tells nothing.
    """
    head = stream.read(4096)
    for mark, name in _MARKS:
        if head.startswith(mark):
            return name
    unmarked = _unmarked_utf16(head)
    if unmarked is not None:
        return unmarked
    decoder = codecs.getincrementaldecoder("utf-8")()
    valid, sample, rest = True, bytearray(), b""
    piece = head
    while piece:
        if valid:
            try:
                decoder.decode(piece)
            except UnicodeDecodeError:
                valid = False
        lines = (rest + piece).split(b"\n")
        rest = lines.pop()[-4096:]
        if len(sample) < _SAMPLE:
            for line in lines:
                if not line.isascii():
                    sample += line + b"\n"
        if not valid and len(sample) >= _SAMPLE:
            break
        piece = stream.read(_CHUNK)
    if not rest.isascii():
        sample += rest
    if valid:
        try:
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            valid = False
    return "utf-8" if valid else _likeliest(bytes(sample[:_SAMPLE]), region)


def _unmarked_utf16(head: bytes) -> str | None:
    """Return the byte order of UTF-16 without a mark: digits, commas and line ends have a NUL, always on the same side."""
    first, second = head[::2].count(0), head[1::2].count(0)
    if max(first, second) <= _UTF16_SHARE * len(head) / 2 or min(first, second) * 10 > max(first, second):
        return None
    name = "utf-16-be" if first > second else "utf-16-le"
    return name if "\n" in head.decode(name, "replace") else None


def _likeliest(sample: bytes, region: str) -> str:
    from charset_normalizer import from_bytes

    home = _BY_REGION.get(region, "cp1252")
    if home in _SCRIPTS and _reads_as(sample, home):
        return home
    matches = from_bytes(sample, cp_isolation=_CANDIDATES, threshold=0.35, language_threshold=0.05)
    best = matches.best()
    if best is None:
        return home
    # Several encodings often give the very same text, or one as likely: then the shop's own is taken.
    for match in matches:
        same = match.chaos <= best.chaos and match.coherence >= best.coherence
        if same and home in {match.encoding, *match.could_be_from_charset}:
            return home
    return str(best.encoding)


def _reads_as(sample: bytes, encoding: str) -> bool:
    try:
        letters = [letter for letter in sample.decode(encoding) if letter.isalpha() and not letter.isascii()]
    except UnicodeDecodeError:
        return False
    own = sum(unicodedata.name(letter, "").startswith(_SCRIPTS[encoding]) for letter in letters)
    return own >= 0.95 * len(letters) > 0


def known_encoding(name: str) -> str:
    """Return the name of an encoding that was said; raise InputError for one that Python does not know."""
    try:
        TextIOWrapper(BytesIO(), encoding=name)  # also refuses codecs that are no encodings of text, such as base64
    except LookupError:
        raise InputError(
            f"there is no encoding {name!r}", "usual ones: utf-8, utf-16, cp1252, cp1250, cp1251, koi8-r, latin-1"
        ) from None
    return name
