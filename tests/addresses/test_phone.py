"""Phone numbers are written in E.164, whatever way people write them, and tell where they ring."""

from __future__ import annotations

import phonenumbers
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from winback import addresses
from winback.addresses import is_zone, normalise_phone, zone_of_phone
from winback.errors import AddressError


@pytest.mark.parametrize(
    ("raw", "region", "phone"),
    [
        ("030 901820", "DE", "+4930901820"),
        ("(030) 90 18 20", "de", "+4930901820"),
        ("030/90-18.20", "DE", "+4930901820"),
        ("+49 (0)30 901820", "US", "+4930901820"),
        ("0049 30 901820", "DE", "+4930901820"),
        ("0049 30 901820", "US", "+4930901820"),
        ("011 49 30 901820", "US", "+4930901820"),
        ("0151 23456789", "DE", "+4915123456789"),
        ("(212) 736-5000", "US", "+12127365000"),
        ("212.736.5000", "US", "+12127365000"),
        ("1-212-736-5000", "US", "+12127365000"),
        ("+1 212 736 5000", "DE", "+12127365000"),
        ("01 514440", "AT", "+431514440"),
        ("0664 1234567", "AT", "+436641234567"),
        ("020 7183 8750", "GB", "+442071838750"),
        ("8 (495) 123-45-67", "RU", "+74951234567"),
        ("06 12 34 56 78", "FR", "+33612345678"),
        ("٠٥٠ ١٢٣ ٤٥٦٧", "AE", "+971501234567"),
        (" +49 30 901820 ", "DE", "+4930901820"),
    ],
)
def test_numbers(raw: str, region: str, phone: str) -> None:
    assert normalise_phone(raw, region) == phone
    assert normalise_phone(phone, region) == phone


@pytest.mark.parametrize(
    ("raw", "region"),
    [("", "DE"), ("12", "DE"), ("none", "DE"), ("+49 1", "US"), ("+999 123456", "DE"), ("0000000000", "DE"), ("555-0100", "US"),
     ("ann@example.com", "DE"), ("+" + "1" * 30, "DE")],
)  # fmt: skip
def test_what_is_no_number(raw: str, region: str) -> None:
    with pytest.raises(AddressError) as caught:
        normalise_phone(raw, region)
    assert "+49" in caught.value.remedy


@given(st.text(max_size=25), st.sampled_from(["DE", "US", "RU"]))
def test_whatever_is_given_becomes_a_number_for_good_or_is_refused(raw: str, region: str) -> None:
    try:
        phone = normalise_phone(raw, region)
    except AddressError:
        return
    assert normalise_phone(phone, "JP") == phone
    assert phone.startswith("+")
    assert phone[1:].isdigit()
    assert len(phone) <= 16


#: A number of each kind that each region gives out.
EXAMPLES = sorted(
    phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    for region in phonenumbers.SUPPORTED_REGIONS
    for kind in range(11)
    if (number := phonenumbers.example_number_for_type(region, kind)) is not None
)


@settings(max_examples=400)
@given(st.sampled_from(EXAMPLES), st.lists(st.tuples(st.integers(1, 14), st.sampled_from(["", *"0123456789"])), max_size=3))
def test_numbers_that_are_taken_at_a_glance_are_those_that_the_library_takes(phone: str, changes: list[tuple[int, str]]) -> None:
    for place, digits in changes:
        phone = phone[:place] + digits + phone[place + 1 :]
    region = addresses._region_of(phone)
    if region is not None:
        number = phonenumbers.parse(phone, "DE")
        assert phonenumbers.is_valid_number(number)
        assert phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164) == phone
        assert phonenumbers.region_code_for_number(number) == region


@pytest.mark.parametrize("phone", EXAMPLES[::40])
def test_nearly_all_numbers_are_taken_at_a_glance(phone: str) -> None:
    assert addresses._region_of(phone) is not None


@pytest.mark.parametrize(
    ("phone", "zone"),
    [
        ("+4930901820", "Europe/Berlin"),
        ("+431514440", "Europe/Vienna"),
        ("+442071838750", "Europe/London"),
        ("+12127365000", "America/New_York"),
        ("+14159808000", "America/Los_Angeles"),
        ("+81332013331", "Asia/Tokyo"),
        ("+97237654321", "Asia/Jerusalem"),
        ("+390612345678", "Europe/Rome"),  # a leading zero that counts
        ("+18004444444", None),  # toll free: all of North America
        ("not a number", None),
    ],
)
def test_where_a_number_rings(phone: str, zone: str | None) -> None:
    assert zone_of_phone(phone) == zone


@pytest.mark.parametrize(
    ("name", "known"),
    [("Europe/Berlin", True), ("UTC", True), ("Mars/Base", False), ("", False), ("europe/berlin", False), ("../etc", False)],
)
def test_zones(name: str, known: bool) -> None:
    assert is_zone(name) is known
