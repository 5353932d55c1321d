"""The CDNOW sample that ships with winback: 2 357 real customers of an online CD shop and their orders of 1997 and 1998."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime
from importlib.resources import files

from sqlalchemy import Engine, insert

from winback.store import customers, orders, writing
from winback.store.aggregates import refresh_customers

#: The day after the last one of the data.
END = datetime(1998, 7, 1, tzinfo=UTC)


def fill(engine: Engine) -> None:
    """Write the sample's customers and orders."""
    packed = (files("winback") / "starter" / "cdnow" / "CDNOW_sample.txt.gz").read_bytes()
    lines = [line.split() for line in gzip.decompress(packed).decode().splitlines()]
    people = {line[1]: number for number, line in enumerate({line[1]: line for line in lines}.values(), 1)}
    start = datetime(1997, 1, 1, tzinfo=UTC)
    person = {"local_zone": "America/New_York", "attributes": {}, "created_at": start, "updated_at": start}
    rows = []
    for number, (_, name, day, _, dollars) in enumerate(lines, 1):
        at = datetime.strptime(f"{day} 12", "%Y%m%d %H").replace(tzinfo=UTC)
        row = {"id": number, "external_id": f"O{number}", "customer_id": people[name], "placed_at": at, "updated_at": at}
        rows.append({**row, "status": "paid", "total_minor": round(float(dollars) * 100), "currency": "USD", "attributes": {}})
    with writing(engine) as connection:
        connection.execute(insert(customers), [{"id": key, "external_id": name, **person} for name, key in people.items()])
        connection.execute(insert(orders), rows)
        refresh_customers(connection, None)
