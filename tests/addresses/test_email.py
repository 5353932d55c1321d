"""E-mail addresses are written in one way, and what no server can deliver to is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from winback.addresses import hash_address, normalise_email
from winback.errors import AddressError


@pytest.mark.parametrize(
    ("raw", "address"),
    [
        ("ann@example.com", "ann@example.com"),
        ("  Ann.Miller@EXAMPLE.Com\n", "ann.miller@example.com"),
        ("ann+shop@example.co.uk", "ann+shop@example.co.uk"),
        ("a_b-c%d'e@example.com", "a_b-c%d'e@example.com"),
        ("!#$&*/=?^`{|}~@example.com", "!#$&*/=?^`{|}~@example.com"),
        ("ann@bücher.example", "ann@xn--bcher-kva.example"),
        ("ANN@BÜCHER.example", "ann@xn--bcher-kva.example"),
        ("ann@XN--BCHER-KVA.example", "ann@xn--bcher-kva.example"),
        ("1@example.com", "1@example.com"),
        (f"{'a' * 64}@example.com", f"{'a' * 64}@example.com"),
    ],
)
def test_addresses(raw: str, address: str) -> None:
    assert normalise_email(raw) == address
    assert normalise_email(address) == address


@pytest.mark.parametrize(
    "raw",
    [
        "", "ann", "@example.com", "ann@", "ann@example", "ann@@example.com", "ann example@example.com", "ann@exam ple.com",
        ".ann@example.com", "ann.@example.com", "an..n@example.com", "ann@-example.com", "ann@example..com", "ann@example.com.",
        "ann@[127.0.0.1]", "ann@localhost", '"ann"@example.com', "ann@example.com, bob@example.com", "Ann <ann@example.com>",
        "ann@example.com\nBcc: x@example.com", "ann@exa\x00mple.com", "jürgen@example.com", f"{'a' * 65}@example.com",
        f"a@{'b' * 60}.{'c' * 60}.{'d' * 60}.{'e' * 60}.{'f' * 20}.com", "mailto:ann@example.com", "ann;@example.com",
    ],
)  # fmt: skip
def test_what_is_no_address(raw: str) -> None:
    with pytest.raises(AddressError) as caught:
        normalise_email(raw)
    assert caught.value.remedy


def test_a_local_part_outside_ascii_is_told_apart() -> None:
    with pytest.raises(AddressError, match="letters outside ASCII before the @"):
        normalise_email("jürgen@example.com")


def test_a_long_text_is_cut_in_the_message() -> None:
    with pytest.raises(AddressError) as caught:
        normalise_email("x" * 500)
    assert len(caught.value.message) < 150


@given(st.text(max_size=40))
def test_whatever_is_given_becomes_an_address_for_good_or_is_refused(raw: str) -> None:
    try:
        address = normalise_email(raw)
    except AddressError:
        return
    assert normalise_email(address) == address
    assert address.isascii()
    assert address.count("@") == 1
    assert not any(letter.isspace() for letter in address)


def test_hashes_need_the_key_and_tell_addresses_apart() -> None:
    one = hash_address("ann@example.com", b"k" * 32)
    assert one == hash_address("ann@example.com", b"k" * 32)
    assert len({one, hash_address("ann@example.com", b"x" * 32), hash_address("bob@example.com", b"k" * 32)}) == 3
    assert len(one) == 32
    assert "ann" not in one
