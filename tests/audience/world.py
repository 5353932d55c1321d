"""Seven customers who differ in everything that an expression can ask about, as of Tuesday 2026-11-24, 10:00 UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, Engine, insert, select

from tests.rows import add_customer, add_order
from winback.audience import AudienceContext, Clock, ScoreModel, Segment
from winback.store import customers, enrollments, events, interactions, messages, order_lines, writing

NOW = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)

SEGMENTS = {
    "regulars": Segment(name="regulars", title="Regulars", where="orders >= 3"),
    "german": Segment(name="german", title="German", where="country = 'DE'"),
    "german-regulars": Segment(name="german-regulars", title="Both", where="in_segment('regulars') and in_segment('german')"),
}

SCORES = {
    "lead": ScoreModel.model_validate(
        {
            "name": "lead",
            "title": "Lead",
            "half_life": "30d",
            "hysteresis": 5,
            "rules": [{"event": "webinar", "points": 30}, {"event": "visit", "points": 1, "at_most": "2 in 30d"}],
            "levels": [{"name": "cold", "from": 0}, {"name": "warm", "from": 20}, {"name": "hot", "from": 50}],
        }
    )
}


def context(now: datetime = NOW, since: datetime | None = None) -> AudienceContext:
    """Return the context of the world's shop, in Berlin."""
    return AudienceContext(
        Clock(now, since or now, now + timedelta(days=1)),
        shop_zone="Europe/Berlin",
        shop_region="AT",
        segments=SEGMENTS,
        scores=SCORES,
    )


def ago(days: float) -> datetime:
    """Return the moment so many days before NOW."""
    return NOW - timedelta(days=days)


def fill(engine: Engine) -> None:
    """Write the seven: ANNA, BORIS, CARLA, DORA, EMIL, FUMI and GUS."""
    with writing(engine) as connection:
        anna = add_customer(
            connection,
            "ANNA",
            ago(500),
            first_name="Anna",
            last_name="Müller",
            country="DE",
            city="Berlin",
            locale="de-DE",
            birth_month=12,
            birth_day=24,
            birth_year=1980,
            phone="+4915112345678",
            sms_marketing=True,
            attributes={"pet": "cat", "visits": 3, "vip": True},
        )
        boris = add_customer(
            connection,
            "BORIS",
            ago(300),
            first_name="Boris",
            country="AT",
            city="Wien",
            locale="de-AT",
            local_zone="Europe/Vienna",
            email_marketing=False,
            attributes={"pet": "Dog", "visits": 10.5, "vip": False, "huge": 9e18, "tiny": 1e-18},
        )
        carla = add_customer(
            connection,
            "CARLA",
            ago(20),
            first_name="Carla",
            country="US",
            city="Boston",
            locale="en",
            local_zone="America/New_York",
            birth_month=2,
            birth_day=29,
            birth_year=2000,
        )
        add_customer(connection, "DORA", ago(5), attributes={"visits": "7", "pet": None}, email=None, email_hash=None)
        emil = add_customer(connection, "EMIL", ago(700), country="GB", city="Bath", locale="en-GB", email_marketing=None)
        fumi = add_customer(connection, "FUMI", ago(900), first_name="史", country="JP", locale="ja", local_zone="Asia/Tokyo")
        add_customer(connection, "GUS", ago(1), country="DE", city="München", locale="fil-PH")
        _orders(connection, anna, boris, emil, fumi)
        _events(connection, carla, anna)
        _answers(connection, ANNA=anna, BORIS=boris, EMIL=emil, FUMI=fumi)
        _messages(connection, anna, boris)


def _orders(connection: Connection, anna: int, boris: int, emil: int, fumi: int) -> None:
    for number, days in enumerate((110, 60, 10)):
        order = add_order(connection, f"A{number}", anna, ago(days), total_minor=1999)
        _line(connection, order, "lp-1" if number else "gift-card", "Jazz" if number else None)
    order = add_order(connection, "B0", boris, ago(200), total_minor=10_000, currency="EUR")
    _line(connection, order, "lp-2", "Rock")
    add_order(connection, "E0", emil, ago(20), status="cancelled", voided_at=ago(18))
    order = add_order(connection, "E1", emil, ago(40), total_minor=5000, status="delivered", delivered_at=ago(37))
    _line(connection, order, "gift-card", None)
    add_order(connection, "F0", fumi, ago(400), total_minor=5000, currency="JPY")
    add_order(connection, "F1", fumi, ago(380), total_minor=3000, currency="JPY")


def _line(connection: Connection, order: int, product: str, category: str | None) -> None:
    line = {"order_id": order, "position": 1, "product_id": product, "name": product, "quantity": 1, "price_minor": 1999}
    connection.execute(insert(order_lines).values(**line, category=category))


def _events(connection: Connection, carla: int, anna: int) -> None:
    happened = [(carla, "webinar", 3), (carla, "visit", 2), (carla, "visit", 1), (carla, "visit", 0.5), (anna, "visit", 45)]
    for number, (customer, name, days) in enumerate(happened):
        row = {"external_id": f"V{number}", "customer_id": customer, "name": name, "at": ago(days), "properties": {}}
        connection.execute(insert(events).values(row))


def _answers(connection: Connection, **ids: int) -> None:
    """Answers to "How likely are you to recommend us?": one is no number, one is old, one is above what can be answered."""
    given = [
        ("ANNA", 100, 4),
        ("ANNA", 4, 10),
        ("BORIS", 40, 9),
        ("BORIS", 39, "3"),
        ("EMIL", 15, 3),
        ("FUMI", 390, 7),
        ("FUMI", 5, 11),
    ]
    for name, days, answer in given:
        row = {"external_id": f"N-{name}-{days}", "customer_id": ids[name], "name": "nps", "at": ago(days)}
        connection.execute(insert(events).values(**row, properties={"score": answer, "channel": "mail", "again": answer == 10}))


def _messages(connection: Connection, anna: int, boris: int) -> None:
    """Anna and Boris got `wake`: she clicked in the first letter, a machine opened his; the second was skipped for both."""
    for customer, name in ((anna, "ANNA"), (boris, "BORIS")):
        enrollment = connection.execute(
            insert(enrollments)
            .values(
                campaign="wake",
                customer_id=customer,
                occasion="A1" if customer == anna else "B0",
                anchor_at=ago(30),
                order_id=None,
                zone="Europe/Berlin",
                variant="",
                held_out=False,
                state="active",
                step="third",
                enrolled_at=ago(31),
            )
            .returning(enrollments.c.id)
        ).scalar_one()
        for number, (step, state) in enumerate((("first", "sent"), ("second", "skipped"))):
            due = ago(30 - 7 * number)
            message = f"00000000-0000-0000-0000-{customer:06}{number:06}"
            connection.execute(
                insert(messages).values(
                    id=message,
                    enrollment_id=enrollment,
                    campaign="wake",
                    step=step,
                    customer_id=customer,
                    channel="email",
                    purpose="marketing",
                    variant="",
                    state=state,
                    planned_at=due,
                    due_at=due,
                    due_on=due.date(),
                    next_attempt_at=due,
                    valid_until=due + timedelta(hours=12),
                    sent_at=due if state == "sent" else None,
                    definition_hash="x",
                )
            )
            if step == "first":
                kind, klass = ("click", "human") if name == "ANNA" else ("open", "machine")
                connection.execute(
                    insert(interactions).values(
                        message_id=message, customer_id=customer, campaign="wake", step=step, kind=kind, klass=klass, at=ago(29)
                    )
                )


def names(connection: Connection, condition: object) -> list[str]:
    """Return the ids of those whom a condition fits."""
    rows = connection.scalars(select(customers.c.external_id).where(condition).order_by(customers.c.external_id))  # type: ignore[arg-type]
    return list(rows)
