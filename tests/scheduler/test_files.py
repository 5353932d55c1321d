"""A running shop's files: changes are taken over, and what is broken changes nothing."""

from __future__ import annotations

from datetime import datetime, timedelta
from email import message_from_bytes, policy
from pathlib import Path

import pytest
from freezegun import freeze_time
from sqlalchemy import Engine

from tests.project.builder import campaign, email_step, write_shop
from tests.scheduler.shops import WAKE, add_sleepers, in_outbox, make_shop, rows
from winback.errors import ProjectError
from winback.scheduler.daemon import Daemon
from winback.scheduler.files import running_files
from winback.store import open_engine
from winback.store.migrate import migrate


def _letter(word: str) -> str:
    name = "{{ customer.first_name | default('you', true) }}"
    return f'<p>{word} {name}</p><p><a href="{{{{ unsubscribe_url }}}}">No more</a></p>\n'


def _first_words(root: Path) -> set[str]:
    """Return the words with which the letters in the outbox begin."""
    files = (root / "var" / "outbox").glob("*/*.eml")
    letters = [message_from_bytes(file.read_bytes(), policy=policy.default) for file in files]
    return {letter.get_body(("plain",)).get_content().split()[0] for letter in letters}


def test_changes_are_taken_over_between_passes(engine: Engine, database_url: str, tmp_path: Path, now: datetime) -> None:
    project = make_shop(tmp_path / "shop", database_url, {"wake": {**WAKE, "enabled": False}})
    add_sleepers(engine, 2, now)
    with freeze_time(now) as clock:
        daemon = Daemon(engine, running_files(project.root), worker="test")
        daemon.tick()
        assert rows(engine, "state") == []
        write_shop(project.root, campaigns={"wake": WAKE})
        clock.tick(timedelta(minutes=1))
        daemon.tick()
    assert rows(engine, "state") == [("sent",), ("sent",)]


_BROKEN = {
    "no TOML": ("campaigns/wake.toml", "title = 'Wake"),
    "an unknown key": ("campaigns/wake.toml", "titel = 'Wake'\n"),
    "a template that is missing": ("campaigns/other.toml", None),
    "a template that cannot be parsed": ("templates/hello.email.html", "<p>Second {% if %}</p>"),
    "a template with a slip": ("templates/hello.email.html", _letter("Second {{ customer.frist_name }}")),
    "settings": ("config.toml", "[shop]\nzone = 'Europe/Belrin'\n"),
    "a gateway": ("config.toml", "[deliver]\nemail = 'relay'\n[gateways.relay]\ntype = 'smpt'\n"),
}


@pytest.mark.parametrize("what", _BROKEN)
def test_what_is_broken_leaves_the_last_good_files_in_use(what: str, tmp_path: Path, now: datetime) -> None:
    engine = open_engine(database_url := f"sqlite:///{tmp_path}/winback.sqlite")  # the database has no part in it
    migrate(engine)
    project = make_shop(tmp_path / "shop", database_url, {"wake": WAKE})
    (project.root / "templates/hello.email.html").write_text(_letter("First"))
    good = {file: file.read_text() for file in project.root.rglob("*.*") if file.is_file()}
    name, text = _BROKEN[what]
    with freeze_time(now) as clock:
        files = running_files(project.root)
        daemon = Daemon(engine, files, worker="test")
        daemon.tick()
        broken = project.root / name
        if text is None:
            write_shop(project.root, campaigns={"other": campaign(steps=[email_step("x", template="x")])})
            (project.root / "templates/x.email.html").unlink()
        else:
            broken.write_text(text)
        add_sleepers(engine, 2, now)
        clock.tick(timedelta(minutes=1))
        outcome = daemon.tick()
        assert outcome is not None
        assert outcome.errors == []
        assert files.problems
        assert {str(problem.file) for problem in files.problems} == {name}
        assert rows(engine, "state") == [("sent",), ("sent",)]
        assert _first_words(project.root) == {"First"}
        # Mended, with other words: they are used at once.
        broken.unlink()
        for file, before in good.items():
            file.write_text(before.replace("First", "Third"))
        add_sleepers(engine, 1, now, prefix="T")
        clock.tick(timedelta(minutes=1))
        daemon.tick()
        assert files.problems == ()
    assert _first_words(project.root) == {"First", "Third"}
    assert in_outbox(project.root)["t0000@example.com"] == 1
    engine.dispose()


def test_files_that_cannot_be_read_to_begin_with_are_an_error(tmp_path: Path) -> None:
    root = write_shop(tmp_path / "shop", campaigns={"wake": "titel = 'Wake'\n"})
    with pytest.raises(ProjectError):
        running_files(root)


def test_a_template_that_is_broken_to_begin_with_is_told_and_the_rest_runs(
    engine: Engine, database_url: str, tmp_path: Path, now: datetime
) -> None:
    other = campaign(title="Other", priority=10, steps=[email_step("other")], audience={"preset": "sleeping", "inactive": "50d"})
    project = make_shop(tmp_path / "shop", database_url, {"wake": WAKE, "other": other}, settings={"limits": {"email": []}})
    (project.root / "templates/other.email.html").write_text("<p>{{ customer.frist_name }}</p>")
    add_sleepers(engine, 1, now)
    with freeze_time(now):
        files = running_files(project.root)
        daemon = Daemon(engine, files, worker="test")
        daemon.tick()
    assert [str(problem.file) for problem in files.problems] == ["templates/other.email.html"]
    assert sorted(rows(engine, "campaign", "state")) == [("other", "skipped"), ("wake", "sent")]


def test_old_copies_of_the_files_are_removed(tmp_path: Path) -> None:
    root = write_shop(tmp_path / "shop", campaigns={"wake": WAKE})
    for number in range(20):
        (root / "templates/hello.email.html").write_text(_letter(f"First {number}"))
        project = running_files(root)()
        assert (project.templates / "hello.email.html").read_text() == _letter(f"First {number}")
    copies = root / "var" / "files"
    assert len(list(copies.iterdir())) < 10
    again = running_files(root)()
    assert again.templates == project.templates  # the same content needs no second copy


def test_options_of_the_command_go_before_the_files(tmp_path: Path) -> None:
    root = write_shop(tmp_path / "shop", settings={"web": {"port": 8100}})
    assert running_files(root)().settings.web.port == 8100
    web = running_files(root, host="127.0.0.2", port=0)().settings.web
    assert (web.host, web.port, web.public_url) == ("127.0.0.2", 0, "http://127.0.0.1:8025")
