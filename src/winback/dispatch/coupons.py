"""The rows of `coupons`: each code that a person has, or may have, is there before the message that names it leaves."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, delete, select
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from winback.compose.coupons import coupon_code
from winback.dispatch.recipients import coupon_expiry
from winback.ledger import Claimed
from winback.policy import step_of, zone_of
from winback.project import Project, Step
from winback.store import coupons, customers


def give_coupons(connection: Connection, project: Project, claims: Sequence[Claimed], now: datetime) -> None:
    """Write the coupons of messages that are about to go; one that goes again keeps its code and lasts as long as it now says.

    A coupon is valid to the end of its last day where the customer lives, as the message tells them.
    """
    giving = [(claim, step) for claim in claims for step in [_step(project, claim)] if step is not None and step.coupon]
    if not giving:
        return
    people = sorted({claim.customer_id for claim, _ in giving})
    zones = {
        row.id: zone_of(row.local_zone, project)
        for row in connection.execute(select(customers.c.id, customers.c.local_zone).where(customers.c.id.in_(people)))
    }
    key = project.key("coupon")
    rows = []
    for claim, step in giving:
        assert step.coupon is not None  # noqa: S101 - chosen above
        _, expires_at = coupon_expiry(step, zones[claim.customer_id], now)
        rows.append(
            {
                "code": coupon_code(key, step.coupon.pool, claim.id),
                "pool": step.coupon.pool,
                "customer_id": claim.customer_id,
                "message_id": claim.id,
                "given_at": now,
                "expires_at": expires_at,
            }
        )
    dialect_insert = postgresql_insert if connection.dialect.name == "postgresql" else sqlite_insert
    statement = dialect_insert(coupons)
    fresh = {name: statement.excluded[name] for name in ("code", "pool", "given_at", "expires_at")}
    connection.execute(statement.on_conflict_do_update(index_elements=["message_id"], set_=fresh), rows)


def take_back_coupons(connection: Connection, message_ids: Sequence[str]) -> None:
    """Remove the coupons of messages that did not go after all."""
    if message_ids:
        connection.execute(delete(coupons).where(coupons.c.message_id.in_(message_ids)))


def _step(project: Project, claim: Claimed) -> Step | None:
    found = step_of(project, claim.campaign, claim.step)
    return None if found is None else found[1]
