"""Files as programs really write them: encodings, delimiters, quoting, and what is no file at all."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from winback.errors import InputError
from winback.importers.files import Source, Unreadable, open_source
from winback.importers.result import ImportResult

GERMAN = "Kundennummer;Vorname;Ort\n1;Jürgen;Köln\n2;Zoë;Würzburg\n3;Änne;Grünstraße 5\n4;Søren;Ærøskøbing\n"
POLISH = "id,imię,miasto\n1,Łukasz,Łódź\n2,Żaneta,Kraków\n3,Świętosława,Gdańsk\n4,Grzegorz,Częstochowa\n5,Małgorzata,Wrocław\n"
RUSSIAN = "id,имя,город\n1,Наталья,Екатеринбург\n2,Сергей,Нижний Новгород\n3,Ольга,Санкт-Петербург\n4,Дмитрий,Ростов-на-Дону\n"
HEBREW = "id,שם,עיר\n1,שרה,תל אביב\n2,יוסף,ירושלים\n3,מרים,חיפה\n"
JAPANESE = "id,名前,都市\n1,田中さくら,東京\n2,佐藤健,大阪\n3,鈴木ひかり,札幌\n"


def read(path: Path, region: str = "DE", **options: Any) -> tuple[Any, list[Any]]:
    """Return what a file is taken for, and its rows."""
    with open_source(path, region=region, **options) as source:
        return source, [row for block in source.blocks for row in block.rows]


def numbered(source: Source) -> list[tuple[int, Any]]:
    """Return the rows of a file with the lines in which they begin."""
    return [row for block in source.blocks for row in zip(block.lines, block.rows, strict=True)]


def cells(text: str) -> list[list[str]]:
    """Return the rows of a text without quoting."""
    sign = ";" if ";" in text.partition("\n")[0] else ","
    return [line.split(sign) for line in text.splitlines()[1:]]


@pytest.mark.parametrize(
    ("text", "encoding", "region", "detected"),
    [
        (GERMAN, "utf-8", "DE", "utf-8"),
        (GERMAN, "utf-8-sig", "DE", "utf-8-sig"),
        (GERMAN, "cp1252", "DE", "cp1252"),
        (GERMAN, "cp1252", "US", "cp1252"),
        (GERMAN, "utf-16", "DE", "utf-16"),
        (GERMAN, "utf-16-le", "DE", "utf-16-le"),
        (GERMAN, "utf-16-be", "DE", "utf-16-be"),
        (GERMAN, "utf-32", "DE", "utf-32"),
        (POLISH, "cp1250", "PL", "cp1250"),
        (RUSSIAN, "cp1251", "RU", "cp1251"),
        (RUSSIAN, "koi8_r", "RU", "koi8_r"),
        (RUSSIAN, "utf-16-le", "RU", "utf-16-le"),
        (HEBREW, "cp1255", "IL", "cp1255"),
        (JAPANESE, "cp932", "JP", "cp932"),
        (JAPANESE, "utf-16-be", "JP", "utf-16-be"),
        ("id,city\n1,Berlin\n", "ascii", "DE", "utf-8"),
    ],
)
def test_encodings_are_found_out(tmp_path: Path, text: str, encoding: str, region: str, detected: str) -> None:
    path = tmp_path / "file.csv"
    path.write_bytes(text.encode(encoding))
    source, rows = read(path, region)
    assert rows == cells(text)
    assert source.encoding == detected
    assert source.header[0] in {"id", "Kundennummer"}


def test_letters_late_in_a_large_file_still_tell_the_encoding(tmp_path: Path) -> None:
    path = tmp_path / "file.csv"
    path.write_bytes(("id;Ort\n" + "1;Berlin\n" * 300_000 + "2;Köln\n3;Würzburg\n").encode("cp1252"))
    source, rows = read(path)
    assert (source.encoding, rows[-2:]) == ("cp1252", [["2", "Köln"], ["3", "Würzburg"]])


def test_a_single_nul_makes_no_other_encoding(tmp_path: Path) -> None:
    path = tmp_path / "file.csv"
    path.write_bytes(b"id,city\n1,Ber\x00lin\n2,Ulm\n")
    source, rows = read(path)
    assert (source.encoding, rows[1]) == ("utf-8", ["2", "Ulm"])


def test_an_encoding_that_is_said_is_used(tmp_path: Path) -> None:
    path = tmp_path / "file.csv"
    path.write_bytes("id;Ort\n1;Köln\n".encode("cp850"))
    assert read(path, encoding="cp850")[1] == [["1", "Köln"]]
    with pytest.raises(InputError, match="not written in utf-8") as caught:
        read(path, encoding="utf-8")
    assert "--encoding" in caught.value.remedy


@pytest.mark.parametrize("name", ["utf-9", "base64", "rot13", ""])
def test_an_encoding_that_is_none_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "file.csv"
    path.write_text("id\n1\n")
    if name:
        with pytest.raises(InputError, match="there is no encoding"):
            read(path, encoding=name)


@pytest.mark.parametrize(
    ("text", "delimiter", "first"),
    [
        ("id,name\n1,Ann\n", ",", ["1", "Ann"]),
        ("id;price\n1;4,50\n2;5,10\n", ";", ["1", "4,50"]),
        ("id\tname\n1\tAnn, Bob\n", "\t", ["1", "Ann, Bob"]),
        ("id|name\n1|a;b\n", "|", ["1", "a;b"]),
        ("sep=;\nid;name\n1;Ann\n", ";", ["1", "Ann"]),
        ('sep=,\r\n"id","name"\r\n"1","Ann"\r\n', ",", ["1", "Ann"]),
        ('id;note\n1;"a, b, c"\n2;"d, e"\n', ";", ["1", "a, b, c"]),
        ('id,address\n1,"Torstr. 1; 10119 Berlin"\n', ",", ["1", "Torstr. 1; 10119 Berlin"]),
        ("email\nann@example.com\n", ",", ["ann@example.com"]),
    ],
)
def test_delimiters_are_found_out(tmp_path: Path, text: str, delimiter: str, first: list[str]) -> None:
    path = tmp_path / "file.csv"
    path.write_text(text, newline="")
    source, rows = read(path)
    assert (source.delimiter, rows[0]) == (delimiter, first)


def test_a_delimiter_that_is_said_is_used(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("id~name\n1~Ann\n")
    assert read(path, delimiter="~", format="csv")[1] == [["1", "Ann"]]


@pytest.mark.parametrize(
    ("name", "text", "kind"),
    [
        ("a.csv", "id,name\n1,Ann\n", "csv"),
        ("a.txt", "id,name\n1,Ann\n", "csv"),
        ("a.tsv", "id\tname\n1\tAnn\n", "csv"),
        ("a.txt", "  id  date  total\n  1  19970101  11.77\n", "table"),
        ("a.csv", "id\n1\n2\n", "csv"),
        ("a.jsonl", '{"id": 1}\n', "jsonl"),
        ("a.ndjson", '{"id": 1}\n', "jsonl"),
        ("a.txt", '{"id": 1}\n', "jsonl"),
        ("a.dat", "email\nann@example.com\n", "csv"),
    ],
)
def test_formats_are_found_out(tmp_path: Path, name: str, text: str, kind: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    assert read(path)[0].format == kind


def test_zipped_files_are_read_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "file.csv.gz"
    path.write_bytes(gzip.compress(GERMAN.encode("cp1252")))
    source, rows = read(path)
    assert (source.encoding, rows) == ("cp1252", cells(GERMAN))


def test_a_damaged_zipped_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file.csv.gz"
    path.write_bytes(gzip.compress(GERMAN.encode() * 100)[:-20])
    with pytest.raises(InputError, match="damaged gzip"):
        read(path)


def test_cells_may_hold_delimiters_quotes_and_lines(tmp_path: Path) -> None:
    path = tmp_path / "file.csv"
    path.write_text('id,note\n1,"a, ""b""\nc"\n2,plain\n3,5" disk\n', newline="")
    with open_source(path, region="DE") as source:
        assert numbered(source) == [(2, ["1", 'a, "b"\nc']), (4, ["2", "plain"]), (5, ["3", '5" disk'])]


def test_blank_lines_and_empty_columns_at_the_end_are_no_rows(tmp_path: Path) -> None:
    path = tmp_path / "file.csv"
    path.write_text("id,name\n\n1,Ann,,\n,\n ,\n2,Bob\n\n")
    assert read(path)[1] == [["1", "Ann"], ["", ""], [" ", ""], ["2", "Bob"]]


def test_rows_of_another_width_are_told_with_their_line(tmp_path: Path) -> None:
    path = tmp_path / "file.csv"
    path.write_text("id,name\n1,Ann,Berlin\n2\n3,Bob\n")
    with open_source(path, region="DE") as source:
        rows = numbered(source)
    assert rows[0] == (2, Unreadable("3 cells where the header has 2", "1,Ann,Berlin"))
    assert rows[1] == (3, Unreadable("1 cells where the header has 2", "2"))
    assert rows[2] == (4, ["3", "Bob"])


@pytest.mark.parametrize(
    "text",
    ['id,name\n1,Ann\n2,"Bob\n3,Cid\n4,Dora\n', 'id,name\n1,Ann\n2,"Bob\n3,Cid\n', 'name,id\n"Ann",1\n"Bob,2\nCid,3\n'],
)
def test_a_quotation_mark_that_never_closes_loses_no_rows_in_silence(tmp_path: Path, text: str) -> None:
    path = tmp_path / "file.csv"
    path.write_text(text)
    with pytest.raises(InputError, match="the row that begins in line 3") as caught:
        read(path)
    assert "quotation mark" in caught.value.remedy


def test_json_that_is_none_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "file.jsonl"
    path.write_text('{"id": 1}\n\n[1]\n{"id": \n"text"\n{"id": 2, "amount": 1.10}\n')
    with open_source(path, region="DE") as source:
        rows = numbered(source)
    assert [line for line, _ in rows] == [1, 3, 4, 5, 6]
    assert [row.reason for _, row in rows if isinstance(row, Unreadable)] == [
        "not a JSON object",
        "not JSON",
        "not a JSON object",
    ]
    assert str(rows[-1][1]["amount"]) == "1.10"


def test_one_json_array_is_refused_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    path.write_text('[{"id": 1}]')
    with pytest.raises(InputError, match="one JSON array") as caught:
        read(path)
    assert "jq -c" in caught.value.remedy


def test_files_without_a_header_get_the_names_that_are_said_or_numbers(tmp_path: Path) -> None:
    path = tmp_path / "file.csv"
    path.write_text("1,Ann\n2,Bob\n")
    source, rows = read(path, header=False, names=("id", "name"))
    assert (source.header, rows) == (("id", "name"), [["1", "Ann"], ["2", "Bob"]])
    assert read(path, header=False)[0].header == ("1", "2")


def test_a_result_without_time_has_no_speed() -> None:
    result = ImportResult(
        inserted=0, updated=0, unchanged=0, rejected=0, rows=5, customers_created=0, seconds=0.0, rejects_file=None
    )
    assert result.rows_per_second == 0


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.sampled_from(["1", ",", "\n", '"', '""', "a b", '"x\ny"', "\r\n", 'n" ', ""]), max_size=25), st.integers(1, 12)
)
def test_rows_are_the_same_however_much_is_read_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parts: list[str], size: int
) -> None:
    path = tmp_path / "file.csv"
    path.write_text("id,note\n" + "".join(parts), newline="")

    def rows(characters: int) -> Any:
        monkeypatch.setattr("winback.importers.files._BLOCK", characters)
        try:
            with open_source(path, region="DE", format="csv", delimiter=",") as source:
                return numbered(source)
        except InputError as error:
            return error.args

    by_block = rows(size), rows(1 << 16)
    monkeypatch.setattr("winback.importers.files._single_lines", lambda *_: None)
    assert by_block == (rows(1 << 16), rows(1 << 16))
