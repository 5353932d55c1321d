"""Let the demo shop's customers open, click, order and unsubscribe, through the same HTTP endpoints that real ones reach."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from html import unescape
from math import log
from pathlib import Path
from typing import TYPE_CHECKING, Any

from winback.errors import InputError
from winback.importers import Kind

if TYPE_CHECKING:
    import requests

#: What people read their mail with; the last is Apple's privacy proxy, which opens everything on nobody's behalf.
_READERS = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:128.0) Gecko/20100101 Thunderbird/128.0",
    "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Mobile Safari/537.36",
    "Mozilla/5.0",
)

#: What some companies let look at every link before their people may.
_SCANNER = "Mozilla/5.0 (compatible; Barracuda Sentinel)"

#: How many of the people who got a message do what; made up, of the size that shops see.
_OPEN, _CLICK, _ORDER, _UNSUBSCRIBE, _SCANNED = 0.42, 0.17, 0.035, 0.006, 0.02

#: How many order anyway in the days after a message, or after a holdout's virtual one.
_ORDER_ANYWAY = 0.012

#: People look at their mail within minutes or after days, half of them within three hours; nobody after this time.
_HALF_LOOK = timedelta(hours=3)
LONGEST = timedelta(days=3)

_TIMEOUT = 30  # seconds

#: A request to the JSON API holds at most so many rows.
_ROWS = 500

#: What the JSON API calls the importers' columns.
_API_NAMES = {
    Kind.CUSTOMERS: {"customer_id": "id"},
    Kind.ORDERS: {"order_id": "id", "customer_id": "customer", "product_id": "product"},
    Kind.EVENTS: {"event_id": "id", "customer_id": "customer"},
}


@dataclass(frozen=True)
class Received:
    """A message that somebody got, or would have got (`held_out`), and when."""

    message_id: str
    customer: str  # external id
    channel: str
    held_out: bool
    at: datetime


@dataclass(frozen=True)
class _Action:
    """Something that a visitor does at a moment."""

    at: datetime
    does: Callable[[requests.Session], None]


@dataclass
class Visitors:
    """The people of the demo shop; what each does, and when, follows from the message's id, so every run is alike.

    `base_url` is where the web application answers, `public_url` what the links in the messages begin with. `set_clock` is told
    the moment before each visit.
    """

    base_url: str
    public_url: str
    api_key: str
    outbox: Path
    set_clock: Callable[[datetime], None]
    done: Counter[str] = field(default_factory=Counter)  # by what they did

    def respond(self, received: Iterable[Received], since: datetime, until: datetime) -> None:
        """Do what the people who got these messages do after `since` and until `until`, in order."""
        import requests

        actions = [action for item in received for action in self._actions(item) if since < action.at <= until]
        with requests.Session() as web:
            for action in sorted(actions, key=lambda action: action.at):
                self.set_clock(action.at)
                action.does(web)

    def tell(self, kind: Kind, rows: Sequence[Mapping[str, Any]]) -> None:
        """Hand rows to the JSON API, as a shop system does; `rows` are as the importers take them."""
        import requests

        with requests.Session() as web:
            for start in range(0, len(rows), _ROWS):
                self._post(web, kind, [_renamed(row, _API_NAMES[kind]) for row in rows[start : start + _ROWS]])

    def _actions(self, item: Received) -> Iterator[_Action]:
        """Yield what somebody does about a message; the message itself is read only when the time has come."""
        looks = item.at + min(timedelta(minutes=2) - log(1 - _draw(item, "look")) / log(2) * _HALF_LOOK, LONGEST - _HALF_LOOK)
        opens, clicks = _draw(item, "open") < _OPEN, _draw(item, "click") < _CLICK / _OPEN
        agent = _READERS[int(_draw(item, "reader") * len(_READERS))]
        if not item.held_out:
            if item.channel == "email" and _draw(item, "scanner") < _SCANNED:
                yield _Action(item.at + timedelta(seconds=43), lambda web: self._scan(web, item))
            if opens:
                yield _Action(looks, lambda web: self._open(web, item, agent))
            if opens and clicks:
                yield _Action(looks + timedelta(seconds=20 + 90 * _draw(item, "read")), lambda web: self._click(web, item, agent))
            if _draw(item, "unsubscribe") < _UNSUBSCRIBE:
                yield _Action(looks + timedelta(minutes=3), lambda web: self._unsubscribe(web, item))
        # Whoever clicks is more likely to order; some order whatever we write.
        orders = _ORDER / _CLICK if opens and clicks and not item.held_out else _ORDER_ANYWAY
        if _draw(item, "order") < orders:
            at = looks + timedelta(minutes=4 + 50 * _draw(item, "basket"))
            yield _Action(at, lambda web: self._order(web, item, at))

    def _open(self, web: requests.Session, item: Received, agent: str) -> None:
        for address in self._links(item).get("o", [])[:1]:
            self._get(web, address, agent, "opens")

    def _click(self, web: requests.Session, item: Received, agent: str) -> None:
        links = self._links(item).get("c")
        if links:
            chosen = links[int(_draw(item, "link") * len(links))]
            self._get(web, chosen, _READERS[0] if agent == _READERS[-1] else agent, "clicks")

    def _scan(self, web: requests.Session, item: Received) -> None:
        for address in self._links(item).get("c", []):
            self._get(web, address, _SCANNER, "clicks by scanners")

    def _unsubscribe(self, web: requests.Session, item: Received) -> None:
        for address in self._links(item).get("u", [])[:1]:
            reply = web.post(address, data={"List-Unsubscribe": "One-Click"}, timeout=_TIMEOUT)
            reply.raise_for_status()
            self.done["unsubscribes"] += 1

    def _order(self, web: requests.Session, item: Received, at: datetime) -> None:
        price = f"{1199 + int(_draw(item, 'price') * 20) * 100}"
        amount = f"{price[:-2]}.{price[-2:]}"
        line = {"product_id": "HN-100", "name": "Half Note sampler", "category": "Jazz", "quantity": 1, "price": amount}
        order = {
            "order_id": f"WEB-{item.message_id[:8]}",
            "customer_id": item.customer,
            "placed_at": at.isoformat(),
            "status": "paid",
            "total": amount,
            "lines": [line],
        }
        self._post(web, Kind.ORDERS, [_renamed(order, _API_NAMES[Kind.ORDERS])])
        self.done["orders"] += 1

    def _get(self, web: requests.Session, address: str, agent: str, what: str) -> None:
        # The shop's own site is not part of the demo: a click ends where the redirect begins.
        reply = web.get(address, headers={"User-Agent": agent}, allow_redirects=False, timeout=_TIMEOUT)
        reply.raise_for_status()
        self.done[what] += 1

    def _post(self, web: requests.Session, kind: Kind, rows: Sequence[Mapping[str, Any]]) -> None:
        headers = {"Authorization": f"Bearer {self.api_key}"}
        reply = web.post(f"{self.base_url}/api/v1/{kind}", json=rows, headers=headers, timeout=_TIMEOUT)
        if not reply.ok:
            raise InputError(f"the JSON API refused {kind}: {reply.status_code} {reply.text[:300]}", "winback doctor says more")

    def _links(self, item: Received) -> dict[str, list[str]]:
        """Return the message's own links by kind: c(lick), o(pen), u(nsubscribe), each once, pointing at `base_url`."""
        kind = "eml" if item.channel == "email" else "json"
        for file in self.outbox.glob(f"*/{item.message_id}.{kind}"):
            text = _html(file.read_bytes()) if kind == "eml" else json.loads(file.read_text(encoding="utf-8"))["text"]
            pattern = re.compile(re.escape(self.public_url.rstrip("/")) + r"(/([cou])/[\w.-]+)")
            found: dict[str, list[str]] = {}
            for path, letter in pattern.findall(unescape(text)):
                addresses = found.setdefault(letter, [])
                if self.base_url + path not in addresses:
                    addresses.append(self.base_url + path)
            return found
        return {}


def _html(content: bytes) -> str:
    message = message_from_bytes(content, policy=policy.default)
    assert isinstance(message, EmailMessage)  # noqa: S101 what policy.default makes
    body = message.get_body(("html", "plain"))
    return str(body.get_content()) if body else ""


def _draw(item: Received, what: str) -> float:
    """Return a number from 0 to just below 1 that is the message's own for `what`."""
    digest = hashlib.blake2b(f"{item.message_id}:{what}".encode(), digest_size=6).digest()
    return int.from_bytes(digest) / 2**48


def _renamed(row: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Return a row with the API's names, its lines too."""
    found = {names.get(name, name): value for name, value in row.items()}
    if "lines" in found:
        found["lines"] = [_renamed(line, names) for line in found["lines"]]
    return found
