"""A database made by the migrations is the one the models describe; every other database is refused in words."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import PIPE
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, event, inspect, make_url, text

from winback.errors import StoreError
from winback.store import metadata, open_engine
from winback.store.migrate import migrate, newest_version

PROCESSES = 4

MakeDatabase = Callable[[str], Engine]


@pytest.fixture
def make_database(backend: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[MakeDatabase]:
    """Give a function that makes an empty database without any table, and opens it."""
    made: list[Engine] = []
    names: list[str] = []
    url = make_url(request.getfixturevalue("postgres_url")) if backend == "postgresql" else None
    admin = create_engine(url.set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT") if url else None

    def make(name: str) -> Engine:
        if url is None or admin is None:
            made.append(open_engine(f"sqlite:///{tmp_path}/{name}.sqlite"))
        else:
            names.append(f"{url.database}_{name}")
            with admin.connect() as connection:
                connection.execute(text(f'CREATE DATABASE "{names[-1]}"'))
            made.append(open_engine(url.set(database=names[-1]).render_as_string(hide_password=False)))
        return made[-1]

    yield make
    for engine in made:
        engine.dispose()
    if admin is not None:
        with admin.connect() as connection:
            for name in names:
                connection.execute(text(f'DROP DATABASE "{name}" WITH (FORCE)'))
        admin.dispose()


def described(engine: Engine) -> dict[str, Any]:
    """Return everything the database says of its tables, in an order that does not depend on how they were made."""
    found: dict[str, Any] = {}
    looking = inspect(engine)
    for table in sorted(set(looking.get_table_names()) - {"alembic_version"}):
        columns = {
            column["name"]: (str(column["type"]), column["nullable"], column["default"], column.get("autoincrement"))
            for column in looking.get_columns(table)
        }
        indexes = {
            index["name"]: (index["column_names"], index["unique"], {k: str(v) for k, v in index["dialect_options"].items()})
            for index in looking.get_indexes(table)
        }
        checks = {check["name"]: check["sqltext"] for check in looking.get_check_constraints(table)}
        uniques = sorted((each["name"] or "", each["column_names"]) for each in looking.get_unique_constraints(table))
        keys = sorted(
            (key["constrained_columns"], key["referred_table"], key["referred_columns"], key["options"])
            for key in looking.get_foreign_keys(table)
        )
        found[table] = {
            "columns": columns,
            "order": list(columns),
            "indexes": indexes,
            "checks": checks,
            "uniques": uniques,
            "foreign keys": keys,
            "primary key": looking.get_pk_constraint(table)["constrained_columns"],
        }
    return found


def test_migrated_schema_is_the_schema_of_the_models(make_database: MakeDatabase) -> None:
    migrated, fresh = make_database("migrated"), make_database("fresh")
    migrate(migrated)
    metadata.create_all(fresh)
    assert described(migrated) == described(fresh)


def test_comparison_sees_indexes_checks_and_partial_indexes(make_database: MakeDatabase) -> None:
    engine = make_database("one")
    migrate(engine)
    messages = described(engine)["messages"]
    assert "planned" in str(messages["indexes"]["ix_messages_ready"])
    assert "held_out" in messages["checks"]["ck_messages_state"]
    assert messages["uniques"]
    assert len(messages["foreign keys"]) == 2


def test_second_time_is_one_query(make_database: MakeDatabase) -> None:
    engine = make_database("one")
    migrate(engine)
    asked: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda _c, _cursor, statement, *_: asked.append(statement))
    migrate(engine)
    assert [each for each in asked if not each.startswith("BEGIN")] == ["SELECT version_num FROM alembic_version"]


def test_a_current_database_needs_no_alembic(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/winback.sqlite"
    migrate(open_engine(url))
    code = (
        "import sys; from winback.store.engine import open_engine; from winback.store.migrate import migrate; "
        f"migrate(open_engine({url!r})); sys.exit('alembic' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_several_processes_may_start_at_once(make_database: MakeDatabase) -> None:
    engine = make_database("busy")
    code = (
        "import sys; from winback.store.engine import open_engine; from winback.store.migrate import migrate; "
        f"engine = open_engine({engine.url.render_as_string(hide_password=False)!r}); "
        "print('ready', flush=True); sys.stdin.readline(); migrate(engine)"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", code], stdin=PIPE, stdout=PIPE, stderr=PIPE, text=True) for _ in range(PROCESSES)
    ]
    for process in running:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in running:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    ends = [process.communicate(timeout=60) for process in running]
    assert [process.returncode for process in running] == [0] * PROCESSES, ends
    with engine.connect() as connection:
        assert connection.scalars(text("SELECT version_num FROM alembic_version")).all() == [newest_version()]


def test_several_threads_may_start_at_once(make_database: MakeDatabase) -> None:
    engine = make_database("threads")
    gate = threading.Barrier(PROCESSES)

    def start(_: int) -> None:
        gate.wait(timeout=30)
        migrate(engine)

    with ThreadPoolExecutor(PROCESSES) as pool:
        list(pool.map(start, range(PROCESSES)))
    with engine.connect() as connection:
        assert connection.scalars(text("SELECT version_num FROM alembic_version")).all() == [newest_version()]


def test_a_step_that_fails_leaves_nothing_behind(make_database: MakeDatabase) -> None:
    engine = make_database("broken")

    def break_off(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "CREATE TABLE installation" in statement:
            raise RuntimeError("the power went")

    event.listen(engine, "before_cursor_execute", break_off)
    with pytest.raises(RuntimeError):
        migrate(engine)
    assert inspect(engine).get_table_names() == []


def test_a_newer_database_is_refused(make_database: MakeDatabase) -> None:
    engine = make_database("newer")
    migrate(engine)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StoreError, match="newer winback: its schema is 9999") as caught:
        migrate(engine)
    assert "install" in caught.value.remedy


def test_a_database_with_other_tables_is_refused_unchanged(make_database: MakeDatabase) -> None:
    engine = make_database("other")
    with engine.begin() as connection:
        for name in ("articles", "baskets", "wp_posts", "zebras"):
            connection.execute(text(f"CREATE TABLE {name} (id INTEGER)"))
    with pytest.raises(StoreError, match="articles, baskets, wp_posts and 1 more") as caught:
        migrate(engine)
    assert "database of its own" in caught.value.remedy
    assert len(inspect(engine).get_table_names()) == 4


def test_another_programs_alembic_is_refused(make_database: MakeDatabase) -> None:
    engine = make_database("alembic")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)"))
        connection.execute(text("INSERT INTO alembic_version VALUES ('3f5c1a09d2b4')"))
    with pytest.raises(StoreError, match="belongs to another program"):
        migrate(engine)
    assert inspect(engine).get_table_names() == ["alembic_version"]


@pytest.mark.parametrize(
    ("url", "message", "remedy"),
    [
        ("postgresql://shop:hunter2-secret@127.0.0.1:1/winback", "at 127.0.0.1:1 .* refused", "start PostgreSQL"),
        ("postgresql://shop:hunter2-secret@no-such-host.invalid/winback", "at no-such-host.invalid", "database.url"),
        ("postgresql://127.0.0.1:1/winback?user=shop&password=hunter2-secret", "refused", "start PostgreSQL"),
        ("postgresql://shop:hunter2-secret@/winback?host=/no/such/socket", "at /no/such/socket", "start PostgreSQL"),
    ],
)
def test_a_server_that_does_not_answer_is_named_without_its_password(url: str, message: str, remedy: str) -> None:
    with pytest.raises(StoreError, match=message) as caught:
        migrate(open_engine(url))
    assert remedy in caught.value.remedy
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


def test_a_database_that_is_not_there_is_named(postgres_url: str) -> None:
    url = make_url(postgres_url).set(database="no_such_database", password="hunter2-secret")
    with pytest.raises(StoreError, match=r"no_such_database.* does not exist") as caught:
        migrate(open_engine(url.render_as_string(hide_password=False)))
    assert "createdb" in caught.value.remedy
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


def test_a_file_that_is_no_database_is_refused_and_kept(tmp_path: Path) -> None:
    file = tmp_path / "list.csv"
    file.write_text("id,email\n" * 200)
    with pytest.raises(StoreError, match="not a database") as caught:
        migrate(open_engine(f"sqlite:///{file}"))
    assert "name another one" in caught.value.remedy
    assert file.read_text() == "id,email\n" * 200


def test_a_folder_in_place_of_the_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=re.escape(str(tmp_path))):
        migrate(open_engine(f"sqlite:///{tmp_path}"))


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(StoreError, match="cannot be made"):
        open_engine("sqlite:///taken/var/winback.sqlite", root=tmp_path)


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a folder where nobody may write, such as /proc")
def test_a_read_only_folder_is_refused() -> None:
    with pytest.raises(StoreError, match="unable to open") as caught:
        migrate(open_engine("sqlite:////proc/winback.sqlite"))
    assert "let this user write" in caught.value.remedy


def test_a_missing_driver_is_named() -> None:
    code = (
        "import sys; sys.modules['psycopg'] = None\n"
        "from winback.errors import StoreError; from winback.store.engine import open_engine\n"
        "try: open_engine('postgresql://127.0.0.1/winback')\n"
        "except StoreError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "winback[postgres]" in done.stdout


@pytest.mark.parametrize("url", ["mysql://localhost/shop", "not a url"])
def test_a_url_of_another_kind_is_refused(url: str) -> None:
    with pytest.raises(StoreError) as caught:
        open_engine(url)
    assert "postgresql://" in caught.value.remedy
