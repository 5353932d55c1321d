"""An installed winback works where the repository is not."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a wheel of this repository, built without network."""
    folder = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    [built] = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the folder in which the wheel, and nothing else of ours, is installed."""
    target = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-index"]
    subprocess.run([*pip, "--target", str(target), str(wheel)], capture_output=True, timeout=120, check=True)
    return target


def test_the_wheel_holds_the_shop_and_the_real_orders_with_their_licence(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        licence = archive.read("winback/starter/cdnow/README.md").decode()
    assert {
        "winback/py.typed",
        "winback/starter/cdnow/CDNOW_sample.txt.gz",
        "winback/starter/made_up/people.toml",
        "winback/starter/made_up/records.toml",
        "winback/starter/maps/cdnow.toml",
        "winback/starter/shop/config.toml",
        "winback/starter/shop/campaigns/sleeping.toml",
        "winback/starter/shop/templates/base.email.html",
        "winback/web/static/winback.css",
    } <= names
    assert "MIT" in licence
    assert "Permission is hereby granted" in licence
    assert not [name for name in names if name.startswith(("tests/", "docs/")) or "/var/" in name or "__pycache__" in name]
    assert wheel.stat().st_size < 3_000_000


def test_an_installed_winback_makes_checks_and_previews_a_shop(installed: Path, tmp_path: Path) -> None:
    def winback(*arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": str(installed), "COLUMNS": "120"}
        command = [str(installed / "bin" / "winback"), *arguments]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False)

    script = "import winback, winback.starter.copying as c; print(winback.__file__)"
    where = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert Path(where.stdout.strip()).is_relative_to(installed)

    made = winback("init", "my-shop")
    assert made.returncode == 0, made.stderr
    checked = winback("check", "--shop", "my-shop")
    assert checked.returncode == 0, checked.stdout
    assert "4 campaigns, 14 steps" in checked.stderr
    seen = winback("preview", "sleeping", "--shop", "my-shop")
    assert seen.returncode == 0, seen.stderr
    assert "Wake sleeping customers" in seen.stdout
    again = winback("init", "my-shop")
    assert again.returncode == 2
