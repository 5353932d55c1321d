"""The outbox writes each message whole, into the folder of its month, and finds it again."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest
from freezegun import freeze_time

from tests.disk import full_disk
from winback.gateways.base import Accepted, Outcome, Outgoing, Retry
from winback.gateways.outbox import OutboxGateway, OutboxOptions, read_outbox

LETTER = b"From: shop@example.com\r\nTo: ada@example.com\r\nSubject: Hello\r\n\r\nDear Ada\r\n"


def name(number: int) -> str:
    return str(UUID(int=number))


def letter(number: int = 1, content: bytes = LETTER) -> Outgoing:
    return Outgoing(name(number), "email", "ada@example.com", "shop@example.com", content, subject="Grüße, שלום 😀")


def sms(number: int = 2, text: str = "Bis bald, שלום 😀") -> Outgoing:
    return Outgoing(name(number), "sms", "+4915123456789", "", text=text)


@pytest.fixture
def gateway(tmp_path: Path) -> OutboxGateway:
    return OutboxGateway(OutboxOptions(), name="outbox", root=tmp_path)


def send(gateway: OutboxGateway, *messages: Outgoing) -> list[Outcome]:
    with gateway.connect() as sender:
        return [outcome for _, outcome in sender.send(messages, lambda message_id: None)]


def files(gateway: OutboxGateway) -> list[str]:
    return sorted(str(path.relative_to(gateway.folder)) for path in gateway.folder.rglob("*") if path.is_file())


def test_it_writes_to_var_outbox_unless_told_otherwise(tmp_path: Path) -> None:
    assert OutboxGateway(OutboxOptions(), name="outbox", root=tmp_path).folder == tmp_path / "var/outbox"
    elsewhere = OutboxOptions.model_validate({"folder": "/tmp/letters"})
    assert OutboxGateway(elsewhere, name="outbox", root=tmp_path).folder == Path("/tmp/letters")


def test_a_letter_is_an_eml_as_it_would_be_sent_and_its_json(gateway: OutboxGateway) -> None:
    with freeze_time("2026-11-24 10:00:00"):
        [outcome] = send(gateway, letter())
    assert outcome == Accepted(name(1), reply=f"written to 2026-11/{name(1)}")
    assert files(gateway) == [f"2026-11/{name(1)}.eml", f"2026-11/{name(1)}.json"]
    assert (gateway.folder / "2026-11" / f"{name(1)}.eml").read_bytes() == LETTER
    assert json.loads((gateway.folder / "2026-11" / f"{name(1)}.json").read_text(encoding="utf-8")) == {
        "message_id": name(1),
        "channel": "email",
        "recipient": "ada@example.com",
        "sender": "shop@example.com",
        "subject": "Grüße, שלום 😀",
        "text": "",
        "at": "2026-11-24T10:00:00+00:00",
    }


def test_an_sms_is_its_json(gateway: OutboxGateway) -> None:
    with freeze_time("2026-11-24 10:00:00"):
        send(gateway, sms())
    assert files(gateway) == [f"2026-11/{name(2)}.json"]
    [message] = read_outbox(gateway.folder)
    assert (message.recipient, message.text, message.eml) == ("+4915123456789", "Bis bald, שלום 😀", None)
    assert message.at == datetime(2026, 11, 24, 10, tzinfo=UTC)


def test_every_month_has_its_folder(gateway: OutboxGateway) -> None:
    for number, moment in enumerate(("2026-11-30 23:59:59", "2026-12-01 00:00:00", "2027-01-01 00:00:00"), 1):
        with freeze_time(moment):
            send(gateway, sms(number))
    assert files(gateway) == [f"2026-11/{name(1)}.json", f"2026-12/{name(2)}.json", f"2027-01/{name(3)}.json"]


def test_a_message_that_knows_its_time_goes_by_it(gateway: OutboxGateway) -> None:
    """A simulation sends by a clock of its own."""
    send(gateway, replace(sms(), at=datetime(2031, 5, 6, 7, tzinfo=UTC)))
    assert files(gateway) == [f"2031-05/{name(2)}.json"]
    assert read_outbox(gateway.folder)[0].at == datetime(2031, 5, 6, 7, tzinfo=UTC)


def test_the_newest_are_read_first(gateway: OutboxGateway) -> None:
    send(gateway, *(sms(number) for number in range(1, 6)))
    for number in range(1, 6):
        [file] = gateway.folder.glob(f"*/{name(number)}.json")
        os.utime(file, (1_000_000 + number, 1_000_000 + number))
    assert [message.message_id for message in read_outbox(gateway.folder, 3)] == [name(5), name(4), name(3)]


def test_an_outbox_that_was_never_used_is_empty(gateway: OutboxGateway) -> None:
    assert read_outbox(gateway.folder) == []


def test_the_same_message_again_is_the_same_file(gateway: OutboxGateway) -> None:
    with freeze_time("2026-11-24 10:00:00"):
        send(gateway, letter(), letter(content=LETTER + b"more\r\n"))
    assert len(files(gateway)) == 2
    [message] = read_outbox(gateway.folder)
    assert message.eml is not None
    assert message.eml.read_bytes().endswith(b"more\r\n")


def test_a_full_disk_leaves_nothing_half_written(gateway: OutboxGateway) -> None:
    with full_disk(2000):
        small, big = send(gateway, letter(1), letter(2, LETTER + b"x" * 10_000))
    assert isinstance(small, Accepted)
    assert big == Retry("the outbox cannot be written: File too large", whole_gateway=True)
    assert {file.partition("/")[2] for file in files(gateway)} == {f"{name(1)}.eml", f"{name(1)}.json"}
    assert [message.message_id for message in read_outbox(gateway.folder)] == [name(1)]


def test_a_letter_whose_json_is_missing_was_not_written(gateway: OutboxGateway) -> None:
    """The JSON comes last: a process that dies before it has written nothing that counts."""
    send(gateway, letter())
    [about] = gateway.folder.glob("*/*.json")
    about.unlink()
    assert read_outbox(gateway.folder) == []
    assert gateway.settle([name(1)]) == {name(1): Retry("not in the outbox")}


def test_settle_finds_what_was_written_in_any_month(gateway: OutboxGateway) -> None:
    for number, moment in enumerate(("2026-11-30", "2026-12-01"), 1):
        with freeze_time(moment):
            send(gateway, sms(number))
    found = [Accepted(name(number), reply="found in the outbox") for number in (1, 2)]
    assert gateway.settle([name(1), name(2), name(3)]) == {
        name(1): found[0],
        name(2): found[1],
        name(3): Retry("not in the outbox"),
    }


def test_settle_knows_nothing_where_the_folder_cannot_be_read(gateway: OutboxGateway) -> None:
    gateway.folder.parent.mkdir(parents=True)
    gateway.folder.write_text("a file where the folder should be")
    assert gateway.settle([name(1)]) == {name(1): None}


def test_settle_takes_no_names_but_ids(gateway: OutboxGateway) -> None:
    send(gateway, sms())
    with pytest.raises(ValueError, match="badly formed"):
        gateway.settle(["../../../etc/passwd"])


def test_check_says_what_to_do(gateway: OutboxGateway) -> None:
    assert gateway.check() == []
    gateway.folder.rmdir()
    gateway.folder.write_text("")
    assert gateway.check() == [
        f"the folder {gateway.folder} cannot be written: File exists; make it writable or set another folder"
    ]
