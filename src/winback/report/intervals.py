"""How sure a difference between two groups is, however often one looks.

A classic 95 % interval is right for one look, decided on beforehand. A report is looked at every week, and thirty looks at two
groups that do not differ show a "significant" difference to one shop in four. So the intervals here have a wider multiplier,
from a confidence sequence: with 95 % probability *none* of the intervals, at any time, leaves out the truth.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log, sqrt

#: How often, over all looks together, an interval may leave out the truth.
ALPHA = 0.05

#: The size at which the sequence is tightest: about 500 people held out of 5 000, in the unit of `effective`.
_TIGHTEST_AT = 450.0


def multiplier(effective: float, alpha: float = ALPHA) -> float:
    """Return how many standard errors wide the interval is on each side; `effective` is the size of the comparison.

    Robbins' normal mixture in its asymptotic form: Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, "Time-uniform central
    limit theory and asymptotic confidence sequences", Annals of Statistics 52 (2024), theorem 2.2, its parameter rho chosen
    as they advise for the size `_TIGHTEST_AT`.
    """
    rho2 = (-2 * log(alpha) + log(1 - 2 * log(alpha))) / _TIGHTEST_AT
    scaled = effective * rho2
    return sqrt((1 + 1 / scaled) * 2 * log(sqrt(scaled + 1) / alpha))


def effective(one: int, other: int) -> float:
    """Return the size of a comparison of two groups: half their harmonic mean, so that the smaller one counts most."""
    return one * other / (one + other)


def wilson(count: int, of: int, z: float) -> tuple[float, float]:
    """Return the score interval of a share (E. B. Wilson, JASA 22, 1927); it never leaves 0 to 1 and is good for small counts."""
    share = count / of
    middle = share + z * z / (2 * of)
    half = z * sqrt(share * (1 - share) / of + z * z / (4 * of * of))
    whole = 1 + z * z / of
    return max(0.0, (middle - half) / whole), min(1.0, (middle + half) / whole)


@dataclass(frozen=True)
class Interval:
    """A difference and the range of what may be true."""

    difference: float
    low: float
    high: float

    @property
    def tells(self) -> bool:
        """Say whether "no difference" is out of the range."""
        return self.low > 0 or self.high < 0


def newcombe(count: int, of: int, other_count: int, other_of: int, z: float) -> Interval:
    """Return share minus other share with the hybrid score interval (R. G. Newcombe, Statistics in Medicine 17, 1998, no. 10)."""
    share, other = count / of, other_count / other_of
    low, high = wilson(count, of, z)
    other_low, other_high = wilson(other_count, other_of, z)
    difference = share - other
    return Interval(
        difference,
        difference - sqrt((share - low) ** 2 + (other_high - other) ** 2),
        difference + sqrt((high - share) ** 2 + (other - other_low) ** 2),
    )


def difference_of_shares(count: int, of: int, other_count: int, other_of: int, alpha: float = ALPHA) -> Interval:
    """Return share minus other share, with the multiplier of the confidence sequence. Both groups must have people in them."""
    return newcombe(count, of, other_count, other_of, multiplier(effective(of, other_of), alpha))


def difference_of_means(one: Moments, other: Moments, alpha: float = ALPHA) -> Interval:
    """Return mean minus other mean, with the same multiplier on the standard error of the difference (unequal variances)."""
    error = sqrt(one.variance / one.people + other.variance / other.people)
    half = multiplier(effective(one.people, other.people), alpha) * error
    difference = one.mean - other.mean
    return Interval(difference, difference - half, difference + half)


@dataclass(frozen=True)
class Moments:
    """The sum and the sum of squares of an amount over people, most of whom have none."""

    people: int
    total: float
    squares: float

    @property
    def mean(self) -> float:
        """Return the amount per person."""
        return self.total / self.people

    @property
    def variance(self) -> float:
        """Return the sample variance."""
        spread = self.squares - self.total * self.total / self.people
        return max(0.0, spread) / max(1, self.people - 1)
