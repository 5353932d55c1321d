"""Each preset: whom it selects, with which occasion and anchor, on both databases."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from pydantic import TypeAdapter
from sqlalchemy import Connection, Engine, insert, select, update

from tests.audience.world import NOW, SCORES, SEGMENTS, ago, context, fill
from tests.rows import add_customer, add_order
from winback.audience import Audience, select_audience, update_rhythm, update_scores, update_segments
from winback.audience.rhythm import shop_rhythm
from winback.store import customers, events, orders, reading, writing

_ADAPTER: TypeAdapter[Any] = TypeAdapter(Audience)


def _audience(preset: str, **keys: Any) -> Any:
    return _ADAPTER.validate_python({"preset": preset, **keys})


def _selected(engine: Engine, audience: Any, at: datetime = NOW, since: datetime | None = None) -> list[tuple[Any, ...]]:
    with reading(engine) as connection:
        return _rows(connection, audience, at, since)


def _rows(connection: Connection, audience: Any, at: datetime, since: datetime | None) -> list[tuple[Any, ...]]:
    found = select_audience(audience, context(at, since)).subquery()
    rows = connection.execute(
        select(customers.c.external_id, found.c.occasion, found.c.anchor_at, found.c.anchor_on)
        .join(customers, customers.c.id == found.c.customer_id)
        .order_by(customers.c.external_id, found.c.occasion)
    )
    return [tuple(row) for row in rows]


@pytest.mark.parametrize(
    ("inactive", "expected"),
    [
        ("90d", ["BORIS", "FUMI"]),
        ("90d..365d", ["BORIS"]),
        ("40d..200d", ["BORIS", "EMIL"]),  # both days are included
        ("41d..199d", []),
        ("2x", ["BORIS", "FUMI"]),  # too few orders for a rhythm: 90 days
        ("2x..365d", ["BORIS"]),
    ],
)
def test_sleeping_counts_whole_days(engine: Engine, inactive: str, expected: list[str]) -> None:
    fill(engine)
    assert [row[0] for row in _selected(engine, _audience("sleeping", inactive=inactive))] == expected


def test_sleeping_follows_each_customers_own_rhythm(engine: Engine) -> None:
    with writing(engine) as connection:
        for name, gap, last in (("WEEKLY", 7, 13), ("WEEKLY-LATE", 7, 15), ("MONTHLY", 30, 59), ("MONTHLY-LATE", 30, 61)):
            customer = add_customer(connection, name, ago(400))
            for number in range(3):
                add_order(connection, f"{name}-{number}", customer, ago(last + gap * (2 - number)))
    found = _selected(engine, _audience("sleeping", inactive="2x"))
    assert [row[:2] for row in found] == [("MONTHLY-LATE", "MONTHLY-LATE-2"), ("WEEKLY-LATE", "WEEKLY-LATE-2")]
    assert {row[2] for row in found} == {NOW}


@pytest.mark.parametrize("inactive", ["90d..365d", "2x..365d"])
def test_sqlite_reads_all_customers_to_find_those_asleep(engine: Engine, inactive: str) -> None:
    """To look a third of a million customers up by an index takes ten times as long."""
    if engine.dialect.name == "postgresql":
        pytest.skip("it knows how many they are, and chooses by itself")
    asked = str(
        select_audience(_audience("sleeping", inactive=inactive), context()).compile(
            engine, compile_kwargs={"literal_binds": True}
        )
    )
    with reading(engine) as connection:
        steps = str(connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {asked}").all())
    assert "SCAN customers" in steps
    assert "ix_customers_last_order" not in steps


@pytest.mark.parametrize(
    ("born", "on", "keys", "expected"),
    [
        ((12, 24), date(2026, 12, 24), {}, ("2026", date(2026, 12, 24))),
        ((12, 24), date(2026, 12, 21), {"offset": "-3d"}, ("2026", date(2026, 12, 21))),
        ((12, 24), date(2026, 12, 31), {"offset": "7d"}, ("2026", date(2026, 12, 31))),
        ((1, 2), date(2026, 12, 30), {"offset": "-3d"}, ("2027", date(2026, 12, 30))),  # a teaser in December is January's
        ((12, 30), date(2027, 1, 2), {"offset": "3d"}, ("2026", date(2027, 1, 2))),
        ((2, 29), date(2027, 2, 28), {}, ("2027", date(2027, 2, 28))),
        ((2, 29), date(2027, 3, 1), {"leap_day": "mar1"}, ("2027", date(2027, 3, 1))),
        ((2, 29), date(2027, 2, 28), {"leap_day": "mar1"}, None),
        ((2, 29), date(2027, 2, 28), {"leap_day": "skip"}, None),
        ((2, 29), date(2027, 3, 1), {"leap_day": "skip"}, None),
        ((2, 29), date(2028, 2, 29), {}, ("2028", date(2028, 2, 29))),
        ((2, 29), date(2028, 2, 28), {}, None),
        ((2, 29), date(2028, 2, 29), {"leap_day": "skip"}, ("2028", date(2028, 2, 29))),
        ((2, 28), date(2027, 2, 28), {}, ("2027", date(2027, 2, 28))),
        ((12, 24), date(2026, 12, 22), {}, None),
    ],
)
def test_a_birthday_comes_once_a_year(
    engine: Engine, born: tuple[int, int], on: date, keys: dict[str, str], expected: tuple[str, date] | None
) -> None:
    with writing(engine) as connection:
        add_customer(connection, "C", ago(400), birth_month=born[0], birth_day=born[1])
    noon_before = datetime(on.year, on.month, on.day, 12, tzinfo=UTC) - timedelta(days=1)
    found = _selected(engine, _audience("birthday", **keys), noon_before)
    assert [(row[1], row[3]) for row in found] == ([expected] if expected else [])


def test_a_birthday_follows_the_date_where_each_person_lives(engine: Engine) -> None:
    """At 10:30 UTC it is still yesterday in Honolulu and tomorrow on Kiritimati."""
    with writing(engine) as connection:
        for zone in ("Pacific/Honolulu", "Europe/Berlin", "Pacific/Kiritimati"):
            for day in (23, 24, 25, 26):
                add_customer(connection, f"{zone}-{day}", ago(9), local_zone=zone, birth_month=11, birth_day=day)
    found = _selected(engine, _audience("birthday"), datetime(2026, 11, 24, 10, 30, tzinfo=UTC))
    assert [row[0] for row in found] == [
        "Europe/Berlin-24",
        "Europe/Berlin-25",
        "Pacific/Honolulu-24",
        "Pacific/Honolulu-25",
        "Pacific/Kiritimati-25",
        "Pacific/Kiritimati-26",
    ]


def test_other_yearly_dates(engine: Engine) -> None:
    with writing(engine) as connection:
        first = add_customer(connection, "ANNIVERSARY", ago(900))
        add_order(connection, "O1", first, datetime(2024, 11, 24, 22, 30, tzinfo=UTC))  # 23:30 in Berlin
        late = add_customer(connection, "NEXT-DAY", ago(900))
        add_order(connection, "O2", late, datetime(2024, 11, 24, 23, 30, tzinfo=UTC))  # 0:30 on the 25th in Berlin
        new = add_customer(connection, "TODAY", ago(0))
        add_order(connection, "O3", new, NOW)
        for name, day in (("DOG", "2019-11-24"), ("CAT", "--11-24"), ("FISH", "2019-11-20"), ("HAMSTER", 1124)):
            add_customer(connection, name, ago(9), attributes={"pet_birthday": day})
    at = datetime(2026, 11, 24, 1, tzinfo=UTC)
    assert [(row[0], row[3]) for row in _selected(engine, _audience("birthday", field="first_order"), at)] == [
        ("ANNIVERSARY", date(2026, 11, 24)),
        ("NEXT-DAY", date(2026, 11, 25)),
    ]
    found = _selected(engine, _audience("birthday", field="attributes.pet_birthday"), at)
    assert [row[0] for row in found] == ["CAT", "DOG"]


def test_after_an_order(engine: Engine) -> None:
    fill(engine)
    placed = _audience("after_order", delay="10d")
    assert _selected(engine, placed, since=ago(1)) == [("ANNA", "A2", ago(10), None)]
    assert _selected(engine, placed, since=ago(0)) == [("ANNA", "A2", ago(10), None)]  # due this very moment
    assert _selected(engine, placed, NOW + timedelta(minutes=1)) == []
    assert _selected(engine, placed, ago(1), since=ago(1)) == []  # due in a day: the window ends before it
    since = ago(50)
    assert [row[1] for row in _selected(engine, _audience("after_order"), since=since)] == ["A2", "E1"]  # E0 was cancelled
    assert [row[1] for row in _selected(engine, _audience("after_order", first=True), since=since)] == ["E1"]
    assert _selected(engine, _audience("after_order", after="delivered"), since=since) == [("EMIL", "E1", ago(37), None)]
    assert _selected(engine, _audience("after_order", after="voided"), since=since) == [("EMIL", "E0", ago(18), None)]


def test_anniversaries_are_written_down_without_a_parameter_for_each_year(engine: Engine) -> None:
    """Two of each day of sixty years made a statement that took longer to write down than to run."""
    audience = select_audience(_audience("birthday", field="first_order"), context())
    with reading(engine) as connection:
        asked = audience.compile(engine)
        assert len(asked.params) < 100
        key = audience._generate_cache_key()
        assert key is not None  # SQLAlchemy finds it again,
        other = select_audience(_audience("birthday", field="first_order", offset="1d"), context())._generate_cache_key()
        assert key != other  # and no other one in its place
        if engine.dialect.name == "sqlite":
            plan = f"EXPLAIN QUERY PLAN {audience.compile(engine, compile_kwargs={'literal_binds': True})}"
            assert "ix_customers_first_order" in str(connection.exec_driver_sql(plan).all())


def test_the_first_order_is_one_and_only_one(engine: Engine) -> None:
    """Of two at one moment it is the one that was written first; a voided one does not count, but can be a first attempt."""
    with writing(engine) as connection:
        twins = add_customer(connection, "TWINS", ago(9))
        for name in ("T1", "T2"):
            add_order(connection, name, twins, ago(3))
        add_order(connection, "T3", twins, ago(2), status="cancelled", voided_at=ago(1))
        again = add_customer(connection, "AGAIN", ago(9))
        add_order(connection, "A1", again, ago(3), status="returned", voided_at=ago(2))
        add_order(connection, "A2", again, ago(2))
        never = add_customer(connection, "NEVER", ago(9))
        add_order(connection, "N1", never, ago(3), status="refunded", voided_at=ago(2))
    since = ago(5)
    for where in (None, "orders >= 0"):
        first = [row[1] for row in _selected(engine, _audience("after_order", first=True, where=where), since=since)]
        assert first == ["A2", "T1"]
        lost = _audience("after_order", after="voided", first=True, where=where)
        assert [row[1] for row in _selected(engine, lost, since=since)] == ["A1", "N1"]


def test_an_order_that_is_voided_no_longer_counts(engine: Engine) -> None:
    fill(engine)
    with writing(engine) as connection:
        connection.execute(update(orders).where(orders.c.external_id == "A2").values(status="returned", voided_at=NOW))
    assert _selected(engine, _audience("after_order"), since=ago(12)) == []


def test_an_event_and_the_one_that_takes_it_back(engine: Engine) -> None:
    with writing(engine) as connection:
        for name, left, bought in (
            ("LEFT", 2.0, None),
            ("BOUGHT", 2.0, 1.5),
            ("BOUGHT-LATER", 2.0, 0.5),
            ("JUST-NOW", 0.2, None),
        ):
            customer = add_customer(connection, name, ago(9))
            for event, hours in (("cart", left), ("checkout", bought)):
                if hours is not None:
                    row = {"external_id": f"{name}-{event}", "customer_id": customer, "name": event, "properties": {}}
                    connection.execute(insert(events).values(**row, at=NOW - timedelta(hours=hours)))
    plain = _audience("event", event="cart", delay="1h")
    assert [row[0] for row in _selected(engine, plain, since=ago(1))] == ["BOUGHT", "BOUGHT-LATER", "JUST-NOW", "LEFT"]
    unless = _audience("event", event="cart", delay="1h", unless="checkout")
    assert [row[0] for row in _selected(engine, unless, since=ago(1))] == ["BOUGHT-LATER", "LEFT"]
    longer = _audience("event", event="cart", delay="1h", unless="checkout", within="100min")
    assert [row[:2] for row in _selected(engine, longer, since=ago(1))] == [("LEFT", "LEFT-cart")]


def test_a_score_is_reached_once_each_time(engine: Engine) -> None:
    fill(engine)
    with writing(engine) as connection:
        update_scores(connection, SCORES, context())
    assert _selected(engine, _audience("score", score="lead", level="warm"), since=ago(4)) == [("CARLA", "warm:1", ago(3), None)]
    assert _selected(engine, _audience("score", score="lead", level="warm"), since=ago(2)) == []
    assert _selected(engine, _audience("score", score="lead", level="hot"), since=ago(4)) == []


def test_who_was_in_a_segment_before_we_looked_has_not_entered_it(engine: Engine) -> None:
    fill(engine)
    entered = _audience("segment", segment="regulars")
    with writing(engine) as connection:
        update_segments(connection, SEGMENTS, context(ago(2)))
    assert _selected(engine, entered, since=ago(9)) == []
    with writing(engine) as connection:
        emil = connection.scalar(select(customers.c.id).where(customers.c.external_id == "EMIL"))
        for number in range(2):
            add_order(connection, f"E-NEW-{number}", int(emil or 0), ago(1))
        update_segments(connection, SEGMENTS, context(ago(1)))
        update_segments(connection, SEGMENTS, context(NOW))
    assert _selected(engine, entered, since=ago(9)) == [("EMIL", "2026-11-23", ago(1), None)]
    with writing(engine) as connection:  # a definition that changes lets nobody enter
        wider = {"regulars": SEGMENTS["regulars"].model_copy(update={"where": "orders >= 1"})}
        update_segments(connection, wider, context(NOW))
    assert [row[0] for row in _selected(engine, entered, since=ago(9))] == ["EMIL"]


def test_a_segment_that_is_back_after_a_while_is_as_new(engine: Engine) -> None:
    fill(engine)
    with writing(engine) as connection:
        update_segments(connection, SEGMENTS, context(ago(3)))
        update_segments(connection, {}, context(ago(2)))
        update_segments(connection, SEGMENTS, context(ago(1)))
    assert _selected(engine, _audience("segment", segment="regulars"), since=ago(9)) == []


def test_who_leaves_a_segment_can_enter_it_again(engine: Engine) -> None:
    fill(engine)
    entered = _audience("segment", segment="german")
    moves = [(3, "DE"), (2, "FR"), (1, "DE")]
    with writing(engine) as connection:
        connection.execute(update(customers).where(customers.c.external_id == "EMIL").values(country="GB"))
        update_segments(connection, SEGMENTS, context(ago(4)))
        for days, country in moves:
            connection.execute(update(customers).where(customers.c.external_id == "EMIL").values(country=country))
            update_segments(connection, SEGMENTS, context(ago(days)))
    assert [row[1] for row in _selected(engine, entered, since=ago(9))] == ["2026-11-23"]


def test_everyone_on_a_date(engine: Engine) -> None:
    fill(engine)
    on = _audience("everyone", on=[date(2026, 11, 25), date(2026, 12, 24)], where="country = 'DE'")
    assert _selected(engine, on) == [(name, "2026-11-25", None, date(2026, 11, 25)) for name in ("ANNA", "GUS")]
    assert _selected(engine, on, NOW + timedelta(days=3)) == []


def test_where_narrows_every_preset(engine: Engine) -> None:
    fill(engine)
    assert [row[0] for row in _selected(engine, _audience("sleeping", inactive="90d", where="country = 'JP'"))] == ["FUMI"]
    born = _audience("birthday", where="country = 'US'")
    assert _selected(engine, born, datetime(2026, 12, 23, 12, tzinfo=UTC)) == []


def test_who_has_few_orders_sleeps_by_the_shops_rhythm(engine: Engine) -> None:
    """Twenty customers order every 30 days; so 60 days without an order are too many for who ordered once."""
    with writing(engine) as connection:
        for number in range(20):
            regular = add_customer(connection, f"REGULAR-{number:02}", ago(400))
            for place in range(3):
                add_order(connection, f"R{number}-{place}", regular, ago(10 + 30 * place))
        for name, days in (("ONCE", [59]), ("ONCE-LATE", [61]), ("TWICE", [79, 129]), ("TWICE-LATE", [81, 131])):
            customer = add_customer(connection, name, ago(400))
            for day in days:
                add_order(connection, f"{name}-{day}", customer, ago(day))
    twice = _audience("sleeping", inactive="2x")
    assert [row[0] for row in _selected(engine, twice)] == []  # nobody knows the shop's rhythm yet
    with writing(engine) as connection:
        update_rhythm(connection, NOW, "Europe/Berlin")
        assert shop_rhythm(connection) == 30
    assert [row[0] for row in _selected(engine, twice)] == ["ONCE-LATE", "TWICE-LATE"]  # (50 + 30) / 2 = 40 days, twice
    with writing(engine) as connection:
        connection.execute(update(customers).values(median_gap_days=None))
        update_rhythm(connection, NOW + timedelta(hours=1), "Europe/Berlin")
        assert shop_rhythm(connection) == 30  # once a day is enough
        update_rhythm(connection, NOW + timedelta(days=1), "Europe/Berlin")
        assert shop_rhythm(connection) is None


def test_the_next_order_is_expected_by_rhythm(engine: Engine) -> None:
    with writing(engine) as connection:
        for name, gap in (("MONTHLY", 30), ("YEARLY", 365)):
            customer = add_customer(connection, name, ago(900))
            for place in range(3):
                add_order(connection, f"{name}-{place}", customer, ago(27.5 + gap * (2 - place)))
    assert _selected(engine, _audience("replenish"), since=ago(3)) == []  # in two days and a half
    three_before = _audience("replenish", offset="-3d")
    assert _selected(engine, three_before, since=ago(3)) == [("MONTHLY", "MONTHLY-2", ago(0.5), None)]
    assert _selected(engine, three_before, since=ago(0.4)) == []
    assert three_before.about_an_order


def test_a_milestone_is_the_order_with_which_it_is_reached(engine: Engine) -> None:
    with writing(engine) as connection:
        customer = add_customer(connection, "C", ago(900))
        for number, days in enumerate((50, 40, 30, 20, 10), 1):
            add_order(connection, f"O{number}", customer, ago(days), total_minor=1999)
        add_order(connection, "VOID", customer, ago(15), status="returned", voided_at=ago(14))
        other = add_customer(connection, "D", ago(900))
        add_order(connection, "D1", other, ago(5), total_minor=30_000)
    since = ago(60)
    fourth = _audience("milestone", reaches=4)
    assert _selected(engine, fourth, since=since) == [("C", "orders:4", ago(20), None)]
    assert _selected(engine, fourth, since=ago(19)) == []  # past it before anybody looked
    several = _audience("milestone", reaches=[2, 5, 1])
    assert [row[:3] for row in _selected(engine, several, since=ago(45))] == [
        ("C", "orders:2", ago(40)),
        ("C", "orders:5", ago(10)),
        ("D", "orders:1", ago(5)),
    ]
    spent = _audience("milestone", field="spent", reaches=[39.98, 50, 100, 250])
    assert [row[:3] for row in _selected(engine, spent, since=since)] == [
        ("C", "spent:39.98", ago(40)),  # reached to the cent
        ("C", "spent:50", ago(30)),
        ("D", "spent:250", ago(5)),  # 100 too, but the highest counts
    ]
    with reading(engine) as connection:
        found = select_audience(several, context(NOW, since)).subquery()
        about = connection.scalars(select(orders.c.external_id).join(found, found.c.order_id == orders.c.id)).all()
    assert sorted(about) == ["D1", "O1", "O2", "O5"]


def test_a_milestone_is_reached_in_each_currency_by_itself(engine: Engine) -> None:
    """Spending is kept in the newest order's currency, and added up in others; orders of one moment come one by one."""
    with writing(engine) as connection:
        customer = add_customer(connection, "C", ago(900))
        for number, (days, currency) in enumerate(((9, "EUR"), (8, "USD"), (7, "EUR"), (7, "EUR"), (6, "USD")), 1):
            add_order(connection, f"O{number}", customer, ago(days), total_minor=6000, currency=currency)
        add_order(connection, "VOID", customer, ago(5), total_minor=50_000, status="cancelled", voided_at=ago(4))
    at = ago(5.5)  # and what comes afterwards changes nothing of what was
    spent = _audience("milestone", field="spent", reaches=[100, 150])
    with reading(engine) as connection:
        found = select_audience(spent, context(at, ago(20))).subquery()
        rows = connection.execute(
            select(orders.c.external_id, found.c.occasion)
            .join(orders, orders.c.id == found.c.order_id)
            .order_by(orders.c.external_id)
        ).all()
    assert [tuple(row) for row in rows] == [("O3", "spent:100"), ("O4", "spent:150"), ("O5", "spent:100")]
    counted = _audience("milestone", reaches=[3, 4])
    assert [row[:3] for row in _selected(engine, counted, at, ago(20))] == [
        ("C", "orders:3", ago(7)),
        ("C", "orders:4", ago(7)),
    ]


def test_points_of_ones_own_reach_a_milestone_once(engine: Engine) -> None:
    points = _audience("milestone", field="attributes.points", reaches=[100, 500])
    assert not points.about_an_order

    def have(connection: Connection, at: datetime, **amounts: int) -> None:
        for name, amount in amounts.items():
            mine = customers.c.external_id == name
            connection.execute(update(customers).where(mine).values(attributes={"points": amount}))
        update_segments(connection, points.watched({}), context(at))

    with writing(engine) as connection:
        for name in ("OLD", "NEW", "JUMP"):
            add_customer(connection, name, ago(9))
        have(connection, ago(3), OLD=150, NEW=20, JUMP=99)
        have(connection, ago(2), NEW=100, JUMP=700, OLD=151)
        have(connection, ago(1), NEW=90)
        have(connection, ago(0.5), NEW=120, OLD=499)
    assert [row[:2] for row in _selected(engine, points, since=ago(3))] == [
        ("JUMP", "attributes.points:500"),
        ("NEW", "attributes.points:100"),  # the second time is the same occasion
    ]


def test_who_leaves_a_segment(engine: Engine) -> None:
    fill(engine)
    left = _audience("segment", segment="german", when="leaves")

    def move(connection: Connection, name: str, country: str, at: datetime) -> None:
        connection.execute(update(customers).where(customers.c.external_id == name).values(country=country))
        update_segments(connection, {"german": SEGMENTS["german"]}, context(at))

    with writing(engine) as connection:
        update_segments(connection, {"german": SEGMENTS["german"]}, context(ago(9)))
        move(connection, "GUS", "AT", ago(2))
        move(connection, "BORIS", "DE", ago(2))
        move(connection, "ANNA", "AT", ago(1))
        move(connection, "ANNA", "DE", ago(0.5))  # and back
    assert _selected(engine, left, since=ago(3)) == [("GUS", "2026-11-22", ago(2), None)]
    assert [row[0] for row in _selected(engine, _audience("segment", segment="german"), since=ago(3))] == ["ANNA", "BORIS"]


def test_who_stays_at_a_level(engine: Engine) -> None:
    fill(engine)
    with writing(engine) as connection:
        update_scores(connection, SCORES, context())
    warm = _audience("score", score="lead", level="warm", stays="3d")
    assert _selected(engine, warm, since=ago(1)) == [("CARLA", "warm:stays:1", NOW, None)]
    assert _selected(engine, _audience("score", score="lead", level="warm", stays="5d"), since=ago(1)) == []


@pytest.mark.parametrize(
    ("on", "at", "offset", "expected"),
    [
        ("Christmas Day", date(2026, 12, 25), "0d", ["AT", "DE", "US"]),
        ("Christmas Day", date(2027, 1, 7), "0d", ["RU"]),
        ("christmas day", date(2026, 12, 18), "-7d", ["AT", "DE", "US"]),
        ("Thanksgiving Day", date(2026, 11, 26), "0d", ["US"]),
        ("New Year Holidays", date(2027, 1, 1), "0d", ["RU"]),
        ("New Year Holidays", date(2027, 1, 3), "0d", []),  # it goes on
        ("Mother's Day", date(2027, 5, 9), "0d", ["US"]),
    ],
)
def test_a_holiday_is_on_its_date_in_each_country(engine: Engine, on: str, at: date, offset: str, expected: list[str]) -> None:
    with writing(engine) as connection:
        for country in ("AT", "DE", "RU", "US"):
            add_customer(connection, country, ago(9), country=country)
        add_customer(connection, "NOWHERE", ago(9))
    noon_before = datetime(at.year, at.month, at.day, 12, tzinfo=UTC) - timedelta(days=1)
    found = _selected(engine, _audience("everyone", on=[on], offset=offset), noon_before)
    shop = ["NOWHERE"] if "AT" in expected else []  # the shop is in Austria
    assert [row[0] for row in found] == sorted(expected + shop)
    assert {row[3] for row in found} <= {at}
