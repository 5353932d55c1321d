"""`winback preview --html` renders the first message as its customer would get it, and nothing in it acts on anybody."""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import typer
from click.testing import Result
from sqlalchemy import Engine, func, select
from typer.testing import CliRunner

from tests.project.builder import campaign, email_step, sms_step, write_shop
from tests.rows import add_customer, add_order
from winback.cli import preview
from winback.errors import InputError
from winback.store import enrollments, links, messages, reading, writing

LETTER = """\
<p>Hello {{ customer.first_name | default("you", true) }}, order {{ last_order.number }}</p>
<p>{{ coupon.code }}</p>
<a href="https://example.com/new">New</a>
<a href="{{ unsubscribe_url }}">No more</a>
"""

AT = "2026-11-24 10:00"

#: What is rendered does not depend on the database; what it is rendered of is tested on both in tests/dispatch.
pytestmark = pytest.mark.parametrize("backend", ["sqlite"])


@pytest.fixture
def shop(tmp_path: Path, database_url: str, engine: Engine, now: datetime) -> Path:
    """Give a shop with two sleeping customers; Ada prefers her letters."""
    with writing(engine) as connection:
        for external_id, name in (("C1", "Ada"), ("C2", "Иван & Söhne <b>")):
            customer = add_customer(connection, external_id, now, first_name=name, phone="+4915112345678", sms_marketing=True)
            add_order(connection, f"O-{external_id}", customer, now - timedelta(days=100))
    return tmp_path / "shop"


def _run(shop: Path, database_url: str, step: dict[str, Any], *arguments: str, template: str = LETTER, **changes: Any) -> Result:
    write_shop(
        shop,
        campaigns={"wake": campaign(steps=[step], **changes)},
        templates={"hello.email.html": template},
        settings={"shop": {"zone": "UTC"}},
    )
    app = typer.Typer()
    preview.register(app)
    command = ["preview", "wake", "--at", AT, "--shop", str(shop), *arguments]
    return CliRunner().invoke(app, command, env={"WINBACK_DATABASE_URL": database_url})


STEP = email_step(subject="For {{ customer.first_name }}", coupon={"pool": "WAKE10", "expires": "14d"})


def test_the_first_message_is_rendered_for_its_customer(shop: Path, database_url: str, engine: Engine) -> None:
    file = shop / "new" / "seen.html"
    done = _run(shop, database_url, STEP, "--html", str(file))
    assert done.exit_code == 0, done.output
    page = file.read_text(encoding="utf-8")
    assert "Hello Ada, order O-C1" in page
    assert "WAKE10-" in page
    assert 'href="https://example.com/new' in page  # where it leads, not by way of the counter
    assert ".gif" not in page
    assert "hello for C1 by email, 'For Ada'" in done.stderr
    with reading(engine) as connection:
        assert [connection.scalar(select(func.count()).select_from(table)) for table in (messages, links, enrollments)] == [
            0,
            0,
            0,
        ]


def test_or_for_the_customer_that_is_asked_for(shop: Path, database_url: str, tmp_path: Path) -> None:
    done = _run(shop, database_url, STEP, "--customer", "C2", "--html", str(tmp_path / "seen.html"))
    assert done.exit_code == 0, done.output
    assert "Hello Иван &amp; Söhne &lt;b&gt;, order O-C2" in (tmp_path / "seen.html").read_text(encoding="utf-8")


def test_a_text_message_becomes_a_page_too(shop: Path, database_url: str, tmp_path: Path) -> None:
    done = _run(shop, database_url, sms_step(), "--customer", "C2", "--html", str(tmp_path / "seen.html"))
    assert done.exit_code == 0, done.output
    assert "Hello Иван &amp; Söhne &lt;b&gt;. Reply STOP for no more" in (tmp_path / "seen.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(("arguments", "changes"), [(("--customer", "C3"), {}), ((), {"measure": {"holdout": "100%"}})])
def test_where_there_is_no_message_that_is_said(
    shop: Path, database_url: str, tmp_path: Path, arguments: tuple[str, ...], changes: dict[str, Any]
) -> None:
    file = tmp_path / "seen.html"
    done = _run(shop, database_url, STEP, *arguments, "--html", str(file), **changes)
    assert isinstance(done.exception, InputError)
    assert "there is no message" in str(done.exception)
    assert not os.path.lexists(file)
