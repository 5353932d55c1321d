"""A gateway from a package of somebody else's: built, installed, found, used, and tested by the suite that winback ships."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.project.builder import campaign, sms_step, write_shop

PACKAGE = Path(__file__).resolve().parents[1] / "plugin_package"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder into which pip has installed the package, without a network."""
    source = tmp_path_factory.mktemp("source") / "winback-pigeon"
    shutil.copytree(PACKAGE, source, ignore=shutil.ignore_patterns("__pycache__"))
    target = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    run([*pip, "--disable-pip-version-check", "--target", str(target), str(source)])
    return target


def run(command: list[str], *, site: Path | None = None, cwd: Path | None = None, code: int = 0) -> str:
    """Run a command with the installed package on the path, and return what it printed."""
    path = os.pathsep.join(filter(None, [str(site or ""), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == code, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


def test_it_is_found_and_takes_a_message(installed: Path, tmp_path: Path) -> None:
    script = """
import sys
from pathlib import Path
from winback.gateways.base import Accepted, Outgoing
from winback.gateways.registry import available, configure

assert available()["pigeon"].__module__ == "winback_pigeon"
gateway = configure("pigeons", {"type": "pigeon", "loft": "loft"}, root=Path(sys.argv[1]))
with gateway.connect() as sender:
    [(_, outcome)] = sender.send([Outgoing("m1", "sms", "+4915123456789", "", text="Grüße")], lambda message_id: None)
assert outcome == Accepted("m1", reply="coo"), outcome
"""
    (tmp_path / "loft").mkdir()
    run([sys.executable, "-c", script, str(tmp_path)], site=installed)
    assert json.loads((tmp_path / "loft" / "m1.note").read_text()) == {"to": "+4915123456789", "text": "Grüße"}


def test_its_options_are_checked_like_our_own(installed: Path, tmp_path: Path) -> None:
    script = """
from pathlib import Path
from winback.gateways.registry import configure
configure("pigeons", {"type": "pigeon", "lofd": "x"}, root=Path())
"""
    told = run([sys.executable, "-c", script], site=installed, code=1)
    assert "gateways.pigeons.loft: is missing" in told
    assert "gateways.pigeons.lofd: unknown option, did you mean 'loft'?" in told


CUSTOMERS = """external_id,first_name,phone,sms_marketing,consent_at
1,Ada,+4915123456789,yes,2026-01-01
2,Bénédicte,+33612345678,yes,2026-01-01
3,Cem,+4915123456780,yes,2026-01-01
"""

ORDERS = """external_id,customer_id,placed_at,total,currency
o1,1,2026-07-28 10:00,10.00,EUR
o2,2,2026-07-28 10:00,10.00,EUR
o3,3,2026-07-28 10:00,10.00,EUR
"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """Give a shop with three people who have been asleep for four months, and pigeons for its text messages."""
    pigeons = {"type": "pigeon", "loft": "loft", "afraid_of": "+33"}
    settings = {"deliver": {"sms": "pigeons"}, "gateways": {"pigeons": pigeons}}
    write_shop(tmp_path, settings=settings, campaigns={"wake": campaign(steps=[sms_step()])})
    (tmp_path / "customers.csv").write_text(CUSTOMERS)
    (tmp_path / "orders.csv").write_text(ORDERS)
    (tmp_path / "loft").mkdir()
    return tmp_path


def winback(shop: Path, site: Path | None, *arguments: str, code: int = 0) -> str:
    return run([str(Path(sys.executable).parent / "winback"), *arguments], site=site, cwd=shop, code=code)


def test_a_whole_run_sends_by_it(installed: Path, shop: Path) -> None:
    assert "no problems" in winback(shop, installed, "check")
    winback(shop, installed, "import", "customers", "customers.csv")
    winback(shop, installed, "import", "orders", "orders.csv")
    winback(shop, installed, "run", "--now", "2026-11-24 12:00")
    notes = [json.loads(note.read_text()) for note in (shop / "loft").glob("*.note")]
    # The third is refused, and the others get theirs.
    assert {note["to"]: note["text"].split(".")[0] for note in notes} == {
        "+4915123456789": "Hello Ada",
        "+4915123456780": "Hello Cem",
    }
    winback(shop, installed, "run", "--now", "2026-11-24 13:00")
    assert len(list((shop / "loft").glob("*.note"))) == 2, "nobody gets a second note"


def test_a_shop_whose_plugin_is_not_installed_says_so(shop: Path) -> None:
    told = winback(shop, None, "check", code=1)
    assert "config.toml" in told
    assert "there is no gateway of type 'pigeon'" in told


def test_a_broken_plugin_beside_it_hurts_nobody(installed: Path, shop: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    broken = tmp_path_factory.mktemp("broken")
    about = broken / "broken_owl-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-owl\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[winback.gateways]\nowl = broken_owl:Owl\n")
    (broken / "broken_owl.py").write_text("import sys\nsys.exit('the owl is asleep')\n")
    both = Path(f"{installed}{os.pathsep}{broken}")
    assert "no problems" in winback(shop, both, "check")
    config = shop / "config.toml"
    config.write_text(config.read_text().replace("gateways = {", 'gateways = { owl = { type = "owl" },'))
    told = winback(shop, both, "check", code=1)
    assert "the gateway plugin 'owl' of broken-owl cannot be loaded: SystemExit: the owl is asleep" in told
    assert "repair or remove the package broken-owl" in told


def test_it_passes_the_suite_in_a_test_run_of_its_own(installed: Path, tmp_path: Path) -> None:
    shutil.copytree(PACKAGE / "tests", tmp_path / "tests")
    told = run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"], site=installed, cwd=tmp_path)
    assert " passed" in told
    assert "failed" not in told
