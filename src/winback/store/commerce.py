"""What customers did: orders with their lines, and named events."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Column, Index, UniqueConstraint
from sqlmodel import Field, SQLModel

from winback.store.types import Id, Json, UtcDateTime, Word


class OrderStatus(StrEnum):
    """How far an order has come."""

    PLACED = "placed"
    PAID = "paid"
    DELIVERED = "delivered"
    CANCELLED = "cancelled"
    REFUNDED = "refunded"
    RETURNED = "returned"


#: Orders in these states do not count as a purchase.
VOID_STATUSES = (OrderStatus.CANCELLED, OrderStatus.REFUNDED, OrderStatus.RETURNED)


class Order(SQLModel, table=True):
    """A purchase. `total_minor` is in minor units of `currency` (cents)."""

    __tablename__ = "orders"
    __table_args__ = (
        Index("ix_orders_customer", "customer_id", "placed_at"),
        Index("ix_orders_placed", "placed_at"),
        Index("ix_orders_delivered", "delivered_at"),
        Index("ix_orders_voided", "voided_at"),
    )

    id: int | None = Field(default=None, sa_column=Column(Id, primary_key=True, autoincrement=True))
    external_id: str = Field(max_length=200, unique=True)
    customer_id: int = Field(sa_type=Id, foreign_key="customers.id")
    placed_at: datetime = Field(sa_type=UtcDateTime)
    status: str = Field(sa_type=Word(20))
    total_minor: int = Field(sa_type=Id)
    currency: str = Field(max_length=3)
    delivered_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    voided_at: datetime | None = Field(default=None, sa_type=UtcDateTime)  # cancelled, refunded or returned at
    attributes: dict[str, Any] = Field(default_factory=dict, sa_column=Column(Json, nullable=False))
    updated_at: datetime = Field(sa_type=UtcDateTime)


class OrderLine(SQLModel, table=True):
    """One product of an order. `price_minor` is for one piece, in the order's currency."""

    __tablename__ = "order_lines"
    __table_args__ = (UniqueConstraint("order_id", "position"), Index("ix_order_lines_product", "product_id"))

    id: int | None = Field(default=None, sa_column=Column(Id, primary_key=True, autoincrement=True))
    order_id: int = Field(sa_type=Id, foreign_key="orders.id")
    position: int  # from 1
    product_id: str = Field(max_length=200)
    name: str = Field(max_length=500)
    category: str | None = Field(default=None, max_length=200)
    quantity: int
    price_minor: int = Field(sa_type=Id)
    url: str | None = Field(default=None, max_length=2000)


class Event(SQLModel, table=True):
    """Something named that a customer did: a visit, a download, a webinar."""

    __tablename__ = "events"
    __table_args__ = (
        Index("ix_events_customer", "customer_id", "name", "at"),
        Index("ix_events_name", "name", "at"),
    )

    id: int | None = Field(default=None, sa_column=Column(Id, primary_key=True, autoincrement=True))
    external_id: str = Field(max_length=200, unique=True)  # the source's id, or a digest of the content
    customer_id: int = Field(sa_type=Id, foreign_key="customers.id")
    name: str = Field(max_length=100)
    at: datetime = Field(sa_type=UtcDateTime)
    properties: dict[str, Any] = Field(default_factory=dict, sa_column=Column(Json, nullable=False))
