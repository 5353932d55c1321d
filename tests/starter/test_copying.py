"""What `winback init` copies: the demo shop's files, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.test_shop import run
from winback.errors import InputError
from winback.starter import copy_shop

ROOT = Path(__file__).resolve().parents[2]


def files_below(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_the_copy_is_the_shop_at_the_root(shop: Path) -> None:
    expected = {"config.toml"}
    for name in ("campaigns", "templates"):
        expected |= {f"{name}/{file}" for file in files_below(ROOT / name)}
    assert files_below(shop) == expected
    for name in expected:
        assert (shop / name).read_bytes() == (ROOT / name).read_bytes(), name
    assert {
        "campaigns/sleeping.toml",
        "campaigns/birthday.toml",
        "campaigns/thank_you.toml",
        "campaigns/nurture.toml",
    } <= expected
    assert {"campaigns/scores.toml", "campaigns/audiences.toml"} <= expected


@pytest.mark.parametrize("taken", ["config.toml", "campaigns", "templates"])
def test_a_folder_that_has_a_part_of_a_shop_is_left_as_it_is(tmp_path: Path, taken: str) -> None:
    (tmp_path / taken).mkdir()
    with pytest.raises(InputError, match=f"already has {taken}"):
        copy_shop(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [taken]


def test_a_new_shop_has_no_problems_and_complete_schemas(tmp_path: Path) -> None:
    folder = tmp_path / "my shop"
    made = run("init", str(folder))
    assert made.exit_code == 0, made.output
    assert "4 campaigns" in made.stderr
    checked = run("check", "--shop", str(folder))
    assert checked.exit_code == 0, checked.output
    assert "4 campaigns, 14 steps" in checked.stderr
    for file in (folder / "campaigns").glob("*.toml"):
        first = file.read_text(encoding="utf-8").partition("\n")[0]
        assert first.startswith("#:schema ../.winback/"), file.name
        assert (file.parent / first.removeprefix("#:schema ")).is_file(), file.name
