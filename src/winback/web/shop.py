"""The shop that the pages show: its database, and its files as they stand now."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine

from winback.project.watch import ShopFiles


@dataclass(frozen=True)
class Shop:
    """What every page is made from; `now` is asked once for each page."""

    engine: Engine
    files: ShopFiles
    now: Callable[[], datetime]


__all__ = ["Shop", "ShopFiles"]
