"""What the public endpoints need of the shop they serve."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING

from winback.track.hit_writer import HitWriter

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from winback.gateways.base import Gateway
    from winback.project import Project, Settings


@dataclass(frozen=True)
class TrackState:
    """The database, the shop's files as they stand now, and the clock; one for each served application.

    `gateways` replace the configured ones by name.
    """

    engine: Engine
    project_provider: Callable[[], Project]
    now: Callable[[], datetime]
    gateways: Mapping[str, Gateway] = field(default_factory=dict, repr=False)
    hits: HitWriter = field(init=False, repr=False)
    _configured: dict[str, tuple[Settings, Gateway]] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "hits", HitWriter(self.engine))

    @property
    def project(self) -> Project:
        """Return the shop's files as they stand now."""
        return self.project_provider()

    @cached_property
    def links_key(self) -> bytes:
        """Return the key that signs links; it never changes while the shop runs."""
        return self.project.key("links")

    @cached_property
    def address_key(self) -> bytes:
        """Return the key that hides addresses in hashes."""
        return self.project.key("address")

    def gateway(self, name: str) -> Gateway:
        """Return a gateway of the settings as they stand now; it is set up again when they change.

        Raise GatewayError when it is unknown, broken or wrongly configured.
        """
        from winback.gateways.registry import configure

        if name in self.gateways:
            return self.gateways[name]
        project = self.project
        known = self._configured.get(name)
        if known is None or known[0] is not project.settings:
            settings = project.settings.gateways.get(name)
            made = configure(name, settings.table if settings else {}, root=project.root)
            known = self._configured[name] = (project.settings, made)
        return known[1]

    async def close(self) -> None:
        """Wait until every hit that was answered is written; call it when the application stops."""
        await self.hits.drain()
