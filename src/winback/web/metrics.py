"""Health and numbers for machines: `/healthz` and `/metrics` in the text format of Prometheus, without personal data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector
from sqlalchemy import Connection, func, literal, select
from sqlalchemy.exc import SQLAlchemyError

from winback.store import conversions, enrollments, interactions, messages, passes, reading
from winback.web.security import may_read_metrics
from winback.web.shop import Shop

router = APIRouter()


@router.get("/healthz")
def healthz(request: Request) -> Response:
    """Say whether the pages and the database answer."""
    shop = cast(Shop, request.app.state.shop)
    try:
        with reading(shop.engine) as connection:
            connection.scalar(select(literal(1)))
    except SQLAlchemyError:
        return JSONResponse({"status": "the database does not answer"}, 503)
    return JSONResponse({"status": "ok"})


@router.get("/metrics")
def metrics(request: Request) -> Response:
    """Print counts from the ledger; with a password configured, for who sends it or the API key as a bearer token."""
    shop = cast(Shop, request.app.state.shop)
    if not may_read_metrics(request.headers, shop.files()):
        raise HTTPException(401, "Send the API key as a bearer token.", headers={"WWW-Authenticate": "Bearer"})
    registry = CollectorRegistry(auto_describe=False)
    with reading(shop.engine) as connection:
        registry.register(_Ledger(connection))
        text = generate_latest(registry)
    return Response(text, media_type=CONTENT_TYPE_LATEST)


class _Ledger(Collector):
    """Read the numbers when asked, so that every process of the shop reports the same."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def describe(self) -> list[GaugeMetricFamily]:
        return []  # nothing is read before it is asked for

    def collect(self) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
        labels = (messages.c.campaign, messages.c.channel, messages.c.state)
        gauge = GaugeMetricFamily("winback_messages", "Messages in the ledger.", labels=["campaign", "channel", "state"])
        for *values, count in self._connection.execute(select(*labels, func.count()).group_by(*labels)):
            gauge.add_metric(values, count)
        yield gauge

        gauge = GaugeMetricFamily("winback_enrollments", "Enrollments.", labels=["campaign", "state"])
        states = (enrollments.c.campaign, enrollments.c.state)
        for *values, count in self._connection.execute(select(*states, func.count()).group_by(*states)):
            gauge.add_metric(values, count)
        yield gauge

        kinds = (interactions.c.campaign, interactions.c.kind, interactions.c.klass)
        counter = CounterMetricFamily("winback_interactions", "What came back.", labels=["campaign", "kind", "class"])
        for *values, count in self._connection.execute(select(*kinds, func.count()).group_by(*kinds)):
            counter.add_metric(values, count)
        yield counter

        counter = CounterMetricFamily("winback_conversions", "Attributed orders and events.", labels=["campaign", "kind"])
        whole = (conversions.c.campaign, conversions.c.kind)
        treated = select(*whole, func.count()).where(conversions.c.held_out.is_(False)).group_by(*whole)
        for *values, count in self._connection.execute(treated):
            counter.add_metric(values, count)
        yield counter

        last = self._connection.scalar(select(func.max(passes.c.finished_at)).where(passes.c.error.is_(None)))
        if last is not None:
            name, text = "winback_last_pass_timestamp_seconds", "When the last pass without an error ended."
            yield GaugeMetricFamily(name, text, value=last.timestamp())
