"""`winback init`, `winback check` and `winback schema`, run as a person would, without a database."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from tests.project.builder import EMAIL, campaign, email_step, write_shop
from tests.project.test_cases import CASES, shop_with
from winback.cli import shop
from winback.errors import InputError

ROOT = Path(__file__).resolve().parents[2]


def run(*arguments: str) -> Result:
    app = typer.Typer()
    shop.register(app)
    return CliRunner().invoke(app, list(arguments))


@pytest.fixture
def good_shop(tmp_path: Path) -> Path:
    return write_shop(tmp_path / "shop", campaigns={"hello": campaign()}, templates={"hello.email.html": EMAIL})


def test_five_mistakes_in_one_file_are_all_found_in_one_run(tmp_path: Path) -> None:
    root = shop_with(tmp_path, bad_campaign=(CASES / "campaigns/five_mistakes.toml").read_text())
    done = run("check", "--shop", str(root))
    assert done.exit_code == 1
    lines = done.stdout.splitlines()
    assert len(lines) == 5
    for line, (where, remedy) in zip(
        lines,
        [
            ("campaigns/case.toml:3: purpose:", "did you mean 'marketing'?"),
            ("campaigns/case.toml:8: audience.where:", "did you mean 'orders'?"),
            ("campaigns/case.toml:11: limits.cool_down:", "did you mean 'cooldown'?"),
            ("campaigns/case.toml:16: steps.hello.template:", "did you mean 'hello'?"),
            ("campaigns/case.toml:21: steps.offer.after:", "write '7d'"),
        ],
        strict=True,
    ):
        assert line.startswith(where)
        assert line.endswith(remedy)
    assert "2 campaigns, 3 steps" in done.stderr
    assert "5 problems" in done.stderr


def test_a_good_shop_says_what_was_checked(good_shop: Path) -> None:
    done = run("check", "--shop", str(good_shop))
    assert done.exit_code == 0, done.output
    assert done.stdout == ""
    assert done.stderr == "1 campaign, 1 step, 1 template: no problems\n"
    assert not (good_shop / "var").exists()  # a check writes nothing


def test_the_shop_is_the_folder_one_stands_in(good_shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(good_shop / "campaigns")
    assert run("check").exit_code == 0


def test_no_shop_is_exit_code_two(tmp_path: Path) -> None:
    done = run("check", "--shop", str(tmp_path))
    assert isinstance(done.exception, InputError)
    assert done.exception.exit_code == 2


def test_problems_as_json_and_csv(good_shop: Path) -> None:
    write_shop(good_shop, campaigns={"hello": campaign(titel="x")})
    done = run("check", "--shop", str(good_shop), "-o", "json")
    assert done.exit_code == 1
    said = json.loads(done.stdout)
    assert (said["campaigns"], said["steps"], said["templates"]) == (1, 1, 1)
    assert said["problems"] == [
        {"file": "campaigns/hello.toml", "line": 4, "key": "titel", "message": "unknown key", "remedy": "did you mean 'title'?"}
    ]
    lines = run("check", "--shop", str(good_shop), "-o", "csv").stdout.splitlines()
    assert lines == ["file,line,key,message,remedy", "campaigns/hello.toml,4,titel,unknown key,did you mean 'title'?"]


def test_templates_are_rendered_beside_other_problems(good_shop: Path) -> None:
    steps = [email_step("hello"), email_step("again", after="3d", template="gone")]
    (good_shop / "campaigns/hello.toml").unlink()
    write_shop(
        good_shop, campaigns={"two": campaign(steps=steps)}, templates={"hello.email.html": EMAIL + "{{ custmer.orders }}"}
    )
    (good_shop / "templates/gone.email.html").unlink()
    done = run("check", "--shop", str(good_shop))
    assert done.exit_code == 1
    files = sorted(line.partition(":")[0] for line in done.stdout.splitlines())
    assert files == ["campaigns/two.toml", "templates/hello.email.html"]


def test_the_options_of_gateways_are_checked(good_shop: Path) -> None:
    write_shop(good_shop, settings='[gateways.files]\ntype = "outbox"\nfoldr = "out"\n\n[gateways.fax]\ntype = "outbix"\n')
    done = run("check", "--shop", str(good_shop))
    assert done.stdout.splitlines() == [
        "config.toml:3: gateways.files.foldr: unknown key; did you mean 'folder'?",
        "config.toml:6: gateways.fax.type: there is no gateway of type 'outbix'; did you mean 'outbox'?",
    ]


def test_a_literal_password_of_a_gateway_is_refused_and_not_printed(good_shop: Path) -> None:
    write_shop(good_shop, settings='[gateways.relay]\ntype = "smtp"\nhost = "mail"\npassword = "hunter2"\n')
    done = run("check", "--shop", str(good_shop))
    assert done.exit_code == 1
    assert "hunter2" not in done.output
    assert done.stdout.splitlines() == [
        "config.toml:4: gateways.relay.password: a secret must not stand in the file; "
        'write { env = "NAME" } to take it from the environment, or { file = "path" }'
    ]


def test_a_secret_that_is_not_there_is_no_problem_of_the_files(good_shop: Path) -> None:
    settings = '[gateways.relay]\ntype = "smtp"\nhost = "mail"\nusername = "shop"\npassword = { env = "NOT_SET_ANYWHERE" }\n'
    write_shop(good_shop, settings=settings)
    done = run("check", "--shop", str(good_shop))
    assert done.exit_code == 0, done.output


def test_schemas_are_written_where_editors_look(good_shop: Path) -> None:
    done = run("schema", "--shop", str(good_shop))
    assert done.exit_code == 0
    written = [Path(line) for line in done.stdout.splitlines()]
    assert [path.name for path in written] == [
        "settings.schema.json",
        "campaign.schema.json",
        "scores.schema.json",
        "audiences.schema.json",
        "tests.schema.json",
    ]
    assert all(path.parent == good_shop / ".winback" for path in written)


def test_schemas_are_written_even_with_problems(good_shop: Path) -> None:
    (good_shop / "config.toml").write_text("not = [toml\n")
    assert run("schema", "--shop", str(good_shop)).exit_code == 0


def test_a_new_shop_is_checked_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "shop"
    done = run("init", str(folder))
    assert done.exit_code == 0, done.output
    assert "winback check" in done.stderr
    assert (folder / ".gitignore").read_text().splitlines()[-1] == "/var/"
    assert (folder / ".winback/campaign.schema.json").is_file()
    assert sorted(path.name for path in (folder / "campaigns").glob("*.toml")) == sorted(
        path.name for path in (ROOT / "campaigns").glob("*.toml")
    )
    checked = run("check", "--shop", str(folder))
    assert checked.exit_code == 0, checked.output


def test_a_new_shop_never_overwrites_another(good_shop: Path) -> None:
    before = (good_shop / "config.toml").read_bytes()
    done = run("init", str(good_shop))
    assert isinstance(done.exception, InputError)
    assert "already has config.toml, campaigns, templates" in done.exception.message
    assert (good_shop / "config.toml").read_bytes() == before


def test_the_demo_shop_has_no_problems(tmp_path: Path) -> None:
    for name in ("campaigns", "templates"):
        shutil.copytree(ROOT / name, tmp_path / name)
    shutil.copy(ROOT / "config.toml", tmp_path)
    done = run("check", "--shop", str(tmp_path))
    assert done.exit_code == 0, done.output
    assert "no problems" in done.stderr
