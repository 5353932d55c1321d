"""A file is imported whole or not at all, also when the process is killed in the middle of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.importers.conftest import Desk
from winback.store import customers, import_runs, order_lines, orders

#: Imports a file of orders, and stands still before the first statement that begins with a text, until it is killed.
SCRIPT = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from sqlalchemy import event
from winback.importers import ImportSettings, import_file
from winback.store import open_engine

url, file, stop = sys.argv[1:]
engine = open_engine(url)

def stand_still(_c, _cursor, statement, *_):
    if statement.lstrip().startswith(stop):
        print("here", flush=True)
        sys.stdin.read()

event.listen(engine, "before_cursor_execute", stand_still)
settings = ImportSettings("Europe/Berlin", "DE", "EUR", b"k" * 32, Path(file).parent / "rejects")
import_file(engine, settings, "orders", Path(file), now=datetime(2026, 11, 24, 10, tzinfo=UTC))
print("done", flush=True)
"""

TEXT = "order_id,customer_id,placed_at,product_id,price\n" + "".join(
    f"A{number // 2},C{number % 700},2026-10-{number % 28 + 1:02},P{number % 5},4.50\n" for number in range(12_000)
)


@pytest.mark.parametrize(
    "moment",
    [
        "CREATE INDEX IF NOT EXISTS ix_staged_lines",  # everything is read, the merge begins
        "INSERT INTO orders",  # new customers are written
        "INSERT INTO order_lines",
        "INSERT INTO import_runs",  # all is written, nothing is committed
        "never",
    ],
)
def test_killed_in_the_middle_nothing_is_imported(desk: Desk, database_url: str, moment: str) -> None:
    desk.run("orders", "order_id,customer_id,placed_at,total\nA1,C1,2026-01-01,5\n", name="before.csv")
    file = desk.write("orders.csv", TEXT)
    before = [desk.all(table, *table.c.keys()) for table in (orders, order_lines, customers, import_runs)]
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, database_url, str(file), moment],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).resolve().parents[2],
    )
    assert process.stdout is not None
    assert process.stdout.readline() == ("done\n" if moment == "never" else "here\n")
    process.kill()
    process.communicate(timeout=30)
    after = [desk.all(table, *table.c.keys()) for table in (orders, order_lines, customers, import_runs)]
    assert (after == before) is (moment != "never")
    again = desk.run("orders", file)
    assert (again.rows, again.rejected) == (12_000, 0)
    assert len(desk.all(orders, "id")) == 6000
    assert len(desk.all(order_lines, "id")) == 12_000
    assert again.unchanged == (12_000 if moment == "never" else 0)
