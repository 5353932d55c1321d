"""Lets pytest explain the failures of the contract suite in full."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("winback.gateways.contract")
