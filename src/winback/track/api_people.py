"""What the JSON API tells of one customer, and does for one: consent given elsewhere, and being forgotten."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from fastapi import HTTPException
from pydantic import ValidationError
from sqlalchemy import Connection, Row, and_, func, or_, select

from winback.clock import local_instant
from winback.importers.values import exponent
from winback.ledger.forgetting import forget_customer
from winback.store import (
    Channel,
    Purpose,
    campaign_states,
    consents,
    customers,
    messages,
    reading,
    suppressions,
    writing,
)
from winback.store.consent import record_consent
from winback.store.erasure import erased_id
from winback.track.api_models import (
    CampaignAnswer,
    ConsentAnswer,
    ConsentRow,
    ConsentTaken,
    CustomerAnswer,
    OrdersOfCustomer,
)
from winback.track.api_rows import SOURCE, parse_json, problems

if TYPE_CHECKING:
    from winback.track.state import TrackState

_PROFILE = ("email", "phone", "first_name", "last_name", "locale", "country", "city", "zone", "local_zone")


def show(state: TrackState, external_id: str) -> CustomerAnswer | None:
    """Return what is known of a customer, None for one that is not there or was forgotten."""
    with reading(state.engine) as connection:
        person = _find(connection, external_id)
        return None if person is None else _customer(connection, person)


def take_consent(state: TrackState, external_id: str, body: bytes) -> ConsentTaken | None:
    """Write a yes or a no into the log; return the consent in force, None where the customer is not there.

    The same answer again changes nothing, so that a call may be repeated. Raise HTTPException for what is no consent.
    """
    found = parse_json(body)
    try:
        given = ConsentRow.model_validate(found)
    except ValidationError as error:
        raise HTTPException(422, problems(ConsentRow, error)) from None
    now = state.now()
    at = None if given.at is None else _instant(given.at, ZoneInfo(state.project.settings.shop.zone))
    if at is not None and at > now:
        # A date ahead of us would outweigh every later no.
        raise HTTPException(422, "at is in the future")
    if any("\0" in text for text in (given.source, given.wording or "")):
        raise HTTPException(422, "source and wording must not hold NUL characters")
    with writing(state.engine) as connection:
        person = _find(connection, external_id, lock=True)
        if person is None:
            return None
        changed = not _is_known(connection, person, given, at)
        if changed:
            record_consent(
                connection, person.id, given.channel, given.purpose, given.granted, at or now, given.source, given.wording
            )
            person = _find(connection, external_id)
        assert person is not None  # noqa: S101 - locked by this transaction
        return ConsentTaken(changed=changed, consent=_consent(person))


def erase(state: TrackState, external_id: str) -> bool | None:
    """Forget a customer, as often as asked: what has come since goes too. None for one that was never there."""
    if "\0" in external_id:  # PostgreSQL has no such texts
        return None
    key = state.address_key
    names = (external_id, erased_id(external_id, key))
    with writing(state.engine) as connection:
        known = connection.scalar(select(customers.c.id).where(customers.c.external_id.in_(names)))
        if known is None:
            return None
        forget_customer(connection, known, now=state.now(), key=key, source=SOURCE, worker=SOURCE)
    return True


def campaigns(state: TrackState) -> list[CampaignAnswer]:
    """Return the campaigns of the shop's files."""
    groups = (messages.c.campaign, messages.c.state)
    with reading(state.engine) as connection:
        counts: dict[str, dict[str, int]] = {}
        for name, where, number in connection.execute(select(*groups, func.count()).group_by(*groups)):
            counts.setdefault(name, {})[where] = number
        paused = set(connection.scalars(select(campaign_states.c.name).where(campaign_states.c.paused_at.is_not(None))))
    return [
        CampaignAnswer(
            name=name,
            title=campaign.title,
            purpose=campaign.purpose.value,
            enabled=campaign.enabled,
            paused=name in paused,
            messages=counts.get(name, {}),
        )
        for name, campaign in state.project.campaigns.items()
    ]


def _find(connection: Connection, external_id: str, *, lock: bool = False) -> Row[Any] | None:
    if "\0" in external_id:  # PostgreSQL has no such texts
        return None
    query = select(customers).where(customers.c.external_id == external_id, customers.c.erased_at.is_(None))
    return connection.execute(query.with_for_update() if lock else query).one_or_none()


def _instant(at: datetime, zone: ZoneInfo) -> datetime:
    try:
        return local_instant(at.date(), at.time(), zone) if at.tzinfo is None else at.astimezone(UTC)
    except OverflowError:
        raise HTTPException(422, "at is no date of this calendar") from None


def _is_known(connection: Connection, person: Row[Any], given: ConsentRow, at: datetime | None) -> bool:
    """Say whether the log has this very answer; an undated one is known when it is what counts."""
    own = and_(
        consents.c.customer_id == person.id,
        consents.c.channel == given.channel.value,
        consents.c.purpose == given.purpose.value,
    )
    newest_first = select(consents.c.granted, consents.c.wording).where(own).order_by(consents.c.at.desc(), consents.c.id.desc())
    answer = (given.granted, given.wording)
    if at is None:
        newest = connection.execute(newest_first.limit(1)).first()
        return newest is not None and tuple(newest) == answer
    return answer in {tuple(row) for row in connection.execute(newest_first.where(consents.c.at == at))}


def _customer(connection: Connection, person: Row[Any]) -> CustomerAnswer:
    return CustomerAnswer(
        id=person.external_id,
        **{name: getattr(person, name) for name in _PROFILE},
        birthday=_birthday(person),
        attributes=person.attributes,
        consent=_consent(person),
        suppressed=_suppressed(connection, person),
        orders=OrdersOfCustomer(
            count=person.order_count,
            spent=_money(person.spent_minor, person.currency),
            currency=person.currency,
            first_at=person.first_order_at,
            last_at=person.last_order_at,
            last_id=person.last_order_id,
            median_gap_days=person.median_gap_days,
        ),
        created_at=person.created_at,
        updated_at=person.updated_at,
    )


def _consent(person: Row[Any]) -> ConsentAnswer:
    names = [f"{channel}_{purpose}" for channel in Channel for purpose in Purpose]
    return ConsentAnswer(**{name: getattr(person, name) for name in names})


def _suppressed(connection: Connection, person: Row[Any]) -> dict[str, str]:
    hashes = {Channel.EMAIL: person.email_hash, Channel.SMS: person.phone_hash}
    own = [
        and_(suppressions.c.channel == channel.value, suppressions.c.address_hash == address_hash)
        for channel, address_hash in hashes.items()
        if address_hash is not None
    ]
    if not own:
        return {}
    rows = connection.execute(select(suppressions.c.channel, suppressions.c.reason).where(or_(*own)))
    return {row.channel: row.reason for row in rows}


def _birthday(person: Row[Any]) -> str | None:
    if person.birth_month is None or person.birth_day is None:
        return None
    year = "-" if person.birth_year is None else f"{person.birth_year:04}"
    return f"{year}-{person.birth_month:02}-{person.birth_day:02}"


def _money(minor: int, currency: str | None) -> str | None:
    return None if currency is None else f"{Decimal(minor).scaleb(-exponent(currency)):f}"
