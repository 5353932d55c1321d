"""The time zone where a customer lives."""

from __future__ import annotations

from zoneinfo import ZoneInfo

from winback.addresses import is_zone
from winback.project import Project


def zone_of(name: str, project: Project) -> ZoneInfo:
    """Return a customer's time zone; the shop's where the name means nothing to this machine, so that one row stops nobody."""
    return ZoneInfo(name if is_zone(name) else project.settings.shop.zone)
