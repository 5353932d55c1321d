"""A small shop whose public addresses are called as the world calls them: through the ASGI application."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import httpx
from fastapi import FastAPI
from sqlalchemy import Engine, Row, Table, insert, select

from tests.project.builder import campaign, email_step, sms_step, write_shop
from winback.addresses import hash_address
from winback.compose import tokens
from winback.gateways.base import Gateway
from winback.project import Project, load_project
from winback.store import links, reading, writing
from winback.track.api import api_router
from winback.track.app import tracking_router
from winback.track.state import TrackState

API_KEY = "a key with an é in it"

#: What a person reads mail with.
BROWSER = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:128.0) Gecko/20100101 Thunderbird/128.0"

#: A caller's address (RFC 5737: for documentation).
CALLER = "198.51.100.7"

_Result = TypeVar("_Result")


@dataclass
class Shop:
    """The shop, its database, and its clock, which tests set."""

    project: Project
    engine: Engine
    now: datetime
    gateways: Mapping[str, Gateway] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.state = TrackState(self.engine, lambda: self.project, lambda: self.now, self.gateways)

    @cached_property
    def app(self) -> FastAPI:
        """Return the application. FastAPI takes a tenth of a second to make it, and half of the tests never call it."""
        app = FastAPI(openapi_url="/api/openapi.json")
        app.include_router(tracking_router(self.state))
        app.include_router(api_router(self.state))
        return app

    def run(self, work: Callable[[httpx.AsyncClient], Awaitable[_Result]], caller: str = CALLER) -> _Result:
        """Run something with a client of the application, and wait until all hits are written."""

        async def go() -> _Result:
            transport = httpx.ASGITransport(app=self.app, client=(caller, 40000))
            async with httpx.AsyncClient(transport=transport, base_url="http://mail.halfnote.example") as web:
                result = await work(web)
            await self.state.close()
            return result

        return asyncio.run(go())

    def call(self, method: str, path: str, *, caller: str = CALLER, agent: str = BROWSER, **given: Any) -> httpx.Response:
        """Make one call; no cookie is ever sent, no redirect followed."""
        headers = {"user-agent": agent.encode("latin-1"), **given.pop("headers", {})}
        return self.run(lambda web: web.request(method, path, headers=headers, **given), caller)

    def api(self, method: str, path: str, **given: Any) -> httpx.Response:
        """Make one call of the JSON API, with the key."""
        key = b"Bearer " + API_KEY.encode()
        return self.run(lambda web: web.request(method, f"/api/v1{path}", headers={b"authorization": key}, **given))

    def link(self, url: str, *, campaign: str = "sleeping", step: str = "hello") -> int:
        """Write a link of a step; return its number."""
        row = {"campaign": campaign, "step": step, "url": url, "url_hash": hash_address(url, b"")}
        with writing(self.engine) as connection:
            return int(connection.execute(insert(links).values(row).returning(links.c.id)).scalar_one())

    def token(self, kind: tokens.Kind, message_id: str, number: int = 0) -> str:
        """Return the signed token of a link."""
        return tokens.sign(self.project.key("links"), kind, message_id, number)

    def hash(self, address: str) -> str:
        """Return the keyed hash of an address."""
        return hash_address(address, self.project.key("address"))

    def rows(self, table: Table, *columns: str) -> list[tuple[Any, ...]]:
        """Return a table's rows in the order in which they were written."""
        wanted = [table.c[name] for name in columns]
        return [tuple(row) for row in self.records(table, wanted)]

    def records(self, table: Table, wanted: Sequence[Any] = ()) -> list[Row[Any]]:
        """Return a table's rows by name."""
        with reading(self.engine) as connection:
            order = [table.c.id] if "id" in table.c else []
            return list(connection.execute(select(*(wanted or [table])).order_by(*order)))


def make_project(folder: Path, **settings: Mapping[str, Any]) -> Project:
    """Write and load a shop in Berlin with a campaign of each purpose, one of them with a text message."""
    (folder / "api.key").parent.mkdir(parents=True, exist_ok=True)
    (folder / "api.key").write_text(API_KEY, encoding="utf-8")
    web = {"api_key": {"file": "api.key"}, "public_url": "http://mail.halfnote.example"}
    shop = {
        "name": "Half Note",
        "zone": "Europe/Berlin",
        "region": "DE",
        "currency": "EUR",
        "email_from": "hello@halfnote.example",
    }
    files = {
        "sleeping": campaign(measure={"window": "10d"}, steps=[email_step("hello"), sms_step("text", after="2d")]),
        "thanks": campaign(purpose="service", audience={"preset": "after_order", "delay": "1d"}, measure={"window": "5d"}),
        "lesson": campaign(measure={"window": "10d", "conversion": "event:webinar_attended"}),
    }
    return load_project(
        write_shop(folder, campaigns=files, settings={"web": web, "shop": shop, "limits": {"email": []}, **settings})
    )
