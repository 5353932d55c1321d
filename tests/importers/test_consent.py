"""Consent is never weakened: a yes that is older, or says no date, never overrides a no."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.importers.conftest import Desk
from winback.store import Channel, Purpose, consents, suppressions, writing
from winback.store.consent import record_consent, suppress

HEAD = "customer_id,email_marketing,consent_at,consent_source,consent_wording\n"
LOGGED = ("channel", "purpose", "granted", "at", "source", "wording")


def test_a_first_answer_is_written_down_with_where_it_came_from(desk: Desk) -> None:
    desk.run("customers", HEAD + "C1,yes,2026-01-05 12:00,newsletter form,v2\nC2,no,,,\nC3,,,,\n", name="people.csv")
    assert desk.all(consents, *LOGGED) == [
        ("email", "marketing", True, datetime(2026, 1, 5, 11, tzinfo=UTC), "newsletter form", "v2"),
        ("email", "marketing", False, desk.now, "import:people.csv", None),
    ]
    assert [desk.customer(each).email_marketing for each in ("C1", "C2", "C3")] == [True, False, None]


def test_all_four_consents_are_read(desk: Desk) -> None:
    text = "customer_id,email_marketing,email_service,sms_marketing,sms_service\nC1,yes,no,opted-in,0\n"
    desk.run("customers", text)
    one = desk.customer("C1")
    assert (one.email_marketing, one.email_service, one.sms_marketing, one.sms_service) == (True, False, True, False)
    assert len(desk.all(consents, "id")) == 4


@pytest.mark.parametrize(
    ("first", "second", "in_force", "told"),
    [
        # What was said first, what the file says then, what counts.
        (("yes", "2026-03-01"), ("no", "2026-02-01"), True, False),  # the no is older
        (("yes", "2026-03-01"), ("no", "2026-03-01"), False, False),  # at the same moment: no
        (("yes", "2026-03-01"), ("no", "2026-04-01"), False, False),
        (("yes", "2026-03-01"), ("no", ""), False, False),
        (("no", "2026-03-01"), ("yes", "2026-02-01"), False, True),
        (("no", "2026-03-01"), ("yes", "2026-03-01"), False, True),
        (("no", "2026-03-01"), ("yes", ""), False, True),
        (("no", "2026-03-01"), ("yes", "2026-04-01"), True, False),
        (("no", ""), ("yes", "2026-04-01"), False, True),  # an undated no is of today
        (("yes", ""), ("", ""), True, False),
        (("no", ""), ("unknown", "2026-04-01"), False, False),
    ],
)
def test_which_answer_counts(desk: Desk, first: tuple[str, str], second: tuple[str, str], in_force: bool, told: bool) -> None:
    desk.run("customers", HEAD + f"C1,{','.join(first)},,\n")
    result = desk.run("customers", HEAD + f"C1,{','.join(second)},,\n")
    assert desk.customer("C1").email_marketing is in_force
    assert any("the no stays" in note for note in result.notes) is told
    before = desk.all(consents, *LOGGED)
    assert desk.run("customers", HEAD + f"C1,{','.join(second)},,\n").updated == 0
    assert desk.all(consents, *LOGGED) == before


def test_no_yes_comes_between_two_noes(desk: Desk) -> None:
    for again in ("2026-06-01", ""):
        for answer in ("no,2026-01-01", f"no,{again}", "yes,2026-03-01"):
            desk.run("customers", HEAD + f"C1,{answer},,\n")
        assert desk.customer("C1").email_marketing is False


def test_an_undated_no_is_written_down_once_however_often_it_is_imported(desk: Desk) -> None:
    desk.run("customers", HEAD + "C1,no,2026-01-01,,\nC2,yes,,,\n")
    for day in range(1, 4):
        result = replace(desk, now=desk.now + timedelta(days=day)).run("customers", "customer_id,email_marketing\nC1,no\n")
        assert (result.updated, result.unchanged) == ((1, 0) if day == 1 else (0, 1))
    assert len(desk.all(consents, "id")) == 3


@pytest.mark.parametrize(
    ("rows", "in_force"),
    [
        (["yes,2026-01-01", "no,2026-02-01"], False),
        (["no,2026-02-01", "yes,2026-01-01"], False),
        (["no,2026-01-01", "yes,2026-02-01"], True),
        (["no,2026-01-01", "yes,"], False),
        (["yes,", "no,2026-01-01"], False),
        (["yes,2026-01-01", "no,"], False),
        (["yes,", "yes,2026-01-01"], True),
    ],
)
def test_of_several_rows_of_one_file_no_yes_hides_a_no(desk: Desk, rows: list[str], in_force: bool) -> None:
    desk.run("customers", HEAD + "".join(f"C1,{row},,\n" for row in rows))
    assert desk.customer("C1").email_marketing is in_force


def test_an_unsubscribe_outlives_every_import_of_the_old_list(desk: Desk) -> None:
    text = HEAD + "C1,yes,2026-01-05,form,\n"
    desk.run("customers", text)
    with writing(desk.engine) as connection:
        record_consent(connection, desk.customer("C1").id, "email", "marketing", False, desk.now, "one-click")
    result = desk.run("customers", text)
    assert (result.unchanged, desk.customer("C1").email_marketing) == (1, False)
    undated = desk.run("customers", "customer_id,newsletter\nC1,yes\n")
    assert (undated.unchanged, desk.customer("C1").email_marketing) == (1, False)


def test_emptying_cells_takes_no_consent_away_and_gives_none(desk: Desk) -> None:
    desk.run("customers", HEAD + "C1,no,,,\nC2,yes,,,\n")
    desk.run("customers", HEAD + "C1,,,,\nC2,,,,\n", 'empty = "clear"\n')
    assert [desk.customer(each).email_marketing for each in ("C1", "C2")] == [False, True]


def test_suppressions_are_not_touched(desk: Desk) -> None:
    desk.run("customers", "customer_id,email,email_marketing\nC1,ann@example.com,yes\n")
    with writing(desk.engine) as connection:
        suppress(connection, "email", desk.customer("C1").email_hash, "hard_bounce", desk.now, "smtp")
    before = desk.all(suppressions, *suppressions.c.keys())
    desk.run("customers", "customer_id,email,email_marketing,consent_at\nC9,ANN@example.com,yes,2026-11-20\n")
    assert desk.all(suppressions, *suppressions.c.keys()) == before
    assert desk.customer("C9").email_hash == desk.customer("C1").email_hash


ANSWERS = st.tuples(st.booleans(), st.one_of(st.none(), st.integers(0, 5)))


@hypothesis_settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(imports=st.lists(st.lists(ANSWERS, max_size=3), min_size=1, max_size=4))
def test_a_yes_counts_only_when_it_is_later_than_every_no(desk: Desk, imports: list[list[tuple[bool, int | None]]]) -> None:
    """Whatever is imported in whatever order: where a yes counts, no no is as late as the latest dated yes."""
    who = f"C{len(desk.all(consents, 'id'))}-{abs(hash(str(imports)))}"
    start = datetime(2026, 1, 1, tzinfo=UTC)
    noes: list[datetime] = []
    yeses: list[datetime] = []
    for rows in imports:
        text = HEAD
        for granted, day in rows:
            at = "" if day is None else (start + timedelta(days=day)).isoformat()
            text += f"{who},{'yes' if granted else 'no'},{at},,\n"
            if not granted:
                noes.append(desk.now if day is None else start + timedelta(days=day))
            elif day is not None:
                yeses.append(start + timedelta(days=day))
        desk.run("customers", text)
    if not any(imports):
        return
    granted = desk.customer(who).email_marketing
    if granted and noes:
        # Only an undated yes that was there before any no may have a date (that of its import) later than a no that came after.
        latest = max([*yeses, *([desk.now] if _undated_yes_first(imports) else [])])
        assert max(noes) < latest


def _undated_yes_first(imports: list[list[tuple[bool, int | None]]]) -> bool:
    first = next(rows for rows in imports if rows)
    return all(granted for granted, _ in first) and any(day is None for _, day in first)


@pytest.mark.parametrize("backend", ["postgresql"])  # SQLite has one writer at a time
def test_a_no_that_comes_in_during_an_import_is_not_overwritten(desk: Desk) -> None:
    """Somebody unsubscribes while the import works on the same person: the no counts, whoever is first."""
    import threading

    from sqlalchemy import event, text

    desk.run("customers", "customer_id\nC1\n")
    own = desk.customer("C1").id
    unsubscribing = threading.Event()

    def unsubscribe() -> None:
        with writing(desk.engine) as connection:
            record_consent(connection, own, Channel.EMAIL, Purpose.MARKETING, False, desk.now + timedelta(hours=1), "one-click")
            unsubscribing.set()
            # Hold the row until the import waits for it.
            for _ in range(10_000):
                waiting = connection.scalar(text("SELECT count(*) FROM pg_locks WHERE NOT granted"))
                if waiting:
                    break
            assert waiting

    thread = threading.Thread(target=unsubscribe)

    def start(_c: object, _cursor: object, statement: str, *_: object) -> None:
        if "ix_staged_consents" in statement and not thread.ident:
            thread.start()
            assert unsubscribing.wait(timeout=30)

    event.listen(desk.engine, "before_cursor_execute", start)
    desk.run("customers", HEAD + "C1,yes,2026-11-23,,\n")
    thread.join(timeout=30)
    assert thread.ident is not None
    assert desk.customer("C1").email_marketing is False
