"""Parts of a text message: the table of FIELD.md, and properties."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from winback import gsm
from winback.compose.sms import count_segments


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", 0),
        ("a", 1),
        ("a" * 160, 1),
        ("a" * 161, 2),
        ("a" * 306, 2),
        ("a" * 307, 3),
        ("]" * 80, 1),
        ("]" * 81, 2),
        ("a" * 152 + "€" + "a" * 152, 3),
        ("a" * 69 + "’", 1),
        ("a" * 70 + "’", 2),
        ("Ж" * 70, 1),
        ("Ж" * 71, 2),
        ("Ж" * 134, 2),
        ("Ж" * 135, 3),
        ("😀" * 35, 1),
        ("😀" * 36, 2),
        ("😀" * 66, 2),
        ("😀" * 67, 3),  # 33 in a part of 67 units: the surrogate pair is not split
    ],
)
def test_parts(text: str, parts: int) -> None:
    assert count_segments(text).count == parts


@pytest.mark.parametrize("character", [*"éèÇñΔ€[]{}\\~^|@£\n\r\f"])
def test_characters_of_the_gsm_alphabet(character: str) -> None:
    assert count_segments(character).encoding == "GSM-7"
    assert count_segments(character).offending is None


@pytest.mark.parametrize("character", ["ê", "ç", "ë", "`", "\t", "\N{NO-BREAK SPACE}", "\N{ESCAPE}", "’", "–", "א", "😀"])
def test_characters_outside_it_are_named(character: str) -> None:
    segments = count_segments(f"Hello {character} and Ж")
    assert (segments.encoding, segments.offending) == ("UCS-2", character)


def test_the_alphabet_has_its_size() -> None:
    assert len(gsm.BASIC) == 127  # 128 less the escape
    assert len(gsm.EXTENSION) == 10


@given(st.text(max_size=700))
def test_parts_are_never_fewer_than_the_units_need_nor_many_more(text: str) -> None:
    segments = count_segments(text)
    whole, part = (160, 153) if segments.encoding == "GSM-7" else (70, 67)
    if segments.characters <= whole:
        assert segments.count == (1 if text else 0)
    else:  # at most one unit of each part stays empty
        assert -(-segments.characters // part) <= segments.count <= -(-segments.characters // (part - 1))
