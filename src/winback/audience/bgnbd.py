"""The BG/NBD model: how often customers buy while they are customers, and whether they still are.

Fader, Hardie, Lee, "Counting Your Customers" the Easy Way: An Alternative to the Pareto/NBD Model, Marketing Science 24 (2005).
While a customer is active, orders come at random with a rate of their own; rates are spread by a gamma distribution (r, alpha).
After each order a customer may leave, with a chance of their own; chances are spread by a beta distribution (a, b).

Of each customer three numbers are enough: the repeat orders, when the last of them was, and how long the customer is known,
both counted from the first order. Time is in weeks. Needs numpy and scipy (`pip install 'winback[stats]'`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from winback.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Numbers = NDArray[Any]


@dataclass(frozen=True)
class BgNbd:
    """The fitted model: r and alpha of the rates, a and b of the chances to leave after an order."""

    r: float
    alpha: float
    a: float
    b: float

    def alive(self, repeats: Numbers, last: Numbers, known: Numbers) -> Numbers:
        """Return the probability that each customer is still one; 1 for those without a repeat order, of whom it cannot tell."""
        import numpy as np

        return np.where(repeats > 0, 1 / (1 + self._left(repeats, last, known)), 1.0)

    def expected_orders(self, repeats: Numbers, last: Numbers, known: Numbers, weeks: float) -> Numbers:
        """Return how many orders are to be expected from each customer in the coming weeks (equation 10 of the paper)."""
        import numpy as np
        from scipy.special import hyp2f1

        r, alpha, a, b = self.r, self.alpha, self.a, self.b
        shape = r + repeats
        series = hyp2f1(shape, b + repeats, a + b + repeats - 1, weeks / (alpha + known + weeks))
        faded = ((alpha + known) / (alpha + known + weeks)) ** shape * series
        left = np.where(repeats > 0, self._left(repeats, last, known), 0.0)
        expected: Numbers = (a + b + repeats - 1) / (a - 1) * (1 - faded) / (1 + left)
        return expected

    def _left(self, repeats: Numbers, last: Numbers, known: Numbers) -> Numbers:
        """Return how much likelier it is that a customer left after the last order than that they are only quiet."""
        import numpy as np

        chance = self.a / (self.b + np.maximum(repeats, 1) - 1)
        left: Numbers = chance * ((self.alpha + known) / (self.alpha + last)) ** (self.r + repeats)
        return left


def fit(repeats: Numbers, last: Numbers, known: Numbers, weights: Numbers) -> BgNbd:
    """Return the model under which these customers are likeliest; `weights` counts those with the same three numbers.

    Raise InputError where numpy and scipy are missing, or no model fits.
    """
    numpy, optimize, gammaln = parts()

    def unlikely(logs: Numbers) -> float:
        r, alpha, a, b = numpy.exp(logs)
        rate = gammaln(r + repeats) - gammaln(r) + r * numpy.log(alpha)
        stays = gammaln(a + b) + gammaln(b + repeats) - gammaln(b) - gammaln(a + b + repeats)
        quiet = -(r + repeats) * numpy.log(alpha + known)
        left = numpy.log(a) - numpy.log(b + numpy.maximum(repeats, 1) - 1) - (r + repeats) * numpy.log(alpha + last)
        either = numpy.where(repeats > 0, numpy.logaddexp(quiet, left), quiet)
        return float(-(weights * (rate + stays + either)).sum() / weights.sum())

    found = optimize.minimize(
        unlikely, numpy.zeros(4), method="Nelder-Mead", options={"maxiter": 4000, "xatol": 1e-6, "fatol": 1e-10}
    )
    if not found.success or not numpy.isfinite(found.fun):
        raise InputError("no model fits the orders", "predictions need a shop to which customers come back")
    r, alpha, a, b = (float(each) for each in numpy.exp(found.x))
    return BgNbd(r, alpha, a + 1e-6 if abs(a - 1) < 1e-6 else a, b)


def parts() -> tuple[Any, Any, Any]:
    """Return numpy, scipy.optimize and gammaln. Raise InputError where they are not installed."""
    try:
        import numpy as np
        from scipy import optimize
        from scipy.special import gammaln
    except ImportError:
        raise InputError("predictions need numpy and scipy", "install them: pip install 'winback[stats]'") from None
    return np, optimize, gammaln
