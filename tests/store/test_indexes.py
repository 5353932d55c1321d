"""Indexes that hold some rows only are used for what they are made for."""

from __future__ import annotations

from sqlalchemy import Engine, and_, or_, select, text

from winback.store import messages


def test_messages_are_found_by_what_their_gateway_calls_them(engine: Engine) -> None:
    """Asked as receipts are looked up: by the provider's ids, or by our own."""
    theirs = and_(messages.c.gateway.in_(["relay"]), messages.c.provider_id.in_(["4bZ1", "4bZ2"]))
    asked = select(messages.c.id).where(or_(theirs, messages.c.id.in_(["one", "two"])))
    statement = asked.compile(engine, compile_kwargs={"literal_binds": True})
    with engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("SET LOCAL enable_seqscan = off"))  # there is nothing in the table
            steps = connection.exec_driver_sql(f"EXPLAIN {statement}").all()
        else:
            steps = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}").all()
    assert "ix_messages_provider" in str(steps)
