"""The rows of `links`: every tracked target of a campaign's step once, written before a letter that names it leaves."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

from sqlalchemy import Connection, select, tuple_
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from winback.compose import LinkTarget
from winback.store import links

#: Ids that are remembered; letters with addresses of one's own for everybody must not fill the memory.
_REMEMBERED = 50_000

#: Rows in one statement; SQLite binds at most 32 766 values at once.
_BATCH = 500


@dataclass(frozen=True)
class _Key:
    campaign: str
    step: str
    url_hash: str


class LinkBook:
    """Knows the ids of links. A letter is composed with `ids`; when some are missing, they are written, and it is composed again.

    So a whole batch takes one INSERT, and a campaign whose letters lead to the same pages takes one in all.
    """

    def __init__(self) -> None:
        self._ids: dict[tuple[str, str], dict[str, int]] = defaultdict(dict)  # by campaign and step, then by address
        self._remembered = 0
        self._missing: dict[_Key, LinkTarget] = {}

    def ids(self, campaign: str, step: str, targets: Sequence[LinkTarget]) -> list[int]:
        """Return the ids of a message's links, 0 for each that is not written yet, which is then missing."""
        known = self._ids[campaign, step]
        found = [known.get(target.url, 0) for target in targets]
        if 0 in found:
            missing = (target for target, number in zip(targets, found, strict=True) if not number)
            self._missing |= {_Key(campaign, step, url_hash(target.url)): target for target in missing}
        return found

    def write(self, connection: Connection) -> None:
        """Write the missing links, or find that another dispatcher has; nothing is missing afterwards."""
        if self._remembered > _REMEMBERED:
            self._ids.clear()
            self._remembered = 0
        # In one order everywhere, so that two dispatchers never wait for each other crosswise.
        wanted = sorted(self._missing.items(), key=lambda item: (item[0].campaign, item[0].step, item[0].url_hash))
        for start in range(0, len(wanted), _BATCH):
            self._write(connection, wanted[start : start + _BATCH])
        self._missing.clear()

    def _write(self, connection: Connection, wanted: Sequence[tuple[_Key, LinkTarget]]) -> None:
        dialect_insert = postgresql_insert if connection.dialect.name == "postgresql" else sqlite_insert
        connection.execute(
            dialect_insert(links).on_conflict_do_nothing(),
            [
                {"campaign": key.campaign, "step": key.step, "url": target.url, "url_hash": key.url_hash, "label": target.label}
                for key, target in wanted
            ],
        )
        columns = (links.c.campaign, links.c.step, links.c.url_hash)
        keys = [(key.campaign, key.step, key.url_hash) for key, _ in wanted]
        for row in connection.execute(select(links.c.id, *columns).where(tuple_(*columns).in_(keys))):
            target = self._missing[_Key(row.campaign, row.step, row.url_hash)]
            self._ids[row.campaign, row.step][target.url] = row.id
            self._remembered += 1


def url_hash(url: str) -> str:
    """Return what a target is known by among a step's links."""
    return blake2b(url.encode(), digest_size=16).hexdigest()
