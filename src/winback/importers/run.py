"""Run an import: read all rows into temporary tables, then merge them into the database in one transaction."""

from __future__ import annotations

import gc
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, Table, delete, func, insert, null, select, text

from winback.errors import InputError
from winback.importers.customers import CustomerReader
from winback.importers.events import EventReader
from winback.importers.files import Format, Source, open_source
from winback.importers.mapping import ID, ImportMap, load_map
from winback.importers.merge_customers import merge_customers
from winback.importers.merge_events import merge_events
from winback.importers.merge_orders import merge_orders
from winback.importers.merging import Merge, Merged
from winback.importers.orders import OrderReader
from winback.importers.reading import Reading, RowReader
from winback.importers.result import ImportResult, ImportSettings, Kind, Outcome, Progress
from winback.importers.staging import (
    Loader,
    binder,
    discard,
    prepare,
    staged_consents,
    staged_customers,
    staged_events,
    staged_lines,
    staged_orders,
)
from winback.importers.tally import Rejects, Tally
from winback.store import consents, customers, events, exclusive, import_runs, look_over, order_lines, orders
from winback.store.erasure import erased_hashes

#: How many more objects than at the last time there may be before Python looks for cycles; a block of rows has some thousand.
_OBJECTS = 100_000

_READERS: dict[Kind, type[RowReader]] = {Kind.CUSTOMERS: CustomerReader, Kind.ORDERS: OrderReader, Kind.EVENTS: EventReader}
_MERGES = {Kind.CUSTOMERS: merge_customers, Kind.ORDERS: merge_orders, Kind.EVENTS: merge_events}
_STAGED: dict[Kind, tuple[Table, ...]] = {
    Kind.CUSTOMERS: (staged_customers, staged_consents),
    Kind.ORDERS: (staged_orders, staged_lines),
    Kind.EVENTS: (staged_events,),
}


def import_file(
    engine: Engine,
    settings: ImportSettings,
    kind: Kind | str,
    path: Path,
    *,
    mapping: ImportMap | Sequence[str] = (),
    format: Format | None = None,  # noqa: A002 - the command line's word
    encoding: str | None = None,
    delimiter: str | None = None,
    dry_run: bool = False,
    now: datetime,
    progress: Progress | None = None,
) -> ImportResult:
    """Import a file; what is not said of its format is detected. `mapping` is a map or the values of `--map`.

    Rows are read into temporary tables while others go on writing; then one transaction merges them, so that a file is
    imported whole or not at all, also when the process is killed. Importing a file again changes nothing. With `dry_run`
    the transaction is undone and the counts tell what would happen.

    Raise InputError when the file cannot be read or its columns do not fit, ProjectError for a wrong map file.
    """
    kind, begun = Kind(kind), time.perf_counter()
    chosen = mapping if isinstance(mapping, ImportMap) else load_map(mapping)
    if chosen.kind is not None and chosen.kind != kind:
        raise InputError(f"the map is for {chosen.kind}, not for {kind}", f"winback import {chosen.kind} …")
    rejects = Rejects(settings.rejects_folder, f"{kind}-{_file_name(path)}", now)
    tally = Tally(rejects)
    try:
        with (
            _staging_connection(engine) as connection,
            open_source(
                path,
                region=settings.region,
                format=format or chosen.format,
                encoding=encoding or chosen.encoding,
                delimiter=delimiter or chosen.delimiter,
                header=chosen.header,
                names=chosen.names,
            ) as source,
        ):
            # A transaction that writes only temporary tables holds nobody up.
            connection.execution_options(sqlite_begin="DEFERRED")
            prepare(connection, _STAGED[kind])
            reading = _reading(
                connection, settings, chosen, now=now, source=f"import:{path.name}", tally=tally, delimiter=source.delimiter
            )
            reader = _READERS[kind](reading, source.header)
            _read_all(reader, source, progress)
            connection.commit()
            connection.execution_options(sqlite_begin="IMMEDIATE")
            exclusive(connection)
            if engine.dialect.name == "postgresql":
                connection.execute(text("SET LOCAL work_mem = '64MB'"))  # millions of rows are sorted
            _leave_erased_since(connection, reader)
            done = _merge(connection, settings, kind, reader, now)
            _record_run(connection, kind, path.name, now, done, tally)
            result = _result(done, tally, reader, begun, rejects.path, source)
            if dry_run:
                connection.rollback()
            else:
                connection.commit()
    finally:
        rejects.close()
    return result


def write_rows(
    connection: Connection,
    settings: ImportSettings,
    kind: Kind | str,
    rows: Iterable[Mapping[str, Any]],
    now: datetime,
    source: str,
    *,
    mapping: ImportMap | None = None,
) -> ImportResult:
    """Write rows that come from elsewhere than a file (the JSON API) within the caller's transaction; keys are our columns.

    The same reading and merging as of files. `outcomes` of the result has what became of each row, `problems` why, by the
    row's number, from 1.
    """
    kind, begun = Kind(kind), time.perf_counter()
    exclusive(connection)
    prepare(connection, _STAGED[kind])
    tally = Tally(None, shown=None)
    chosen = mapping or ImportMap()
    reading = _reading(connection, settings, chosen, now=now, source=source, tally=tally, delimiter=None)
    reader = _READERS[kind](reading, None)
    for number, row in enumerate(rows, 1):
        reader.read(number, dict(row))
    reader.finish()
    done = _merge(connection, settings, kind, reader, now, row_by_row=True)
    prepare(connection, _STAGED[kind])  # leaves nothing personal behind
    return _result(done, tally, reader, begun, None, None)


@contextmanager
def _staging_connection(engine: Engine) -> Iterator[Connection]:
    """Give a connection whose temporary tables are on disk, so that a file may be larger than the memory."""
    with engine.connect() as connection:
        # Before the first transaction: SQLite keeps temporary tables where they were put when they were made.
        driver: Any = connection.connection.dbapi_connection
        if engine.dialect.name == "sqlite":
            driver.execute("PRAGMA temp_store = FILE")
        try:
            yield connection
        finally:
            connection.rollback()
            connection.execution_options(sqlite_begin="DEFERRED")
            for tables in _STAGED.values():
                discard(connection, tables)
            connection.commit()
            if engine.dialect.name == "sqlite":
                driver.execute("PRAGMA temp_store = MEMORY")


def _reading(
    connection: Connection,
    settings: ImportSettings,
    chosen: ImportMap,
    *,
    now: datetime,
    source: str,
    tally: Tally,
    delimiter: str | None,
) -> Reading:
    ids, hashes = erased_hashes(connection)
    return Reading(
        settings=settings,
        map=chosen,
        now=now,
        source=source[:100],
        delimiter=delimiter,
        bind=binder(connection),
        erased_ids=ids,
        erased_hashes=hashes,
        tally=tally,
        loader=lambda table, columns: Loader(connection, table, columns),
    )


def _read_all(reader: RowReader, source: Source, progress: Progress | None) -> None:
    with _rare_collections():
        for block in source.blocks:
            reader.read_block(block)
            if progress is not None:
                progress(reader.tally.rows, source.position(), source.size)
        reader.finish()
    if progress is not None:
        progress(reader.tally.rows, source.size, source.size)


@contextmanager
def _rare_collections() -> Iterator[None]:
    """Let Python look for cycles rarely: rows have none, and to look through them each time takes 40 % of the reading."""
    before = gc.get_threshold()
    gc.set_threshold(max(_OBJECTS, before[0]), *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _leave_erased_since(connection: Connection, reader: RowReader) -> None:
    """Take out the rows of people who were forgotten while the file was read; from now on nobody is, until the end."""
    ids, hashes = erased_hashes(connection)
    known = reader.reading
    reader.reading = replace(known, erased_ids=ids - known.erased_ids, erased_hashes=hashes - known.erased_hashes)
    if ids == known.erased_ids and hashes == known.erased_hashes:
        return
    staged = _STAGED[reader.kind][0]
    who = staged.c.external_id if reader.kind is Kind.CUSTOMERS else func.coalesce(staged.c.customer, staged.c.email)
    phone_hash = staged.c.phone_hash if reader.kind is Kind.CUSTOMERS else null()
    address = func.coalesce(staged.c.email_hash, phone_hash).label("address")
    rows = connection.execute(select(staged.c.line, staged.c.weight, who.label("who"), address)).all()
    gone = [row for row in rows if reader.is_erased(row.who, row.address)]
    for row in gone:
        connection.execute(delete(staged).where(staged.c.line == row.line))
        reader.pass_erased(row.weight)


def _merge(
    connection: Connection,
    settings: ImportSettings,
    kind: Kind,
    reader: RowReader,
    now: datetime,
    *,
    row_by_row: bool = False,
) -> Merged:
    template = reader.reading.map.ids.get(ID[kind], "")
    merge = Merge(
        connection=connection,
        settings=settings,
        now=now,
        tally=reader.tally,
        numbered="{n}" in template,
        clears=reader.clears,
        line_mode=isinstance(reader, OrderReader) and reader.line_mode,
        row_by_row=row_by_row,
    )
    look_over(connection, (customers, consents, orders, order_lines, events))
    done = _MERGES[kind](merge)
    if kind is Kind.ORDERS:
        newest = connection.scalar(select(func.max(orders.c.placed_at)))
        if newest is not None and newest > now:
            done.notes.append(f"the newest order is of {newest:%Y-%m-%d %H:%M} UTC, which is still to come")
    return done


def _record_run(connection: Connection, kind: Kind, source: str, now: datetime, done: Merged, tally: Tally) -> None:
    connection.execute(
        insert(import_runs).values(
            kind=kind.value,
            source=source[:500],
            started_at=now,
            finished_at=now,
            inserted=done.inserted,
            updated=done.updated,
            unchanged=done.unchanged + tally.unchanged,
            rejected=tally.rejected,
        )
    )


def _result(
    done: Merged, tally: Tally, reader: RowReader, begun: float, rejects_file: Path | None, source: Source | None
) -> ImportResult:
    return ImportResult(
        inserted=done.inserted,
        updated=done.updated,
        unchanged=done.unchanged + tally.unchanged,
        rejected=tally.rejected,
        rows=tally.rows,
        customers_created=done.customers_created,
        seconds=time.perf_counter() - begun,
        rejects_file=rejects_file,
        warnings=tally.warnings,
        reasons=dict(tally.reasons.most_common()),
        problems=tuple(tally.problems),
        outcomes=_outcomes(done, tally) if done.row_by_row else (),
        notes=(*reader.notes(), *done.notes, *(f"{count} {note}" for note, count in tally.notes.items())),
        columns=reader.sources,
        encoding=source.encoding if source else None,
        format=source.format if source else None,
    )


def _outcomes(done: Merged, tally: Tally) -> tuple[Outcome, ...]:
    """Return what became of each row; one that a later row of the same id replaced, or of a forgotten person, changed nothing."""
    refused: dict[int, Outcome] = {problem.line: "rejected" for problem in tally.problems if problem.rejected}
    known = done.outcomes | refused
    return tuple(known.get(number, "unchanged") for number in range(1, tally.rows + 1))


def _file_name(path: Path) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", path.name)[:80]
