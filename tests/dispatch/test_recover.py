"""After `kill -9` nothing is lost and nothing goes twice; only what was on the line is uncertain. On both databases."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, update

from tests.dispatch.conftest import MakeHouse
from tests.dispatch.gateways import Filed, Scripted, accept
from tests.dispatch.house import TEMPLATES, WAKE, House
from winback import ledger
from winback.dispatch import recover, retry
from winback.dispatch.journal import Answer, Handover, Journal
from winback.errors import InputError
from winback.gateways.base import Accepted, Outcome, Refused, Retry, Unknown
from winback.store import coupons, messages, reading, suppressions, writing

ROOT = Path(__file__).parents[2]

Kill = Callable[[str, int], None]


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """Give the file that says what arrived."""
    return tmp_path / "world"


@pytest.fixture
def killed(house: House, database_url: str, world: Path) -> Iterator[Kill]:
    """Give a function that starts a dispatcher in a process of its own and kills it at a point of its n-th message."""
    running: list[subprocess.Popen[str]] = []

    def kill(point: str, number: int) -> None:
        shop = house.project.root
        command = [
            sys.executable,
            "-m",
            "tests.dispatch.victim",
            shop,
            database_url,
            house.now.isoformat(),
            world,
            point,
            str(number),
        ]
        process = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, text=True, cwd=ROOT)
        running.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "here\n"
        process.kill()
        process.wait()

    yield kill
    for process in running:
        if process.poll() is None:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _journals(house: House) -> list[str]:
    folder = house.project.var / "dispatch"
    return [path.name for path in folder.iterdir()] if folder.exists() else []


@pytest.mark.parametrize(
    ("place", "arrived", "after"),
    [
        # at which point of which message it was killed; how many had arrived; what recover makes of its batch of 8
        (("before", 1), 0, {"planned": 12}),  # claimed, and nothing was handed over
        (("handed", 4), 3, {"sent": 3, "uncertain": 1, "planned": 8}),  # announced; whether it left, nobody knows
        (("arrived", 4), 4, {"sent": 3, "uncertain": 1, "planned": 8}),  # it did leave, and the answer is lost
        (("answered", 4), 4, {"sent": 4, "planned": 8}),  # answered, and not in the ledger yet
        (("before", 9), 8, {"sent": 8, "planned": 4}),  # the first batch is recorded, the second claimed
    ],
)
def test_a_killed_dispatcher_leaves_exact_evidence(
    make_house: MakeHouse, killed: Kill, world: Path, place: tuple[str, int], arrived: int, after: dict[str, int]
) -> None:
    house = make_house(settings={"dispatch": {"batch": 8}})
    ids = house.due(12, first_name="Ada")
    killed(*place)
    gateway = Filed(world)
    assert len(gateway.arrived) == arrived
    assert house.states()["sending"] > 0
    recovered = recover(house.engine, house.project, now=house.now, gateways={"outbox": gateway})
    assert house.states() == after
    assert recovered.count == (4 if place[1] == 9 else 8)
    assert len(recovered.dispatchers) == 1
    assert {attempts for state, attempts in house.rows("state", "attempts") if state == "planned"} == {0}
    assert {row[1:] for row in house.rows("state", "subject", "gateway") if row[0] in ("sent", "uncertain")} <= {
        ("Hello Ada", "outbox")
    }
    assert _journals(house) == []
    # Another pass sends the rest, and nothing that had arrived.
    house.run(gateway)
    assert not {"planned", "sending"} & house.states().keys()
    counts = Counter(gateway.arrived)
    assert max(counts.values()) == 1
    uncertain = [row[0] for row in house.rows("id", "state") if row[1] == "uncertain"]
    assert set(ids) - counts.keys() <= set(uncertain)


@pytest.mark.parametrize(("point", "state"), [("handed", "planned"), ("arrived", "sent")])
def test_a_gateway_that_can_tell_leaves_nothing_uncertain(
    house: House, killed: Kill, world: Path, point: str, state: str
) -> None:
    house.due(5)
    killed(point, 3)
    gateway = Filed(world, tells=True)
    recovered = recover(house.engine, house.project, now=house.now, gateways={"outbox": gateway})
    assert recovered.uncertain == 0
    assert Counter(house.states()) == Counter({"sent": 2, "planned": 2}) + Counter({state: 1})
    house.run(gateway)
    assert (house.states(), sorted(Counter(gateway.arrived).values())) == ({"sent": 5}, [1] * 5)


def test_the_outbox_can_tell(house: House, now: datetime) -> None:
    """Its files are the evidence, so after a crash no message of a demo or a test is uncertain."""
    written, lost, waiting = house.due(3)
    with writing(house.engine) as connection:
        journal = Journal.open(house.project.var / "dispatch", "gone")
        ledger.claim(connection, worker=journal.name, now=now, limit=9, channels={"email"})
    for message in (written, lost):
        journal.hand_over(message, Handover("outbox", "Hello", None))
    journal.close(keep=True)
    folder = house.project.var / "outbox" / "2026-11"
    folder.mkdir(parents=True)
    (folder / f"{written}.json").write_text("{}")
    recovered = recover(house.engine, house.project, now=now)
    assert (recovered.sent, recovered.given_back) == (1, 2)
    assert [house.row(message).state for message in (written, lost, waiting)] == ["sent", "planned", "planned"]
    assert house.row(lost).attempts == 0


def test_a_living_dispatcher_is_left_alone(house: House, now: datetime) -> None:
    house.due(3)
    during: list[tuple[int, dict[str, int]]] = []

    def decide(message: object) -> Outcome:
        during.append((recover(house.engine, house.project, now=now + timedelta(days=1)).count, house.states()))
        return Accepted()

    assert house.run(Scripted(decide=decide)).sent == 3
    assert during == [(0, {"sending": 3})] * 3


def _claimed(house: House, now: datetime, *, holder: str | None = None) -> Journal | None:
    """Claim everything as a dispatcher that then goes away; without `holder` it has a journal here."""
    journal = None if holder else Journal.open(house.project.var / "dispatch", "gone")
    with writing(house.engine) as connection:
        ledger.claim(connection, worker=holder or (journal.name if journal else ""), now=now, limit=99, channels={"email", "sms"})
    return journal


@pytest.mark.parametrize(
    ("outcome", "state", "attempts", "reason"),
    [
        (Accepted("q1", "250 ok"), "sent", 1, None),
        (Retry("451 later", timedelta(hours=2), reply="451 4.7.1 busy"), "planned", 1, "451 later"),
        (Retry("421 closing", whole_gateway=True), "planned", 0, "421 closing"),
        (Refused("550 no such user", hard_bounce=True), "failed", 1, "550 no such user"),
        (Unknown("the line broke"), "uncertain", 1, "the line broke"),
    ],
    ids=["accepted", "later", "whole gateway", "refused", "unknown"],
)
def test_what_was_answered_is_recorded_as_answered(
    house: House, now: datetime, outcome: Outcome, state: str, attempts: int, reason: str | None
) -> None:
    [message] = house.due(campaign="gift")
    journal = _claimed(house, now)
    assert journal is not None
    answered_at = now + timedelta(seconds=3)
    journal.hand_over(message, Handover("outbox", "Für dich 🎁", None))
    journal.answer(message, Answer(outcome, answered_at))
    journal.close(keep=True)
    recover(house.engine, house.project, now=now + timedelta(hours=1))
    row = house.row(message)
    assert (row.state, row.attempts, row.reason) == (state, attempts, reason)
    if state == "sent":
        assert (row.sent_at, row.provider_id, row.subject) == (answered_at, "q1", "Für dich 🎁")
    if isinstance(outcome, Retry) and outcome.after:
        assert row.next_attempt_at == answered_at + outcome.after
    with reading(house.engine) as connection:
        assert len(connection.execute(select(suppressions)).all()) == isinstance(outcome, Refused)
        assert connection.execute(select(coupons)).all() == []


def _reboot(house: House) -> None:
    """Make the journals those of an earlier run of the machine."""
    for path in (house.project.var / "dispatch").glob("*.journal"):
        head, _, rest = path.read_text().partition("\n")
        path.write_text(json.dumps({**json.loads(head), "boot": "another"}) + "\n" + rest)


def test_after_a_power_cut_nothing_is_concluded_from_what_the_journal_does_not_say(house: House, now: datetime) -> None:
    answered, handed, silent = house.due(3)
    journal = _claimed(house, now)
    assert journal is not None
    for message in (answered, handed):
        journal.hand_over(message, Handover("outbox"))
    journal.answer(answered, Answer(Accepted("q1"), now))
    journal.close(keep=True)
    _reboot(house)
    recover(house.engine, house.project, now=now, gateways={"outbox": Scripted()})
    assert [house.row(message).state for message in (answered, handed, silent)] == ["sent", "uncertain", "uncertain"]


def test_after_a_power_cut_a_gateway_that_can_tell_is_asked(house: House, now: datetime, world: Path) -> None:
    arrived, lost = house.due(2)
    journal = _claimed(house, now)
    assert journal is not None
    journal.close(keep=True)
    _reboot(house)
    world.write_text(f"{arrived}\n")
    recover(house.engine, house.project, now=now, gateways={"outbox": Filed(world, tells=True)})
    assert [house.row(message).state for message in (arrived, lost)] == ["sent", "planned"]


@pytest.mark.parametrize("damage", ["", "not json\n", '{"winback": 1}\n', '{"winback": 99, "boot": "x"}\n'])
def test_a_journal_that_cannot_be_read_proves_nothing(house: House, now: datetime, damage: str) -> None:
    [message] = house.due()
    journal = _claimed(house, now)
    assert journal is not None
    journal.close(keep=True)
    [path] = (house.project.var / "dispatch").glob("*.journal")
    path.write_text(damage)
    recover(house.engine, house.project, now=now, gateways={"outbox": Scripted()})
    assert house.row(message).state == "uncertain"
    assert _journals(house) == []


def test_a_dispatcher_of_another_machine_has_a_quarter_of_an_hour(house: House, now: datetime) -> None:
    [message] = house.due()
    _claimed(house, now, holder="elsewhere.1234")
    early = recover(house.engine, house.project, now=now + timedelta(minutes=14, seconds=59))
    assert (early.count, house.row(message).state) == (0, "sending")
    late = recover(house.engine, house.project, now=now + timedelta(minutes=15))
    assert (late.uncertain, late.dispatchers) == (1, ["elsewhere.1234"])
    assert house.history(message)[-1] == ("sending", "uncertain", "the answer never came")


def test_an_answer_that_comes_after_its_dispatcher_was_given_up_is_still_recorded(house: House, now: datetime) -> None:
    """The other machine was only slow."""
    [message] = house.due()

    def decide(_: object) -> Outcome:
        with writing(house.engine) as connection:
            connection.execute(update(messages).values(claimed_by="elsewhere"))
        recover(house.engine, house.project, now=now + timedelta(hours=1))
        return Accepted("q1", "250 ok")

    assert house.run(Scripted(decide=decide)).sent == 1
    assert [edge[1] for edge in house.history(message)] == ["planned", "sending", "uncertain", "sent"]


def _with_one_on_the_line(house: House, now: datetime) -> str:
    """Let a dispatcher go away that had handed over the first of three messages; return that one's id."""
    message, *_ = house.due(3)
    journal = _claimed(house, now)
    assert journal is not None
    journal.hand_over(message, Handover("outbox"))
    journal.close(keep=True)
    return message


def test_recovering_twice_changes_nothing_more(house: House, now: datetime) -> None:
    _with_one_on_the_line(house, now)
    first = recover(house.engine, house.project, now=now, gateways={"outbox": Scripted()})
    assert (first.uncertain, first.given_back) == (1, 2)
    before = house.rows("id", "state", "attempts", "next_attempt_at")
    again = recover(house.engine, house.project, now=now + timedelta(days=1), gateways={"outbox": Scripted()})
    assert (again.count, house.rows("id", "state", "attempts", "next_attempt_at")) == (0, before)


def test_what_is_uncertain_goes_again_when_a_person_asks(house: House, now: datetime) -> None:
    uncertain = _with_one_on_the_line(house, now)
    gateway = Scripted()
    recover(house.engine, house.project, now=now, gateways={"outbox": gateway})
    house.run(gateway)
    assert house.states() == {"sent": 2, "uncertain": 1}
    later = now + timedelta(days=3)
    with writing(house.engine) as connection:
        assert retry(connection, house.project, "wake", "failed", later) == 0
        assert retry(connection, house.project, "wake", "uncertain", later) == 1
    row = house.row(uncertain)
    assert (row.state, row.attempts, row.next_attempt_at, row.valid_until) == ("planned", 0, later, later + timedelta(hours=12))
    house.run(gateway, at=later)
    assert house.states() == {"sent": 3}
    assert gateway.ids[-1] == uncertain  # the same id as before, so that the other side can tell


def test_a_message_that_the_other_channel_stands_in_for_does_not_go_again(make_house: MakeHouse, now: datetime) -> None:
    step = {**WAKE["steps"][0], "fallback": {"channel": "sms", "on": ["suppressed", "hard_bounce"]}}
    house = make_house(wake={**WAKE, "steps": [step]}, templates={"wake.sms.txt": TEMPLATES["care.sms.txt"]})
    [message] = house.due()
    gone = Refused("550 no such mailbox", hard_bounce=True)
    gateway = Scripted(decide=lambda each: gone if each.message_id == message else accept(each))
    house.run(gateway)
    assert house.rows("channel", "state") == [("email", "failed"), ("sms", "sent")]
    with writing(house.engine) as connection:
        assert retry(connection, house.project, "wake", "failed", now) == 0
    assert house.run(gateway).taken == 0


def test_only_failed_or_uncertain_messages_of_a_known_campaign_go_again(house: House, now: datetime) -> None:
    with writing(house.engine) as connection:
        with pytest.raises(InputError, match="there is no campaign 'wkae'"):
            retry(connection, house.project, "wkae", "failed", now)
        with pytest.raises(InputError, match="cannot be sent again"):
            retry(connection, house.project, "wake", "sent", now)  # type: ignore[arg-type]
