"""A gateway from a package of somebody else's: built, installed, found, used, and tested by the suite that winback ships."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

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
    environment = {**os.environ, **({"PYTHONPATH": str(site)} if site else {})}
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


def test_it_passes_the_suite_in_a_test_run_of_its_own(installed: Path, tmp_path: Path) -> None:
    shutil.copytree(PACKAGE / "tests", tmp_path / "tests")
    told = run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"], site=installed, cwd=tmp_path)
    assert " passed" in told
    assert "failed" not in told


def test_the_suite_finds_a_gateway_that_is_wrong(installed: Path, tmp_path: Path) -> None:
    """A suite that everybody passes would be worth nothing: this one announces nothing and takes letters."""
    (tmp_path / "test_wrong.py").write_text(
        """
from tests_of_pigeon import TestPigeon
from winback_pigeon import PigeonGateway, _PigeonSender
from contextlib import contextmanager
import pytest

class Careless(PigeonGateway):
    channels = frozenset({"sms", "email"})

    @contextmanager
    def connect(self):
        sender = _PigeonSender(self)
        class Silent:
            def send(self, messages, on_handover):
                return sender.send(list(messages), lambda message_id: None)
        yield Silent()

class TestCareless(TestPigeon):
    @pytest.fixture
    def gateway(self, tmp_path):
        self.loft = tmp_path / "loft"
        self.loft.mkdir()
        return Careless(Careless.Options(loft=self.loft), name="careless", root=tmp_path)

    def test_messages_are_taken_as_they_go(self):
        pytest.skip("would never end")

del TestPigeon
"""
    )
    (tmp_path / "tests_of_pigeon.py").write_text((PACKAGE / "tests" / "test_pigeon.py").read_text())
    told = run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly"],
        site=installed,
        cwd=tmp_path,
        code=1,
    )
    for test in (
        "test_every_handover_is_announced_once_before_its_outcome",
        "test_what_could_not_be_announced_does_not_leave",
        "test_every_alphabet_arrives_whole",
        "test_every_message_has_one_outcome_and_arrives_once",
    ):
        assert f"TestCareless::{test}" in told, told
