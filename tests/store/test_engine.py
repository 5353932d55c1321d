"""What holds on every connection, on SQLite and on PostgreSQL."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, func, insert, select, text
from sqlalchemy.exc import IntegrityError, OperationalError

from tests.rows import add_customer
from winback.errors import StoreError
from winback.store import consents, customers, exclusive, open_engine, reading, writing
from winback.store.refusals import answering

NOW = datetime(2026, 11, 24, tzinfo=UTC)


def count(engine: Engine) -> int:
    """Return how many customers there are."""
    with reading(engine) as connection:
        return connection.scalar(select(func.count()).select_from(customers)) or 0


def _row(external_id: str) -> dict[str, Any]:
    return {"external_id": external_id, "local_zone": "UTC", "attributes": {}, "created_at": NOW, "updated_at": NOW}


def test_a_transaction_is_kept_at_its_end_and_undone_on_an_error(engine: Engine) -> None:
    with writing(engine) as connection:
        add_customer(connection, "C1", NOW)
    with pytest.raises(IntegrityError), writing(engine) as connection:
        connection.execute(insert(customers), [_row("C2"), _row("C2")])
    assert count(engine) == 1


def test_readers_do_not_wait_for_a_writer(engine: Engine) -> None:
    with writing(engine) as connection:
        exclusive(connection)
        add_customer(connection, "C1", NOW)
        assert count(engine) == 0
    assert count(engine) == 1


def test_one_at_a_time_is_exclusive(engine: Engine) -> None:
    order: list[str] = []
    first_in = threading.Event()

    def second() -> None:
        first_in.wait(timeout=30)
        with writing(engine) as connection:
            exclusive(connection)
            order.append("second")

    thread = threading.Thread(target=second)
    thread.start()
    with writing(engine) as connection:
        exclusive(connection)
        first_in.set()
        for _ in range(1000):  # gives the other one time to come in, were it let
            connection.execute(select(func.count()).select_from(customers))
        order.append("first")
    thread.join(timeout=60)
    assert order == ["first", "second"]


def test_what_points_nowhere_is_refused(engine: Engine) -> None:
    row = {"customer_id": 99, "channel": "email", "purpose": "marketing", "granted": True, "at": NOW, "source": "test"}
    with pytest.raises(IntegrityError), writing(engine) as connection:
        connection.execute(insert(consents), row)


def test_a_sqlite_file_outlives_a_power_cut(tmp_path: Path) -> None:
    engine = open_engine("sqlite:///var/new/winback.sqlite", root=tmp_path)
    with engine.connect() as connection:
        assert connection.scalar(text("PRAGMA journal_mode")) == "wal"
        assert connection.scalar(text("PRAGMA synchronous")) == 2  # FULL
        assert connection.scalar(text("PRAGMA foreign_keys")) == 1
    engine.dispose()
    assert (tmp_path / "var" / "new" / "winback.sqlite").exists()


def test_sqlite_keeps_what_a_pass_works_with_out_of_memory(tmp_path: Path) -> None:
    engine = open_engine("sqlite:///winback.sqlite", root=tmp_path)
    with engine.connect() as connection:
        assert connection.scalar(text("PRAGMA temp_store")) == 1  # FILE
    engine.dispose()


def test_postgresql_speaks_utc_and_compiles_nothing(postgres_url: str) -> None:
    engine = open_engine(postgres_url)
    with engine.connect() as connection:
        assert connection.scalar(text("SHOW timezone")) == "UTC"
        assert connection.scalar(text("SHOW jit")) == "off"
    engine.dispose()


def test_an_error_does_not_quote_what_was_to_be_written(engine: Engine) -> None:
    row = {
        "customer_id": 99,
        "channel": "email",
        "purpose": "marketing",
        "granted": True,
        "at": NOW,
        "source": "anna@example.com",
    }
    with pytest.raises(IntegrityError) as caught, writing(engine) as connection:
        connection.execute(insert(consents), row)
    assert "anna@example.com" not in str(caught.value)


def test_only_what_the_database_refuses_is_put_into_words(engine: Engine) -> None:
    with pytest.raises(IntegrityError), answering(engine), writing(engine) as connection:
        connection.execute(insert(customers), [_row("C1"), _row("C1")])
    with pytest.raises(StoreError, match="cannot be used: disk I/O error") as caught, answering(engine):
        raise OperationalError("SELECT 1", {}, Exception("disk I/O error"))
    assert "it may be full or broken" in caught.value.remedy
