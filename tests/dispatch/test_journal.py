"""A journal tells what its dispatcher had written, and whether the dispatcher lives."""

from __future__ import annotations

import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from winback.dispatch import journal
from winback.dispatch.journal import Answer, Evidence, Handover, Journal
from winback.gateways.base import Accepted, Outcome, Refused, Retry, Unknown

AT = datetime(2026, 11, 24, 10, 0, 0, 123456, tzinfo=UTC)


def _evidence(folder: Path, name: str) -> Evidence | None:
    with journal.taken(journal.path_of(folder, name)) as evidence:
        return evidence


@pytest.mark.parametrize(
    "outcome",
    [
        Accepted(),
        Accepted("4bZ1", "250 2.0.0 Ok: queued as 4bZ1"),
        Retry("later", timedelta(seconds=90.5), reply="451\n4.7.1"),
        Retry("closed", whole_gateway=True),
        Refused("никогда", hard_bounce=True, reply="550"),
        Unknown("the line broke"),
    ],
)
def test_answers_come_back_as_they_were_given(tmp_path: Path, outcome: Outcome) -> None:
    living = Journal.open(tmp_path, "w")
    living.hand_over("m1", Handover("smtp", "Grüße \ud83d", 3))
    living.answer("m1", Answer(outcome, AT))
    living.close(keep=True)
    evidence = _evidence(tmp_path, living.name)
    assert evidence == Evidence(True, {"m1": Handover("smtp", "Grüße \ud83d", 3)}, {"m1": Answer(outcome, AT)})


def test_it_is_nobodys_while_its_dispatcher_lives_and_gone_after_it_was_taken(tmp_path: Path) -> None:
    living = Journal.open(tmp_path, "w")
    assert journal.names(tmp_path) == [living.name]
    assert _evidence(tmp_path, living.name) is None
    assert journal.path_of(tmp_path, living.name).exists()
    living.close(keep=True)
    with journal.taken(journal.path_of(tmp_path, living.name)) as evidence:
        assert evidence == Evidence(True)
        assert _evidence(tmp_path, living.name) is None  # somebody else comes meanwhile
    assert journal.names(tmp_path) == []
    assert _evidence(tmp_path, living.name) is None


def test_it_stays_when_taking_care_of_it_failed(tmp_path: Path) -> None:
    living = Journal.open(tmp_path, "w")
    living.hand_over("m1", Handover("smtp"))
    living.close(keep=True)
    with pytest.raises(FileNotFoundError, match="database"), journal.taken(journal.path_of(tmp_path, living.name)):
        raise FileNotFoundError("database")
    evidence = _evidence(tmp_path, living.name)
    assert evidence is not None
    assert evidence.handed == {"m1": Handover("smtp")}


def test_what_is_in_the_ledger_is_forgotten(tmp_path: Path) -> None:
    living = Journal.open(tmp_path, "w")
    size = journal.path_of(tmp_path, living.name).stat().st_size
    for number in range(100):
        living.hand_over(f"m{number}", Handover("smtp", "x" * 100))
    living.forget()
    assert journal.path_of(tmp_path, living.name).stat().st_size == size
    living.hand_over("m100", Handover("smtp"))
    living.close(keep=True)
    assert _evidence(tmp_path, living.name) == Evidence(True, {"m100": Handover("smtp")})


def test_a_line_that_was_being_written_was_never_relied_on(tmp_path: Path) -> None:
    living = Journal.open(tmp_path, "w")
    living.hand_over("m1", Handover("smtp"))
    living.close(keep=True)
    with journal.path_of(tmp_path, living.name).open("a") as stream:
        stream.write('{"handed":"m2","gate')
    assert _evidence(tmp_path, living.name) == Evidence(True, {"m1": Handover("smtp")})


def test_reserved_room_tells_nothing(tmp_path: Path) -> None:
    living = Journal.open(tmp_path, "w")
    living.reserve(100)
    path = journal.path_of(tmp_path, living.name)
    room = path.stat().st_size
    assert path.stat().st_blocks * 512 >= room > 100_000
    living.hand_over("m1", Handover("smtp"))
    assert path.stat().st_size == room
    (tmp_path / "killed.journal").write_bytes(path.read_bytes())
    living.close(keep=True)
    for name in ("killed", living.name):
        assert _evidence(tmp_path, name) == Evidence(True, {"m1": Handover("smtp")})


def test_a_broken_line_in_between_leaves_doubt(tmp_path: Path) -> None:
    living = Journal.open(tmp_path, "w")
    living.close(keep=True)
    with journal.path_of(tmp_path, living.name).open("a") as stream:
        stream.write('{"handed":"m2","gate\n{"handed":"m3","gateway":"smtp","subject":null,"segments":null}\n')
    assert _evidence(tmp_path, living.name) == Evidence(False, {"m3": Handover("smtp")})


@pytest.mark.parametrize("worker", ["daemon", "host:1234/ü", "../../etc/passwd", "", "x" * 500])
def test_whatever_a_worker_is_called_its_journal_is_in_the_folder_and_its_own(tmp_path: Path, worker: str) -> None:
    first, second = Journal.open(tmp_path / "dispatch", worker), Journal.open(tmp_path / "dispatch", worker)
    assert first.name != second.name
    assert len(first.name) <= 100
    assert sorted(path.name for path in (tmp_path / "dispatch").iterdir()) == sorted(
        f"{each.name}.journal" for each in (first, second)
    )
    first.close(keep=False)
    second.close(keep=False)
    assert [path.name for path in tmp_path.rglob("*")] == ["dispatch"]


def test_only_its_owner_may_read_it(tmp_path: Path) -> None:
    """It holds subjects, and so perhaps names."""
    living = Journal.open(tmp_path, "w")
    assert stat.S_IMODE(journal.path_of(tmp_path, living.name).stat().st_mode) == 0o600
    living.close(keep=False)


def test_a_journal_that_was_never_begun_is_swept_away(tmp_path: Path) -> None:
    (tmp_path / ".new-abc").touch()
    assert journal.names(tmp_path) == []
    assert list(tmp_path.iterdir()) == []
