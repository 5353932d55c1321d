"""Tables of a transaction's own: empty when it begins, and nobody is left in them."""

from __future__ import annotations

from sqlalchemy import Column, Engine, Integer, MetaData, Table, insert, select

from winback.store import temporary, writing

_metadata = MetaData()
_people = Table("people_of_a_test", _metadata, Column("id", Integer, primary_key=True), prefixes=["TEMPORARY"])


def test_each_transaction_finds_them_empty(engine: Engine) -> None:
    for _ in range(2):
        with writing(engine) as connection, temporary(connection, _metadata):
            assert connection.execute(select(_people)).all() == []
            connection.execute(insert(_people), [{"id": 1}, {"id": 2}])


def test_nobody_is_left_in_a_pooled_connection(engine: Engine) -> None:
    with writing(engine) as connection, temporary(connection, _metadata):
        connection.execute(insert(_people), [{"id": 1}])
    with engine.connect() as connection:
        known = "sqlite_temp_master" if engine.dialect.name == "sqlite" else "pg_catalog.pg_tables"
        column = "name" if engine.dialect.name == "sqlite" else "tablename"
        found = connection.exec_driver_sql(f"SELECT 1 FROM {known} WHERE {column} = 'people_of_a_test'").first()
        assert found is None or connection.execute(select(_people)).all() == []


def test_they_are_made_again_after_an_error(engine: Engine) -> None:
    try:
        with writing(engine) as connection, temporary(connection, _metadata):
            connection.execute(insert(_people), [{"id": 1}])
            raise RuntimeError
    except RuntimeError:
        pass
    with writing(engine) as connection, temporary(connection, _metadata):
        assert connection.execute(select(_people)).all() == []
