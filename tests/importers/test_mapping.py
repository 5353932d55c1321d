"""Which column is what: said by hand, by a map file, by a map that winback brings, or recognised."""

from __future__ import annotations

import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.importers.conftest import Desk
from winback.errors import InputError, ProjectError
from winback.importers import ImportMap, Kind, load_map, shipped_maps, with_options
from winback.importers.mapping import COLUMNS, resolve_columns, usual_names


def write(folder: Path, text: str, name: str = "map.toml") -> str:
    """Write a map file."""
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_values_are_taken_in_order(tmp_path: Path) -> None:
    file = write(tmp_path, 'date = "unix"\n[columns]\nemail = "Mail"\nphone = "Tel"\n')
    loaded = load_map([file, "email=E-Mail", "customer_id = Kunde"])
    assert loaded.columns == {"email": "E-Mail", "phone": "Tel", "customer_id": "Kunde"}
    assert loaded.date == "unix"
    assert load_map(["email=E-Mail", file]).columns["email"] == "E-Mail"
    assert load_map([]) == ImportMap()


def test_a_column_with_an_equals_sign_in_its_name(tmp_path: Path) -> None:
    assert load_map(["email=a=b"]).columns == {"email": "a=b"}


def test_maps_that_are_not_there_are_named_with_those_that_are(tmp_path: Path) -> None:
    assert "cdnow" in shipped_maps()
    with pytest.raises(InputError, match="there is no map 'shopify'") as caught:
        load_map(["shopify"])
    assert "cdnow" in caught.value.remedy
    with pytest.raises(InputError, match="cannot read the map"):
        load_map([str(tmp_path / "missing.toml")])
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="UTF-8"):
        load_map([str(tmp_path / "binary.toml")])


def test_a_folder_of_the_name_of_a_shipped_map_is_not_in_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cdnow").mkdir()
    monkeypatch.chdir(tmp_path)
    assert load_map(["cdnow"]).kind == "orders"


@pytest.mark.parametrize("name", shipped_maps())
def test_every_shipped_map_can_be_used(name: str) -> None:
    chosen = load_map([name])
    assert chosen.kind is not None
    resolve_columns(Kind(chosen.kind), chosen, None)


def test_all_problems_of_a_map_file_are_told_with_their_lines(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        'format = "xlsx"\nfrobnicate = 1\ndelimiter = ";;"\n[ids]\ncustomer_id = "{a}-{n}"\n[types]\n"attributes.x" = "date"\n',
    )
    with pytest.raises(ProjectError) as caught:
        load_map([file])
    told = [(problem.line, problem.key) for problem in caught.value.problems]
    assert told == [(1, "format"), (2, "frobnicate"), (3, "delimiter"), (7, "types.attributes.x")]
    assert "known are" in caught.value.problems[1].remedy


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[ids]\nplaced_at = "{a}"\n', "ids can be made for"),
        ('[ids]\norder_id = "{n}-{a}"\n', "comes last"),
        ('[ids]\ncustomer_id = "{a}-{n}"\n', "never customers"),
        ('[ids]\norder_id = "{a"\n', "order_id|expected"),
        ("columns = 1\n", "dictionary|table|mapping"),
        ("a = = 1\n", "line 1"),
    ],
)
def test_problems_of_a_map_file(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ProjectError, match=message):
        load_map([write(tmp_path, text)])


def test_every_problem_with_columns_is_told_at_once() -> None:
    chosen = ImportMap(columns={"emial": "Mail"}, constants={"foo": "x"}, ids={"event_id": "{a}"}, types={"zip": "text"})
    with pytest.raises(InputError) as caught:
        resolve_columns(Kind.CUSTOMERS, chosen, ("Mail",))
    for word in ("emial", "foo", "event_id", "types.zip"):
        assert word in caught.value.message
    assert "attributes.NAME" in caught.value.remedy


def test_a_column_that_the_file_lacks_is_told_with_those_it_has() -> None:
    with pytest.raises(InputError, match="no column 'Mail' \\(for email\\)") as caught:
        resolve_columns(Kind.CUSTOMERS, ImportMap(columns={"email": "Mail"}), ("id", "E-Post"))
    assert "id, E-Post" in caught.value.remedy


@pytest.mark.parametrize("header", [("id", "Mail", "Mail"), ("id", "email", "email")])
def test_a_column_that_is_there_twice_is_refused(header: tuple[str, ...]) -> None:
    chosen = ImportMap(columns={"email": "Mail"}) if "Mail" in header else ImportMap()
    with pytest.raises(InputError, match="more than once"):
        resolve_columns(Kind.CUSTOMERS, chosen, header)


def test_columns_are_recognised_however_they_are_spelled() -> None:
    header = ("Kunden-Nr", "E-Mail", "Telefon", "Vorname", "Nachname", "Land", "Ort", "Geburtstag", "Newsletter", "Shoe Size")
    assert resolve_columns(Kind.CUSTOMERS, ImportMap(), header) == {
        "customer_id": "Kunden-Nr", "email": "E-Mail", "phone": "Telefon", "first_name": "Vorname", "last_name": "Nachname",
        "country": "Land", "city": "Ort", "birthday": "Geburtstag", "email_marketing": "Newsletter",
    }  # fmt: skip
    assert resolve_columns(Kind.EVENTS, ImportMap(), ("user id", "Event", "Timestamp", "properties.page")) == {
        "customer_id": "user id", "name": "Event", "at": "Timestamp", "properties.page": "properties.page",
    }  # fmt: skip


def test_our_own_names_go_before_the_usual_ones() -> None:
    assert resolve_columns(Kind.ORDERS, ImportMap(), ("amount", "total"))["total"] == "total"


def test_nothing_is_recognised_when_the_map_says_so(desk: Desk) -> None:
    desk.run("customers", "customer_id,email\nC1,ann@example.com\n", 'guess = false\n[columns]\ncustomer_id = "customer_id"\n')
    assert desk.customer("C1").email is None


def test_usual_names_are_of_one_column_only() -> None:
    for kind in Kind:
        taken: dict[str, str] = {}
        for ours in COLUMNS[kind]:
            for name in usual_names(kind, ours)[0]:
                assert taken.setdefault(name, ours) == ours


CASES: list[tuple[str, str, str, dict[str, Any]]] = [
    # what of the map, the map, the file, what is then kept of order A1
    ("format", 'format = "table"\n', "order_id customer_id placed_at total\nA1 C1 2026-11-01 5\n", {}),
    ("delimiter", 'delimiter = "~"\nformat = "csv"\n', "order_id~customer_id~placed_at~total\nA1~C1~2026-11-01~5\n", {}),
    (
        "header and names",
        'header = false\nnames = ["order_id", "customer_id", "placed_at", "total"]\n',
        "A1,C1,2026-11-01,5\n",
        {},
    ),
    (
        "columns without a header",
        'header = false\n[columns]\norder_id = "1"\ncustomer_id = "2"\nplaced_at = "3"\ntotal = "4"\n',
        "A1,C1,2026-11-01,5\n",
        {},
    ),
    (
        "zone",
        'zone = "America/New_York"\n',
        "order_id,customer_id,placed_at,total\nA1,C1,2026-11-01 00:00,5\n",
        {"placed_at": datetime(2026, 11, 1, 4, tzinfo=UTC)},
    ),
    (
        "date",
        'date = "%d-%b-%y"\n',
        "order_id,customer_id,placed_at,total\nA1,C1,01-Nov-26,5\n",
        {"placed_at": datetime(2026, 10, 31, 23, tzinfo=UTC)},
    ),
    ("decimal", 'decimal = ","\n', "order_id,customer_id,placed_at,total\nA1,C1,2026-11-01,1.234\n", {"total_minor": 123400}),
    ("amounts", 'amounts = "minor"\n', "order_id,customer_id,placed_at,total\nA1,C1,2026-11-01,500\n", {}),
    ("round", "round = true\n", "order_id,customer_id,placed_at,total\nA1,C1,2026-11-01,4.9951\n", {}),
    (
        "constants",
        '[constants]\nstatus = "paid"\ncurrency = "USD"\n"attributes.source" = "till"\n',
        "order_id,customer_id,placed_at,total\nA1,C1,2026-11-01,5\n",
        {"currency": "USD", "status": "paid", "attributes": {"source": "till"}},
    ),
    (
        "ids",
        '[ids]\norder_id = "{prefix}{number}"\n',
        "prefix,number,customer_id,placed_at,total\nA,1,C1,2026-11-01,5\n",
        {},
    ),
    (
        "status",
        '[status]\n"in der Post" = "paid"\n',
        "order_id,customer_id,placed_at,total,status\nA1,C1,2026-11-01,5,In der Post\n",
        {"status": "paid"},
    ),
    (
        "types",
        '[types]\n"attributes.zip" = "text"\n"attributes.gift" = "flag"\n"attributes.n" = "number"\n',
        "order_id,customer_id,placed_at,total,attributes.zip,attributes.gift,attributes.n\nA1,C1,2026-11-01,5,10119,ja,7\n",
        {"attributes": {"zip": "10119", "gift": True, "n": 7}},
    ),
    (
        "kind",
        'kind = "orders"\n',
        "order_id,customer_id,placed_at,total\nA1,C1,2026-11-01,5\n",
        {},
    ),
]


@pytest.mark.parametrize(("chosen", "text", "kept"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_every_setting_of_a_map(desk: Desk, chosen: str, text: str, kept: dict[str, Any]) -> None:
    result = desk.run("orders", text, chosen, name="orders.txt")
    assert (result.inserted, result.rejected, result.warnings) == (1, 0, 0)
    order = desk.order("A1")
    expected = {"total_minor": 500, "currency": "EUR"} | kept
    assert {name: getattr(order, name) for name in expected} == expected


def test_the_settings_for_customers(desk: Desk) -> None:
    text = "Nr|born|opt\n1|24.November 1985|0\n".replace("|", ";").encode("cp850")
    chosen = (
        'encoding = "cp850"\nbirthday = "%d.%B %Y"\nempty = "keep"\n[columns]\ncustomer_id = "Nr"\nbirthday = "born"\n'
        "[constants]\nemail_marketing = true\n"
    )
    result = desk.run("customers", text, chosen)
    assert result.warnings == 0
    one = desk.customer("1")
    assert (one.birth_year, one.birth_month, one.email_marketing) == (1985, 11, True)


def test_deeper_keys_of_objects_are_mapped(desk: Desk) -> None:
    row = '{"id": "A1", "buyer": {"id": "C1", "mail": "a@example.com"}, "paid": {"at": "2026-11-01", "cents": 500}}\n'
    chosen = (
        'amounts = "minor"\n[columns]\norder_id = "id"\ncustomer_id = "buyer.id"\ncustomer_email = "buyer.mail"\n'
        'placed_at = "paid.at"\ntotal = "paid.cents"\n"attributes.buyer" = "buyer.missing"\n'
    )
    assert desk.run("orders", row, chosen, name="f.jsonl").inserted == 1
    assert (desk.order("A1").total_minor, desk.customer("C1").email) == (500, "a@example.com")


def test_every_setting_has_a_case() -> None:
    tested = {key for case in CASES for key in tomllib.loads(case[1])} | {"encoding", "birthday", "empty", "columns", "guess"}
    assert tested == set(ImportMap.model_fields)


@pytest.mark.parametrize("kind", ["customers", "events"])
def test_a_map_of_another_kind_is_refused(desk: Desk, kind: str) -> None:
    with pytest.raises(InputError, match=f"the map is for orders, not for {kind}"):
        desk.run(kind, "customer_id\nC1\n", "cdnow")


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ('zone = "Mars/Base"\n', "not a time zone"),
        ('encoding = "utf-9"\n', "there is no encoding"),
        ('[constants]\nbirthday = "soon"\n', "constants.birthday"),
        ('[ids]\ncustomer_id = "{nothing}"\n', "no column nothing"),
        ('[columns]\n"attributes.a\\u0000b" = "customer_id"\n', "the name of a column has a NUL"),
    ],
)
def test_settings_that_cannot_be_are_refused(desk: Desk, chosen: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        desk.run("customers", "customer_id\nC1\n", chosen)


def test_options_go_over_the_map() -> None:
    chosen = with_options(ImportMap(decimal=".", date="unix"), decimal=",", delimiter="tab", encoding=None, date=None)
    assert (chosen.decimal, chosen.delimiter, chosen.date, chosen.encoding) == (",", "\t", "unix", None)
    for wrong in ({"decimal": ";"}, {"delimiter": "::"}, {"format": "xlsx"}):
        with pytest.raises(InputError, match="cannot be"):
            with_options(ImportMap(), **wrong)
