"""Things that are built once for the same objects, and values that a statement asks for when it runs."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import BigInteger, Engine, String, literal, select

from winback.store import among, late, messages, open_engine, prepared, reading
from winback.store import prepared as prepare
from winback.store.migrate import migrate
from winback.store.prepared import _KEPT


@dataclass(frozen=True)
class Equal:
    """Equal to any other."""

    number: int = 1


def test_the_same_objects_get_what_was_built_and_equal_ones_do_not() -> None:
    one, other = Equal(), Equal()
    built = prepared((one,), "key", object)
    assert prepared((one,), "key", object) is built
    assert prepared((other,), "key", object) is not built
    assert prepared((one,), "another", object) is not built


def test_an_object_that_is_gone_leaves_its_place_to_no_other() -> None:
    seen = [prepared((Equal(),), "key", object) for _ in range(50)]
    assert len(set(map(id, seen))) == 50


def test_the_oldest_are_forgotten() -> None:
    first = Equal()
    built = prepared((first,), 0, object)
    for number in range(_KEPT):
        prepared((first,), number + 1, object)
    assert prepared((first,), 0, object) is not built


def test_only_the_newest_form_is_kept() -> None:
    one = Equal()
    first = prepared((one,), "key", object, form="Monday")
    assert prepared((one,), "key", object, form="Monday") is first
    assert prepared((one,), "key", object, form="Tuesday") is not first
    assert prepared((one,), "key", object, form="Monday") is not first


def test_each_thread_has_its_own() -> None:
    owner = Equal()
    built = prepared((owner,), "key", object)
    others: list[object] = []
    thread = threading.Thread(target=lambda: others.append(prepare((owner,), "key", object)))
    thread.start()
    thread.join()
    assert others
    assert others[0] is not built


def test_a_late_value_is_asked_for_each_time(engine: Engine) -> None:
    numbers = iter((1, 2, 3))
    statement = select(late(lambda: next(numbers), BigInteger()))
    with reading(engine) as connection:
        assert [connection.scalar(statement) for _ in range(3)] == [1, 2, 3]


def test_among_takes_any_number_of_texts(engine: Engine) -> None:
    texts = ["[]"]
    listed = late(lambda: texts[0], String())
    statement = select(among(literal("b"), listed), among(literal("'"), listed))
    with reading(engine) as connection:
        found = []
        for texts[0] in ("[]", '["a", "b"]', '["\'", "é"]'):
            found.append(tuple(map(bool, connection.execute(statement).one())))
    assert found == [(False, False), (True, False), (False, True)]


def test_rows_are_found_by_among_with_an_index(tmp_path: Path) -> None:
    # As a truth value in a condition, it would be `(…) = 1` on SQLite, and each row would be read.
    engine = open_engine("sqlite:///x.sqlite", root=tmp_path)
    migrate(engine)
    wanted = select(messages.c.reason).where(among(messages.c.id, late(lambda: "[]", String())), messages.c.attempts > 0)
    with reading(engine) as connection:
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {wanted.compile(engine)}", ("[]", 0)).all()
    engine.dispose()
    assert "messages USING INDEX sqlite_autoindex_messages_1 (id=?)" in plan[0].detail
