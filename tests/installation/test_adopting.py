"""What `winback adopt` does with what is due, with what was on its way, and with the other folders."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from sqlalchemy import Engine, select, update

from tests.installation.conftest import OpenShop, change_row
from tests.project.builder import campaign, email_step
from tests.scheduler.shops import WAKE, add_sleepers, make_shop, rows, states
from winback.errors import InputError
from winback.installation import Kind, check, look, places_of
from winback.project import Project
from winback.scheduler import run_pass
from winback.scheduler.adoption import Adoption, adopt, standing
from winback.store import messages, places, reading, writing

CLONED = {"sqlite": "sqlite:1:b1", "postgresql": "postgresql:1:1"}


def make_copy(engine: Engine) -> None:
    """Let the database be a copy of the one that the folder has sent from."""
    change_row(engine, database=CLONED[engine.dialect.name])


def make_backup(engine: Engine) -> None:
    """Let the database be older than the folder."""
    change_row(engine, token="an older one", generation=0)


def let_in(engine: Engine, project: Project, now: datetime, *, send_due: bool = True) -> Adoption:
    return adopt(engine, project, now, by="anna@shop-1", send_due=send_due)


def plan_only(engine: Engine, project: Project, now: datetime) -> None:
    """Make a pass that is stopped before it sends."""
    asked = iter([False] * 4)
    assert run_pass(engine, project, now, "test", stop=lambda: next(asked, True)).sent == 0


def test_where_nothing_is_to_be_adopted_nothing_is_done(engine: Engine, shop: Project, now: datetime) -> None:
    assert standing(engine, shop, now) is None
    before = places_of(engine)
    assert let_in(engine, shop, now, send_due=False).admitted.refusal is None
    assert places_of(engine) == before


def test_who_did_it_and_when_is_kept(engine: Engine, shop: Project, now: datetime) -> None:
    make_copy(engine)
    later = now + timedelta(hours=2)
    let_in(engine, shop, later)
    [row] = places_of(engine)
    assert (row.adopted_by, row.adopted_at, row.folder) == ("anna@shop-1", later, str(shop.root))
    assert look(engine, shop) is None


@pytest.mark.parametrize(("happened", "sends"), [(make_copy, True), (make_backup, False)], ids=["copy", "backup"])
def test_a_person_is_told_what_would_go(
    engine: Engine, shop: Project, now: datetime, happened: Callable[[Engine], None], sends: bool
) -> None:
    add_sleepers(engine, 3, now, prefix="T")
    plan_only(engine, shop, now)
    happened(engine)
    found = standing(engine, shop, now)
    assert found is not None
    assert (found.due, found.held, found.last_sent, found.sends_what_is_due) == (3, 0, now, sends)


def test_what_was_being_sent_in_the_original_is_uncertain(engine: Engine, shop: Project, now: datetime) -> None:
    add_sleepers(engine, 3, now, prefix="T")
    plan_only(engine, shop, now)
    with writing(engine) as connection:
        held = select(messages.c.id).where(messages.c.state == "planned").limit(2)
        connection.execute(
            update(messages).where(messages.c.id.in_(held)).values(state="sending", claimed_by="original.1", claimed_at=now)
        )
    make_copy(engine)
    assert check(engine, shop, now) is not None
    assert states(engine) == {"sent": 2, "sending": 2, "planned": 1}  # no pass of the copy may settle them
    assert let_in(engine, shop, now).admitted.uncertain == 2
    assert run_pass(engine, shop, now, "test").sent == 1
    assert states(engine) == {"sent": 3, "uncertain": 2}
    assert {reason for state, reason in rows(engine, "state", "reason") if state == "uncertain"} == {"copied"}


def test_one_more_folder_leaves_alone_what_the_others_are_sending(
    engine: Engine, shop: Project, open_shop: OpenShop, now: datetime
) -> None:
    add_sleepers(engine, 1, now, prefix="T")
    plan_only(engine, shop, now)
    with writing(engine) as connection:
        connection.execute(
            update(messages).where(messages.c.state == "planned").values(state="sending", claimed_by="other.1", claimed_at=now)
        )
    done = let_in(engine, open_shop("second"), now)
    assert (done.admitted.uncertain, done.admitted.left_out) == (0, 0)
    assert states(engine) == {"sent": 2, "sending": 1}
    assert len(places_of(engine)) == 2


def test_from_a_backup_only_its_folder_sends_until_the_others_are_adopted_again(
    engine: Engine, shop: Project, open_shop: OpenShop, now: datetime
) -> None:
    second = open_shop("second")
    let_in(engine, second, now)
    make_backup(engine)
    assert check(engine, shop, now) is not None  # and keeps for all that the database is older
    assert let_in(engine, shop, now).admitted.left_out == 1
    assert look(engine, shop) is None
    refusal = look(engine, second)
    assert refusal is not None
    assert refusal.kind is Kind.SECOND
    assert check(engine, second, now) is not None
    assert look(engine, shop) is None  # what the second one knows of the time before does not count any more
    let_in(engine, second, now)
    assert [look(engine, project) for project in (shop, second)] == [None, None]


def test_a_card_that_was_lost_is_made_anew_and_the_folder_is_listed_once(engine: Engine, shop: Project, now: datetime) -> None:
    (shop.root / "var/installation.json").unlink()
    done = let_in(engine, shop, now)
    assert (done.admitted.left_out, len(places_of(engine))) == (0, 1)
    assert look(engine, shop) is None


@pytest.fixture
def daily(engine: Engine, database_url: str, shop: Project) -> Project:
    """Give the shop with a second campaign, of two steps, that nobody is in yet."""
    steps = [email_step("first"), email_step("second", after="7d")]
    thanks = campaign(title="Thanks", purpose="service", audience={"preset": "after_order", "delay": "1d"}, steps=steps)
    return make_shop(shop.root, database_url, {"wake": WAKE, "thanks": thanks})


def test_a_backup_skips_also_what_nobody_had_planned_when_it_was_made(engine: Engine, daily: Project, now: datetime) -> None:
    run_pass(engine, daily, now, "test")
    add_sleepers(engine, 1, now, days=1, prefix="N")  # ordered yesterday: a thank-you is due at once
    later = now + timedelta(hours=1)
    make_backup(engine)
    assert let_in(engine, daily, later, send_due=False).skipped == 1
    assert run_pass(engine, daily, later, "test").sent == 0
    found = rows(engine, "external_id", "campaign", "step", "state", "reason")
    assert ("N0000", "thanks", "first", "skipped", "restored") in found
    # Only that one: the next step comes in its time.
    assert run_pass(engine, daily, now + timedelta(days=7, hours=2), "test").sent == 1


def test_what_waits_for_another_attempt_may_have_gone_too(engine: Engine, shop: Project, now: datetime) -> None:
    add_sleepers(engine, 1, now, prefix="T")
    plan_only(engine, shop, now)
    with writing(engine) as connection:
        waits = messages.c.state == "planned"
        connection.execute(update(messages).where(waits).values(next_attempt_at=now + timedelta(hours=3), attempts=1))
    make_backup(engine)
    assert let_in(engine, shop, now, send_due=False).skipped == 1
    assert states(engine) == {"sent": 2, "skipped": 1}


def test_a_copy_sends_no_backlog(engine: Engine, shop: Project, now: datetime) -> None:
    add_sleepers(engine, 2, now, prefix="T")
    plan_only(engine, shop, now)
    make_copy(engine)
    later = now + timedelta(days=3)  # the campaign's `late` is two days
    let_in(engine, shop, later)
    assert run_pass(engine, shop, later, "test").sent == 0
    assert {reason for state, reason in rows(engine, "state", "reason") if state == "skipped"} == {"late"}
    assert states(engine) == {"sent": 2, "skipped": 2}


def test_where_nobody_can_say_what_was_due_nothing_is_adopted(engine: Engine, shop: Project, now: datetime) -> None:
    add_sleepers(engine, 1, now, prefix="T")
    make_backup(engine)
    wake = shop.campaigns["wake"]
    audience = wake.audience.model_copy(update={"where": "no_such_field = 1"})  # files like this are refused; a pass survives it
    broken = replace(shop, campaigns={"wake": wake.model_copy(update={"audience": audience})})
    with pytest.raises(InputError, match="what was due cannot be told: campaign wake: "):
        let_in(engine, broken, now, send_due=False)
    assert look(engine, shop) is not None
    assert states(engine) == {"sent": 2}


def test_an_adopted_folder_is_not_let_in_twice(engine: Engine, shop: Project, open_shop: OpenShop, now: datetime) -> None:
    second = open_shop("second")
    let_in(engine, second, now)
    let_in(engine, second, now)
    with reading(engine) as connection:
        assert len(connection.execute(select(places)).all()) == 2
