"""Signed tokens: they read back, are short, and nothing else is accepted."""

from __future__ import annotations

import base64
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from winback.compose import tokens
from winback.errors import TokenError

KEY = b"k" * 32
KINDS = st.sampled_from(["click", "open", "unsubscribe"])
NUMBERS = st.integers(0, 2**63 - 1)
MESSAGE = "7f3a2b1c-0d4e-5f60-8a9b-c0d1e2f30415"


@given(KINDS, st.uuids(), NUMBERS)
def test_a_token_reads_back(kind: tokens.Kind, message: UUID, number: int) -> None:
    token = tokens.sign(KEY, kind, str(message), number)
    assert tokens.read(KEY, kind, token) == tokens.Token(str(message), number)
    assert set(token) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


@given(st.uuids(), st.lists(st.one_of(st.integers(0, 500), NUMBERS), max_size=50))
def test_the_tokens_of_a_letters_links_read_back(message: UUID, numbers: list[int]) -> None:
    signed = tokens.Clicks(KEY).sign(str(message), numbers)
    assert [tokens.read(KEY, "click", token) for token in signed] == [tokens.Token(str(message), number) for number in numbers]
    assert set("".join(signed)) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


def test_tokens_that_are_out_in_the_world_are_good_for_ever() -> None:
    # Made by the first version of each kind: letters lie in mailboxes for years.
    for token in ("fzorHA1OX2CKm8DR4vMEFQNDID1vF4qGPsJE", "fzorHA1OX2CKm8DR4vMEFQAAAAAAP5IMD3xUcpNe0Z"):
        assert tokens.read(KEY, "click", token) == tokens.Token(MESSAGE, 3)


def test_a_token_is_short() -> None:
    assert len(tokens.sign(KEY, "open", MESSAGE)) == 36
    assert [len(token) for token in tokens.Clicks(KEY).sign(MESSAGE, [1, 2_000_000])] == [42, 42]
    assert len(tokens.sign(KEY, "click", MESSAGE, 2_000_000)) == 39
    assert len(tokens.sign(KEY, "click", MESSAGE, 2**63 - 1)) <= 48


@given(st.one_of(st.text(), st.text("ABab01-_", min_size=34, max_size=50)))
def test_any_other_text_is_refused_with_one_error(text: str) -> None:
    with pytest.raises(TokenError):
        tokens.read(KEY, "click", text)


@given(st.binary(max_size=40))
def test_any_other_bytes_are_refused_with_one_error(raw: bytes) -> None:
    with pytest.raises(TokenError):
        tokens.read(KEY, "click", base64.urlsafe_b64encode(raw).rstrip(b"=").decode())


@given(st.booleans(), NUMBERS, st.data())
def test_a_changed_character_is_refused(together: bool, number: int, data: st.DataObject) -> None:
    token = tokens.Clicks(KEY).sign(MESSAGE, [number])[0] if together else tokens.sign(KEY, "click", MESSAGE, number)
    position = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_+/= é"))
    changed = token[:position] + other + token[position + 1 :]
    if changed != token:
        with pytest.raises(TokenError):
            tokens.read(KEY, "click", changed)


@given(st.uuids(), st.uuids(), st.integers(0, 100), st.integers(0, 100))
def test_no_link_of_one_letter_opens_another_with_parts_of_others(one: UUID, other: UUID, first: int, second: int) -> None:
    mine, theirs = (tokens.Clicks(KEY).sign(str(message), [number])[0] for message, number in ((one, first), (other, second)))
    for mixed in (mine[:22] + theirs[22:], mine[:28] + theirs[28:]):
        if mixed not in (mine, theirs):
            with pytest.raises(TokenError):
                tokens.read(KEY, "click", mixed)


def test_another_kind_or_key_is_refused() -> None:
    for token in (tokens.sign(KEY, "click", MESSAGE, 3), *tokens.Clicks(KEY).sign(MESSAGE, [3])):
        for key, kind in ((KEY, "open"), (KEY, "unsubscribe"), (b"x" * 32, "click")):
            with pytest.raises(TokenError):
                tokens.read(key, kind, token)


def test_a_longer_spelling_of_the_number_is_refused_even_when_signed() -> None:
    body = UUID(MESSAGE).bytes + b"\x83\x00"  # 3, written in two bytes
    raw = body + tokens._mac(KEY, "click", body)
    with pytest.raises(TokenError):
        tokens.read(KEY, "click", base64.urlsafe_b64encode(raw).rstrip(b"=").decode())


@pytest.mark.parametrize(("message", "number"), [("no uuid", 0), (MESSAGE, -1), (MESSAGE, 2**63)])
def test_what_cannot_be_carried_is_not_signed(message: str, number: int) -> None:
    with pytest.raises(ValueError):
        tokens.sign(KEY, "click", message, number)
