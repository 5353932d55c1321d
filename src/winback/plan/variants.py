"""Who is held out and who gets which arm: a keyed hash in integer arithmetic, the same in SQL and in Python, sticky."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass

from sqlalchemy import BigInteger, ColumnElement, String, case, literal

from winback.project import Campaign

#: A Mersenne prime below 2**31: products of two residues fit into 64-bit integers on every database.
_PRIME = 2**31 - 1

#: Shares are in basis points of everybody.
WHOLE = 10_000

#: The arm that gets the steps as they stand, where a campaign has variants.
BASE_ARM = "a"


@dataclass(frozen=True)
class Lottery:
    """Draw a number in 0..9999 for a customer's id.

    A quadratic polynomial with secret coefficients modulo a prime: any three people draw independently
    (Wegman and Carter, "New hash functions and their use in authentication and set equality", 1981).
    """

    square: int
    linear: int
    constant: int

    @classmethod
    def of(cls, key: bytes, purpose: str, campaign: str) -> Lottery:
        """Return the lottery of a campaign for one purpose ("holdout", "variant")."""
        digest = hmac.digest(key, f"{purpose}:{campaign}".encode(), hashlib.sha256)
        numbers = [int.from_bytes(digest[start : start + 8]) % _PRIME for start in (0, 8, 16)]
        return cls(numbers[0] or 1, numbers[1], numbers[2])

    def draw(self, customer_id: int) -> int:
        """Return the number that a customer draws, always the same."""
        x = customer_id % _PRIME
        return (((self.square * x % _PRIME + self.linear) % _PRIME) * x % _PRIME + self.constant) % _PRIME % WHOLE

    def sql(self, customer_id: ColumnElement[int]) -> ColumnElement[int]:
        """Return the same number as an SQL expression."""
        prime = literal(_PRIME, BigInteger())
        x = customer_id % prime
        inner = ((literal(self.square, BigInteger()) * x) % prime + literal(self.linear, BigInteger())) % prime
        return ((inner * x) % prime + literal(self.constant, BigInteger())) % prime % literal(WHOLE, BigInteger())


def held_out(campaign: Campaign, key: bytes, customer_id: ColumnElement[int]) -> ColumnElement[bool]:
    """Return SQL that is true for the people a campaign leaves alone to measure what it causes."""
    return Lottery.of(key, "holdout", campaign.name).sql(customer_id) < campaign.measure.holdout


def arm(campaign: Campaign, key: bytes, customer_id: ColumnElement[int]) -> ColumnElement[str]:
    """Return SQL for a person's arm of the campaign's test, '' where there is no test."""
    if not campaign.variants:
        return literal("", String())
    number = Lottery.of(key, "variant", campaign.name).sql(customer_id)
    bounds = []
    reached = 0
    for name, share in campaign.variants.items():
        reached += share
        bounds.append((number < reached, literal(name, String())))
    return case(*bounds, else_=literal(BASE_ARM, String()))
