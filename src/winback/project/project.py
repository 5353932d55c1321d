"""A shop's files as one checked value, and the keys derived from its secret."""

from __future__ import annotations

import hashlib
import hmac
import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from winback.errors import InputError
from winback.project.campaign import Campaign
from winback.project.settings import Settings
from winback.project.snapshot import Snapshot
from winback.project.staging import Staging, combine
from winback.secrets import Secret

if TYPE_CHECKING:
    from winback.audience import ScoreModel, Segment
    from winback.importers import ImportSettings

#: What keys are used for; each purpose has a key of its own.
KeyPurpose = Literal["address", "links", "holdout", "coupon", "session", "gateway"]

#: The environment variable that holds the shop's secret, instead of the file.
SECRET_VARIABLE = "WINBACK_SECRET"  # noqa: S105 - its name, not the secret

#: Shorter secrets can be guessed.
SHORTEST_SECRET = 16


@dataclass(frozen=True)
class Project:
    """A shop's checked files. `campaigns` are in the order in which they plan: by priority, then by name."""

    root: Path
    settings: Settings
    campaigns: Mapping[str, Campaign] = field(default_factory=dict)
    scores: Mapping[str, ScoreModel] = field(default_factory=dict)
    segments: Mapping[str, Segment] = field(default_factory=dict)
    own_secret: Secret | None = None  # from the environment; else the file var/secret.key
    trial: Staging | None = None  # from the environment, besides what config.toml says
    unclear: str = ""  # why nobody knows to whom messages may go at present: then they go to nobody
    copy: Path | None = None  # of the files, in a folder where nobody edits them
    snapshot: Snapshot | None = None  # what the copy was made of
    version: int | None = None  # the applied version that these files are, once that is known

    @property
    def staging(self) -> Staging | None:
        """Return to whom messages go while the shop is tried out; None when they go to the customers."""
        return combine(self.settings.deliver.staging, self.trial)

    @property
    def definitions(self) -> tuple[object, ...]:
        """Return what decides who gets what, and when: while these are the very same objects, nothing has changed."""
        return self.settings, self.campaigns, self.scores, self.segments, self.own_secret, self.trial, self.root

    @property
    def folder(self) -> Path:
        """Return the folder that the files were read from: the shop's own, or a copy's."""
        return self.copy or self.root

    @property
    def templates(self) -> Path:
        """Return the folder of templates."""
        return self.folder / "templates"

    @property
    def var(self) -> Path:
        """Return the folder of what the running shop writes."""
        return self.root / "var"

    @cached_property
    def secret(self) -> bytes:
        """Return the shop's secret, made on first need. It signs links and hides addresses: keep it with the database."""
        if self.own_secret is not None:
            return self.own_secret.reveal().encode()
        return _kept_secret(self.var / "secret.key")

    def key(self, purpose: KeyPurpose) -> bytes:
        """Return the 32-byte key for one purpose."""
        return hmac.digest(self.secret, purpose.encode(), hashlib.sha256)

    def expressions(self) -> Iterator[str]:
        """Yield every condition of the files that are in use."""
        for campaign in self.campaigns.values():
            if campaign.enabled:
                given = (campaign.audience.where, campaign.exit.when, *(step.only_if for step in campaign.steps))
                yield from (expression for expression in given if expression is not None)
        yield from (segment.where for segment in self.segments.values())
        yield from (rule.where for score in self.scores.values() for rule in score.fit)

    def import_settings(self) -> ImportSettings:
        """Return what imports need to know of the shop."""
        from winback.importers import ImportSettings

        shop = self.settings.shop
        return ImportSettings(
            zone=shop.zone,
            region=shop.region,
            currency=shop.currency,
            address_key=self.key("address"),
            rejects_folder=self.var / "rejects",
        )


def _kept_secret(path: Path) -> bytes:
    """Return the secret in a file that only its owner may read; make it when it is not there. Safe among processes."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".secret-")  # created 0600
        try:
            with os.fdopen(descriptor, "w", encoding="ascii") as stream:
                stream.write(os.urandom(32).hex() + "\n")
                stream.flush()
                os.fsync(stream.fileno())
            # A link never replaces: of several processes that come here at once, one makes the secret and all read it.
            os.link(name, path)
        except FileExistsError:
            pass
        finally:
            Path(name).unlink()
    secret = path.read_bytes().strip()
    if len(secret) < SHORTEST_SECRET:
        raise InputError(
            f"{path} holds no secret", "put it back from a backup; a new one makes all links in sent letters invalid"
        )
    return secret
