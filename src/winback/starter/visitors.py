"""Let the demo shop's customers open, click, order and unsubscribe, through the same HTTP endpoints that real ones reach."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from html import unescape
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import requests

#: What people read their mail with; the last is Apple's privacy proxy, which opens everything on nobody's behalf.
_READERS = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:128.0) Gecko/20100101 Thunderbird/128.0",
    "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Mobile Safari/537.36",
    "Mozilla/5.0",
)

#: How many of the people who got a message do what; made up, of the size that shops see.
_OPEN, _CLICK, _ORDER, _UNSUBSCRIBE = 0.42, 0.17, 0.05, 0.006

#: How many order anyway on the day of a message, or of a holdout's virtual one.
_ORDER_ANYWAY = 0.015

_TIMEOUT = 30  # seconds


@dataclass(frozen=True)
class Received:
    """A message that somebody got, or would have got (`held_out`)."""

    message_id: str
    customer: str  # external id
    channel: str
    held_out: bool


@dataclass
class Visitors:
    """The people of the demo shop; what each does follows from the message's id, so every run is alike.

    `base_url` is where the web application answers, `public_url` what the links in the messages begin with.
    """

    base_url: str
    public_url: str
    api_key: str
    outbox: Path
    done: Counter[str] = field(default_factory=Counter)  # by what they did

    def respond(self, received: Iterable[Received], at: datetime) -> None:
        """Do what the people who got these messages do, at a moment."""
        import requests

        orders: list[dict[str, Any]] = []
        with requests.Session() as web:
            for item in received:
                if not item.held_out:
                    self._read(web, item)
                order = _ORDER if not item.held_out and _draw(item, "order") < _ORDER else _ORDER_ANYWAY
                if _draw(item, "order") < order:
                    orders.append(_order(item, at))
            self._send_orders(web, orders)

    def _read(self, web: requests.Session, item: Received) -> None:
        links = self._links(item)
        agent = _READERS[int(_draw(item, "reader") * len(_READERS))]
        if _draw(item, "open") < _OPEN:
            for address in links.get("o", [])[:1]:
                self._get(web, address, agent, "opens")
            if _draw(item, "click") < _CLICK / _OPEN and links.get("c"):
                chosen = links["c"][int(_draw(item, "link") * len(links["c"]))]
                self._get(web, chosen, _READERS[0] if agent == _READERS[-1] else agent, "clicks")
        if _draw(item, "unsubscribe") < _UNSUBSCRIBE:
            for address in links.get("u", [])[:1]:
                reply = web.post(address, data={"List-Unsubscribe": "One-Click"}, timeout=_TIMEOUT)
                reply.raise_for_status()
                self.done["unsubscribes"] += 1

    def _get(self, web: requests.Session, address: str, agent: str, what: str) -> None:
        # The shop's own site is not part of the demo: a click ends where the redirect begins.
        reply = web.get(address, headers={"User-Agent": agent}, allow_redirects=False, timeout=_TIMEOUT)
        reply.raise_for_status()
        self.done[what] += 1

    def _send_orders(self, web: requests.Session, orders: list[dict[str, Any]]) -> None:
        if not orders:
            return
        headers = {"Authorization": f"Bearer {self.api_key}"}
        reply = web.post(f"{self.base_url}/api/v1/orders", json=orders, headers=headers, timeout=_TIMEOUT)
        reply.raise_for_status()
        self.done["orders"] += len(orders)

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
    """Return a number in 0..1 that is the message's own for `what`."""
    digest = hashlib.blake2b(f"{item.message_id}:{what}".encode(), digest_size=6).digest()
    return int.from_bytes(digest) / 2**48


def _order(item: Received, at: datetime) -> dict[str, Any]:
    price = 1199 + int(_draw(item, "price") * 20) * 100
    return {
        "id": f"WEB-{item.message_id[:8]}",
        "customer": item.customer,
        "placed_at": at.isoformat(),
        "status": "paid",
        "total": f"{price / 100:.2f}",
        "lines": [{"product": "hn-100", "name": "Half Note sampler", "quantity": 1, "price": f"{price / 100:.2f}"}],
    }
