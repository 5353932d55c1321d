"""Events: known again by their id, or by what they say."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tests.importers.conftest import Desk
from winback.errors import InputError
from winback.store import events

TEXT = """\
customer_id,name,at,properties.page,properties.seconds
C1,visit,2026-11-20 10:00,/pricing,40
C1,visit,2026-11-20 10:00,/pricing,41
C2,download,2026-11-21T12:00:00Z,,
"""


def test_events_without_ids_are_known_again_by_what_they_say(desk: Desk) -> None:
    result = desk.run("events", TEXT)
    assert (result.inserted, result.customers_created) == (3, 2)
    found = desk.all(events, "name", "at", "properties")
    assert ("visit", datetime(2026, 11, 20, 9, tzinfo=UTC), {"page": "/pricing", "seconds": 40}) in found
    assert ("download", datetime(2026, 11, 21, 12, tzinfo=UTC), {}) in found
    assert (desk.run("events", TEXT).unchanged, len(desk.all(events, "id"))) == (3, 3)


def test_the_very_same_event_twice_is_one(desk: Desk) -> None:
    result = desk.run("events", "customer_id,name,at\nC1,visit,2026-11-20 10:00\nC1,visit,2026-11-20T09:00:00Z\n")
    assert (result.inserted, result.unchanged) == (1, 1)


def test_an_event_with_an_id_is_updated(desk: Desk) -> None:
    head = "Event ID,Customer,Event,Time,properties.score\n"
    desk.run("events", head + "E1,C1,survey,2026-11-20,7\n")
    assert desk.event("E1").properties == {"score": 7}
    assert desk.run("events", head + "E1,C1,survey,2026-11-20,9\n").updated == 1
    assert desk.event("E1").properties == {"score": 9}


def test_properties_are_replaced_as_a_whole(desk: Desk) -> None:
    desk.run("events", '{"event_id": 1, "customer_id": "C1", "name": "a", "at": "2026-11-20", "properties": {"x": 1, "y": 2}}\n')
    desk.run("events", '{"event_id": 1, "customer_id": "C1", "name": "a", "at": "2026-11-20", "properties": {"y": 3}}\n')
    assert desk.event("1").properties == {"y": 3}


def test_customers_are_found_by_address(desk: Desk) -> None:
    desk.run("customers", "customer_id,email\nC1,ann@example.com\n")
    result = desk.run("events", "email,name,at\nAnn@example.com,visit,2026-11-20\n")
    assert result.customers_created == 0
    assert desk.all(events, "customer_id") == [(desk.customer("C1").id,)]


def test_what_an_event_needs(desk: Desk) -> None:
    result = desk.run(
        "events", "customer_id,customer_email,name,at\n,,visit,2026-11-20\nC1,,,2026-11-20\nC1,,visit,\nC1,,visit,soon\n"
    )
    assert [problem.reason.split(":")[0] for problem in result.problems] == [
        "customer_id is empty", "name is empty", "at is empty", "at is not a date",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("header", "lacking"),
    [("customer_id,page", "name or at"), ("name,at", "customer_id"), ("customer_id,name", "at")],
)
def test_a_file_that_lacks_a_column_is_refused(desk: Desk, header: str, lacking: str) -> None:
    with pytest.raises(InputError, match=f"no column of the file is {lacking}"):
        desk.run("events", f"{header}\n")


def test_ids_can_be_numbered(desk: Desk) -> None:
    text = "customer,name,at\nC1,visit,20261120\nC1,visit,20261120\n"
    assert desk.run("events", text, '[ids]\nevent_id = "{customer}-{at}-{n}"\n').inserted == 2
    assert [row[0] for row in desk.all(events, "external_id")] == ["C1-20261120-1", "C1-20261120-2"]


def test_an_event_that_repeats_in_a_file_keeps_its_place(desk: Desk) -> None:
    head = "event_id,customer_id,name,at\n"
    result = desk.run("events", head + "E1,C1,visit,2026-11-20\nE2,C2,visit,2026-11-20\nE1,C1,visit,2026-11-21\n")
    assert (result.inserted, result.unchanged) == (2, 1)
    assert desk.event("E1").at == datetime(2026, 11, 20, 23, tzinfo=UTC)
    assert desk.event("E1").properties == {}
