"""Customers: what of a row is kept, what is left out with a reason, and what an update changes."""

from __future__ import annotations

import csv
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.importers.conftest import Desk
from winback.addresses import hash_address
from winback.errors import InputError
from winback.store import customers

EVERYTHING = """\
customer_id,email,phone,first_name,last_name,locale,country,city,zone,birthday,attributes.tier,attributes.points
C1, Ann.Miller@Example.COM ,01 514440,Ann,Miller,de_AT,Austria,Wien,Europe/Vienna,1985-11-24,gold,120
C2,,,,,,,,,,,
"""


def test_every_column_of_a_customer_is_kept(desk: Desk) -> None:
    result = desk.run("customers", EVERYTHING)
    assert (result.inserted, result.customers_created, result.warnings) == (2, 2, 0)
    ann = desk.customer("C1")
    assert (ann.email, ann.phone) == ("ann.miller@example.com", "+431514440")  # of Austria, where she lives
    assert (ann.first_name, ann.last_name, ann.locale, ann.country, ann.city) == ("Ann", "Miller", "de-AT", "AT", "Wien")
    assert (ann.zone, ann.local_zone) == ("Europe/Vienna", "Europe/Vienna")
    assert (ann.birth_year, ann.birth_month, ann.birth_day) == (1985, 11, 24)
    assert ann.attributes == {"tier": "gold", "points": 120}
    assert ann.email_hash == hash_address("ann.miller@example.com", desk.settings.address_key)
    assert ann.created_at == ann.updated_at == desk.now
    bare = desk.customer("C2")
    assert (bare.email, bare.phone, bare.birth_month, bare.attributes) == (None, None, None, {})
    assert bare.local_zone == "Europe/Berlin"


def test_values_are_written_in_one_way(desk: Desk) -> None:
    cases = [
        ("phone", "0049 30 901820", "+4930901820"),
        ("phone", "(030) 90 18 20", "+4930901820"),
        ("phone", "+1 212-736-5000", "+12127365000"),
        ("locale", "EN", "en"),
        ("locale", "pt_BR.UTF-8", "pt-BR"),
        ("country", "deutschland", "DE"),
        ("country", "AUT", "AT"),
        ("country", "UK", "GB"),
        ("city", "  Köln ", "Köln"),
        ("zone", "America/New_York", "America/New_York"),
    ]
    assert desk.run("customers", _one_value_a_row([case[:2] for case in cases])).warnings == 0
    assert [getattr(desk.customer(f"C{n}"), column) for n, (column, _, _) in enumerate(cases)] == [kept for _, _, kept in cases]


def test_a_bad_value_is_left_out_and_the_row_kept(desk: Desk) -> None:
    cases = [
        ("email", "ann.example.com", "email is not an e-mail address"),
        ("phone", "12", "phone is not a phone number"),
        ("birthday", "31.02.1980", "birthday is not a birthday"),
        ("birthday", "2031-01-01", "birthday is not a birthday of anybody living"),
        ("birthday", "0001-05-03", "birthday is not a birthday of anybody living"),
        ("country", "Narnia", "country is not a country"),
        ("locale", "xx-klingon", "locale is not a locale"),
        ("zone", "CET-ish", "zone is not a time zone"),
        ("city", "x" * 201, "city is longer than 200 characters"),
        ("email_marketing", "maybe", "email_marketing is neither yes nor no"),
        ("consent_at", "2030-01-01", "consent_at is in the future"),
    ]
    result = desk.run("customers", _one_value_a_row([case[:2] for case in cases]))
    assert (result.inserted, result.rejected, result.warnings) == (len(cases), 0, len(cases))
    assert [(problem.line, problem.rejected) for problem in result.problems] == [(n + 2, False) for n in range(len(cases))]
    for number, (problem, (column, _, reason)) in enumerate(zip(result.problems, cases, strict=True)):
        assert problem.reason.split(": ")[0] == reason
        assert getattr(desk.customer(f"C{number}"), column, None) is None
        assert desk.customer(f"C{number}").first_name == "Ann"


def _one_value_a_row(cases: list[tuple[str, str]]) -> str:
    """Return a file of customers C0, C1 … all called Ann, each with one more column filled."""
    columns = list(dict.fromkeys(column for column, _ in cases))
    rows = [[f"C{n}", "Ann", *(value if column == each else "" for each in columns)] for n, (column, value) in enumerate(cases)]
    return "\n".join(";".join(row) for row in [["customer_id", "first_name", *columns], *rows])


def test_refused_rows_are_in_the_rejects_file_as_they_stood(desk: Desk) -> None:
    text = (
        'customer_id,email,city\n,ann@example.com,Berlin\nC2,nobody,"Bad; ""Homburg"""\nC3,c@example.com\nC4,d@example.com,Ulm\n'
    )
    result = desk.run("customers", text, name="März 24 .csv")
    assert (result.inserted, result.rejected, result.warnings, result.rows) == (2, 2, 1, 4)
    assert result.rejects_file is not None
    assert result.rejects_file.name == "customers-M-rz-24-.csv-20261124-100000.csv"
    assert result.rejects_file.stat().st_mode & 0o077 == 0
    with result.rejects_file.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["line"], row["severity"], row["reason"].split(":")[0]) for row in rows] == [
        ("2", "rejected", "customer_id is empty"),
        ("3", "warning", "email is not an e-mail address"),
        ("4", "rejected", "2 cells where the header has 3"),
    ]
    assert next(csv.reader([rows[1]["row"]])) == ["C2", "nobody", 'Bad; "Homburg"']


def test_two_imports_at_one_moment_have_two_rejects_files(desk: Desk) -> None:
    first, second = (desk.run("customers", "customer_id,city\n,Berlin\n") for _ in range(2))
    assert first.rejects_file != second.rejects_file
    assert second.rejects_file is not None
    assert second.rejects_file.exists()


def test_without_problems_there_is_no_rejects_file(desk: Desk) -> None:
    assert desk.run("customers", "customer_id\nC1\n").rejects_file is None
    assert not desk.settings.rejects_folder.exists()


def test_the_first_problems_are_told_and_all_are_counted(desk: Desk) -> None:
    result = desk.run("customers", "customer_id,city\n" + ",x\n" * 150)
    assert (result.rejected, len(result.problems), dict(result.reasons)) == (150, 100, {"customer_id is empty": 150})
    assert result.rejects_file is not None
    assert len(result.rejects_file.read_text().splitlines()) == 151


def test_the_second_time_changes_nothing(desk: Desk) -> None:
    desk.run("customers", EVERYTHING)
    before = desk.all(customers, *customers.c.keys())
    later = replace(desk, now=datetime(2026, 12, 1, tzinfo=UTC))
    result = later.run("customers", EVERYTHING)
    assert (result.inserted, result.updated, result.unchanged) == (0, 0, 2)
    assert desk.all(customers, *customers.c.keys()) == before


def test_sparse_columns_keep_what_is_known(desk: Desk) -> None:
    desk.run("customers", EVERYTHING)
    result = desk.run("customers", "customer_id,email,city,attributes.points\nC1,,Graz,\n")
    assert (result.updated, result.warnings) == (1, 0)
    ann = desk.customer("C1")
    assert (ann.email, ann.city, ann.phone) == ("ann.miller@example.com", "Graz", "+431514440")
    assert ann.attributes == {"tier": "gold", "points": 120}
    assert ann.updated_at == desk.now


def test_attributes_are_joined_key_by_key(desk: Desk) -> None:
    desk.run("customers", EVERYTHING)
    desk.run("customers", "customer_id,attributes.points,attributes.pet\nC1,130,cat\n")
    assert desk.customer("C1").attributes == {"tier": "gold", "points": 130, "pet": "cat"}


def test_attributes_of_csv_files_are_numbers_where_they_look_like_it(desk: Desk) -> None:
    cases: dict[str, object] = {
        "12": 12, "-3": -3, "1.50": 1.5, "007": "007", "true": True, "false": False, "yes": "yes", "1e5": "1e5", "1.": "1.",
        "--": "--", "12345678901234567": "12345678901234567", "Größe 42": "Größe 42", "NULL": None,
    }  # fmt: skip
    rows = "".join(f"C{number},{given}\n" for number, given in enumerate(cases))
    desk.run("customers", f"customer_id,attributes.x\n{rows}")
    kept = [desk.customer(f"C{number}").attributes.get("x") for number in range(len(cases))]
    assert kept == list(cases.values())
    assert [type(each) for each in kept] == [type(each) for each in cases.values()]


def test_a_wrong_day_month_or_year_is_told_and_placeholders_are_counted(desk: Desk) -> None:
    days = ["1900-01-01", "01.01.1970", "0001-01-01", "0000-00-00", "--02-29", "29.02.", "1604-07-09", "24.12.80", "19751231"]
    rows = "".join(f"C{number},{day}\n" for number, day in enumerate(days))
    result = desk.run("customers", f"customer_id,birthday\n{rows}")
    assert result.warnings == 0
    assert "4 birthdays are placeholders (such as 1900-01-01) and were left out" in result.notes
    kept = desk.all(customers, "birth_year", "birth_month", "birth_day")
    assert kept == [*[(None, None, None)] * 4, (None, 2, 29), (None, 2, 29), (None, 7, 9), (1980, 12, 24), (1975, 12, 31)]


def test_a_spike_on_the_first_of_january_is_flagged(desk: Desk) -> None:
    rows = "".join(f"C{number},{'1980-01-01' if number % 4 == 0 else '1980-06-15'}\n" for number in range(100))
    assert (
        "25 of 100 birthdays are on 1 January: perhaps a form's default"
        in desk.run("customers", f"customer_id,birthday\n{rows}").notes
    )


def test_a_few_on_the_first_of_january_are_not(desk: Desk) -> None:
    rows = "".join(f"C{number},{'1980-01-01' if number < 5 else '1980-06-15'}\n" for number in range(100))
    assert desk.run("customers", f"customer_id,birthday\n{rows}").notes == ()


@pytest.mark.parametrize(
    ("region", "day", "kept", "noted"),
    [
        ("DE", "03/04/1980", (4, 3), "day/month"),
        ("US", "03/04/1980", (3, 4), "month/day"),
        ("DE", "13/04/1980", (4, 13), None),
        ("US", "04/13/1980", (4, 13), None),
    ],
)
def test_day_and_month_with_slashes_go_by_the_country(
    desk: Desk, region: str, day: str, kept: tuple[int, int], noted: str | None
) -> None:
    there = replace(desk, settings=replace(desk.settings, region=region))
    result = there.run("customers", f"customer_id,birthday\nC1,{day}\n")
    assert (desk.customer("C1").birth_month, desk.customer("C1").birth_day) == kept
    assert [note for note in result.notes if "slash" in note or "read as" in note] == (
        [] if noted is None else [next(note for note in result.notes if f"read as {noted}" in note)]
    )


def test_a_birthday_without_its_year_takes_the_old_year_away(desk: Desk) -> None:
    desk.run("customers", "customer_id,birthday\nC1,1985-11-24\n")
    desk.run("customers", "customer_id,birthday\nC1,--11-25\n")
    ann = desk.customer("C1")
    assert (ann.birth_year, ann.birth_month, ann.birth_day) == (None, 11, 25)


@pytest.mark.parametrize(
    ("name", "first", "last"),
    [("Miller, Ann Mary", "Ann Mary", "Miller"), ("Ann van der Berg", "Ann", "van der Berg"), ("Cher", "Cher", None)],
)
def test_a_whole_name_is_split(desk: Desk, name: str, first: str, last: str | None) -> None:
    desk.run("customers", f'customer_id,name\nC1,"{name}"\n')
    assert (desk.customer("C1").first_name, desk.customer("C1").last_name) == (first, last)


def test_the_zone_is_the_profiles_then_the_phones_then_the_shops(desk: Desk) -> None:
    desk.run(
        "customers",
        "customer_id,phone,zone\nC1,+1 212 736 5000,Asia/Tokyo\nC2,+1 212 736 5000,\nC3,+7 495 123 45 67,\nC4,,\n",
    )
    assert [row[0] for row in desk.all(customers, "local_zone")] == [
        "Asia/Tokyo", "America/New_York", desk.customer("C3").local_zone, "Europe/Berlin",
    ]  # fmt: skip
    desk.run("customers", "customer_id,phone\nC2,+81 3 3201 3331\nC1,+81 3 3201 3331\n")
    assert desk.customer("C2").local_zone == "Asia/Tokyo"
    assert desk.customer("C1").local_zone == "Asia/Tokyo"


def test_a_list_of_addresses_needs_no_ids(desk: Desk) -> None:
    result = desk.run("customers", "E-Mail,Vorname\nAnn@example.com,Ann\n,Bob\n", name="list.csv")
    assert (result.inserted, result.rejected) == (1, 1)
    assert desk.customer("ann@example.com").first_name == "Ann"
    assert dict(result.reasons) == {"email is empty": 1}


def test_an_address_too_long_for_an_id_refuses_its_row_only(desk: Desk) -> None:
    long = f"{'a' * 60}@{'b' * 60}.{'c' * 60}.{'d' * 30}.com"
    result = desk.run("customers", f"email\n{long}\nann@example.com\n")
    assert (result.inserted, result.rejected) == (1, 1)
    assert "too long to stand for an id" in result.problems[0].reason


def test_a_file_without_any_id_is_refused_with_its_columns(desk: Desk) -> None:
    with pytest.raises(InputError, match="no column of the file is the customer's id") as caught:
        desk.run("customers", "Number,City\n1,Berlin\n")
    assert "Number, City" in caught.value.remedy
    assert desk.all(customers, "id") == []


def test_repeated_ids_in_a_file_count_as_one_the_last_values_win(desk: Desk) -> None:
    text = "customer_id,email,city,attributes.a,attributes.b\nC1,a@example.com,Berlin,1,\nC2,,,,\nC1,,Ulm,,2\n"
    result = desk.run("customers", text)
    assert (result.inserted, result.unchanged, result.rows) == (2, 1, 3)
    assert "1 rows repeat an id of the same file: the last one counts" in result.notes
    ann = desk.customer("C1")
    assert (ann.email, ann.city, ann.attributes) == ("a@example.com", "Ulm", {"a": 1, "b": 2})
    assert desk.run("customers", text).unchanged == 3


def test_an_emptied_cell_empties_only_when_the_map_says_so(desk: Desk) -> None:
    desk.run("customers", EVERYTHING)
    text = "customer_id,email,phone,zone,birthday,attributes.tier\nC1,,,,,\n"
    assert desk.run("customers", text).unchanged == 1
    assert desk.run("customers", text, 'empty = "clear"\n').updated == 1
    ann = desk.customer("C1")
    assert (ann.email, ann.email_hash, ann.phone, ann.phone_hash, ann.zone, ann.birth_month) == (None,) * 6
    assert (ann.first_name, ann.attributes, ann.local_zone) == ("Ann", {"points": 120}, "Europe/Berlin")
    assert desk.run("customers", text, 'empty = "clear"\n').unchanged == 1


def test_without_its_own_zone_a_customer_lives_where_the_phone_rings(desk: Desk) -> None:
    desk.run("customers", "customer_id,phone,zone\nC1,+1 212 736 5000,Asia/Tokyo\n")
    desk.run("customers", "customer_id,zone\nC1,\n", 'empty = "clear"\n')
    assert desk.customer("C1").local_zone == "America/New_York"


def test_unused_columns_are_named(desk: Desk) -> None:
    result = desk.run("customers", "customer_id,Shoe size,Vorname\nC1,42,Ann\n")
    assert result.notes == ("not used: Shoe size (to keep one: --map attributes.NAME=COLUMN)",)
    assert dict(result.columns) == {"customer_id": "customer_id", "first_name": "Vorname"}


def test_nothing_is_kept_of_a_dry_run(desk: Desk) -> None:
    result = desk.run("customers", EVERYTHING + "C3,nobody,,,,,,,,,,\n", dry_run=True)
    assert (result.inserted, result.warnings) == (3, 1)
    assert result.rejects_file is not None
    assert desk.all(customers, "id") == []


def test_texts_no_database_can_store_are_left_out(desk: Desk) -> None:
    lines = [
        '{"customer_id": "C1", "city": "a\\u0000b"}',
        '{"customer_id": "C2", "first_name": "\\ud800"}',
        '{"customer_id": "C3", "attributes": {"x": "\\u0000"}}',
        '{"customer_id": "C4", "attributes.x\\u0000y": 1}',
        '{"customer_id": "C\\u00005"}',
    ]
    result = desk.run("customers", "\n".join(lines), name="file.jsonl")
    assert (result.inserted, result.rejected, result.warnings) == (3, 2, 3)
    assert [row[0] for row in desk.all(customers, "external_id")] == ["C1", "C2", "C3"]


def test_objects_where_texts_belong_are_left_out(desk: Desk) -> None:
    result = desk.run("customers", '{"customer_id": 7, "city": {"name": "Berlin"}, "first_name": ["Ann"]}\n', name="f.jsonl")
    assert (result.inserted, result.rejected, result.warnings) == (1, 0, 2)
    assert "city is an object or a list, not a text" in result.reasons
    assert desk.customer("7").city is None


def test_json_values_are_kept_as_they_are(desk: Desk) -> None:
    row = (
        '{"customer_id": 7, "attributes": {"n": 1.50, "big": 1e2, "list": [1, "a", null], "flag": true, "gone": null,'
        ' "text": "7"},'
        ' "phone": null, "attributes.deep": 2}'
    )
    desk.run("customers", "customer_id,phone,attributes.gone\n7,030 901820,x\n")
    result = desk.run("customers", row, name="f.jsonl")
    assert result.updated == 1
    seven = desk.customer("7")
    assert seven.attributes == {"n": 1.5, "big": 100, "list": [1, "a", None], "flag": True, "text": "7", "deep": 2}
    assert seven.phone is None
    assert desk.run("customers", row, name="f.jsonl").unchanged == 1


def test_attributes_beyond_what_is_kept_are_left_out(desk: Desk) -> None:
    values = ['{"a": 1}', "[[1]]", "1e400", "NaN", '[{"a": 1}]', "9223372036854775808", "[1e400]"]
    rows = [f'{{"customer_id": "C{n}", "attributes": {{"x": {value}}}}}' for n, value in enumerate(values)]
    result = desk.run("customers", "\n".join(rows), name="f.jsonl")
    assert (result.inserted, result.warnings) == (len(values), len(values))
    assert {row[0] == {} for row in desk.all(customers, "attributes")} == {True}


def test_an_import_is_remembered(desk: Desk) -> None:
    from winback.store import import_runs

    desk.run("customers", "customer_id,city\nC1,Berlin\n,Ulm\n", name="people.csv")
    desk.run("customers", "customer_id,city\nC1,Ulm\n", name="people.csv", dry_run=True)
    names = ("kind", "source", "inserted", "updated", "unchanged", "rejected")
    assert desk.all(import_runs, *names) == [("customers", "people.csv", 1, 0, 0, 1)]


@pytest.mark.parametrize(("path", "message"), [("missing.csv", "No such file"), (".", "Is a directory|not a file")])
def test_a_file_that_is_none_is_refused(desk: Desk, path: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        desk.run("customers", desk.folder / path)


def test_an_empty_file_is_refused(desk: Desk) -> None:
    with pytest.raises(InputError, match="id"):
        desk.run("customers", "")


def test_a_header_alone_imports_nothing(desk: Desk) -> None:
    assert desk.run("customers", "customer_id,email\n").rows == 0


def test_progress_is_told_to_the_end(desk: Desk) -> None:
    told: list[tuple[int, int, int]] = []
    text = "customer_id,city\n" + "".join(f"C{number},{'Ulm' * 60}\n" for number in range(4500))
    desk.run("customers", text, progress=lambda *now: told.append(now))
    steps = [rows for rows, _, _ in told]
    assert len(steps) > 3
    assert steps == sorted(steps)
    assert steps[-1] == 4500
    assert told[-1][1] == told[-1][2] == len(text)
    assert Path(desk.folder / "file.csv").stat().st_size == len(text)


def test_repeated_rows_are_as_if_imported_one_after_the_other(desk: Desk) -> None:
    head = "customer_id,phone,birthday,city\n"
    rows = ["C1,+1 212 736 5000,1980-11-24,Ulm\n", "C1,+1 800 444 4444,--11-25,\n"]
    one, two = "".join(rows), [head + row.replace("C1", "C2") for row in rows]
    desk.run("customers", head + one)
    for text in two:
        desk.run("customers", text)
    names = ("phone", "local_zone", "birth_year", "birth_month", "birth_day", "city")
    first, second = desk.all(customers, *names)
    assert first == second == ("+18004444444", "Europe/Berlin", None, 11, 25, "Ulm")
