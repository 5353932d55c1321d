"""Predictions: the published estimates for CDNOW, and no number where there are too few data."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from sqlalchemy import Engine, func, select

from tests.audience import cdnow
from tests.audience.world import NOW, context, fill, names
from winback.audience import compile_condition, last_prognosis, prognosis, update_predictions
from winback.audience.bgnbd import BgNbd
from winback.store import customers, predictions, reading, writing

#: The end of the 39 weeks by which the papers calibrate.
CALIBRATED = datetime(1997, 9, 30, 23, tzinfo=UTC)

#: Fader, Hardie, Lee (2005), table 2.
PUBLISHED = BgNbd(r=0.243, alpha=4.414, a=0.793, b=2.426)


def test_the_published_estimates_for_cdnow(engine: Engine) -> None:
    cdnow.fill(engine)
    with writing(engine) as connection:
        update_predictions(connection, timedelta(weeks=39), CALIBRATED, "America/New_York")
        found = last_prognosis(connection)
    assert found is not None
    assert (found.buyers, found.repeaters, found.days) == (2357, 946, 273)
    assert found.model is not None
    for name in ("r", "alpha", "a", "b"):
        assert getattr(found.model, name) == pytest.approx(getattr(PUBLISHED, name), rel=0.005)
    with reading(engine) as connection:
        count, expected = connection.execute(select(func.count(), func.sum(predictions.c.expected_orders))).one()
        alive = compile_condition("p_alive > 0.99", context(NOW), scope="customer", customer=customers)
        never_back = compile_condition("p_alive = 1", context(NOW), scope="customer", customer=customers)
        assert len(names(connection, never_back)) == 2357 - 946  # of them the model cannot tell
        assert len(names(connection, alive)) >= 2357 - 946
    assert count == 2357
    # In the 39 weeks that followed they came back on 1 788 days.
    assert expected == pytest.approx(1788, rel=0.1)


def test_one_customer_as_published() -> None:
    """The sample's first customer: two repeat orders, the last in week 30.43 of 38.86 (1.226 in Hardie's note on the model)."""
    numbers = [np.array([value]) for value in (2.0, 30.43, 38.86)]
    [expected] = PUBLISHED.expected_orders(*numbers, 39)
    assert expected == pytest.approx(1.226, abs=0.001)
    [alive] = PUBLISHED.alive(*numbers)
    assert 0 < alive < 1
    [long_gone] = PUBLISHED.alive(numbers[0], numbers[1], np.array([150.0]))
    assert long_gone < alive


def test_too_little_data_is_said_and_no_number_given(engine: Engine) -> None:
    fill(engine)
    with writing(engine) as connection:
        update_predictions(connection, timedelta(days=90), NOW, "Europe/Berlin")
        found = prognosis(connection, timedelta(days=90), NOW)
        assert found.model is None
        assert found.lacking == "4 buyers of 300 needed; 2 buyers who came back of 100 needed"
        assert last_prognosis(connection) == found
        unknown = compile_condition(
            "p_alive is null and expected_orders is null", context(), scope="customer", customer=customers
        )
        assert len(names(connection, unknown)) == 7
