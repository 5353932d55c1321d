"""Gateways are found by their entry points, and a broken one is a named error that hurts nobody else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from winback.errors import GatewayError
from winback.gateways.base import Gateway
from winback.gateways.registry import available, configure
from winback.secrets import Secret

BUILT_IN = {"console", "http_sms", "outbox", "smtp"}


def test_the_built_in_gateways_are_found_by_their_type() -> None:
    found = available()
    assert set(found) >= BUILT_IN
    for kind in BUILT_IN:
        gateway = found[kind]
        assert isinstance(gateway, type), gateway
        assert issubclass(gateway, Gateway)
        assert gateway.type == kind


def test_gateways_need_neither_the_database_nor_pytest(tmp_path: Path) -> None:
    script = (
        "import sys\nfrom winback.gateways.registry import available\navailable()\n"
        "print([name for name in ('winback.store', 'winback.compose', 'sqlalchemy', 'pytest') if name in sys.modules])"
    )
    assert python(script, tmp_path).strip() == "[]"


def test_to_make_one_gateway_no_other_is_loaded(tmp_path: Path) -> None:
    script = (
        "import sys\nfrom pathlib import Path\nfrom winback.gateways.registry import configure\n"
        "configure('x', {'type': 'outbox'}, root=Path())\n"
        "print([name for name in ('winback.gateways.http_sms', 'winback.gateways.smtp', 'requests') if name in sys.modules])"
    )
    assert python(script, tmp_path).strip() == "[]"


def test_a_table_makes_a_gateway(tmp_path: Path) -> None:
    made = configure("letters", {"type": "outbox", "folder": "out"}, root=tmp_path)
    assert (made.type, made.name, made.root) == ("outbox", "letters", tmp_path)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"type": "outbux"}, "gateways.sms: there is no gateway of type 'outbux' (did you mean 'outbox'?)"),
        ({}, "gateways.sms: there is no gateway of type '' (there are: console, http_sms, outbox, smtp)"),
        (
            {"type": "outbox", "foldr": "x"},
            "gateways.sms.foldr: unknown option, did you mean 'folder'? (docs/gateways.md lists every option)",
        ),
        (
            {"type": "http_sms", "x": 1},
            "gateways.sms.url: is missing\ngateways.sms.x: unknown option (docs/gateways.md lists every option)",
        ),
        (
            {"type": "outbox", "folder": 7},
            "gateways.sms.folder: must be a path in quotes (docs/gateways.md lists every option)",
        ),
    ],
)
def test_a_wrong_table_is_an_error_with_a_remedy(table: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(GatewayError) as caught:
        configure("sms", table, root=tmp_path)
    assert str(caught.value) == message


def test_no_error_quotes_a_secret(tmp_path: Path) -> None:
    table = {
        "type": "http_sms",
        "url": "https://me:hunter2@x.example",
        "bearer": "hunter2",
        "password": Secret("hunter2"),
        "form": {"a": 1.5},
    }
    with pytest.raises(GatewayError) as caught:
        configure("sms", table, root=tmp_path)
    assert "hunter2" not in f"{caught.value!r} {caught.value}"


def plugin(folder: Path, distribution: str, points: dict[str, str], **modules: str) -> None:
    """Write an installed package: its metadata with entry points, and its modules."""
    about = folder / f"{distribution.replace('-', '_')}-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
    lines = [f"{name} = {value}" for name, value in points.items()]
    (about / "entry_points.txt").write_text("\n".join(["[winback.gateways]", *lines, ""]))
    for module, source in modules.items():
        (folder / f"{module}.py").write_text(source)


def seen_with(folder: Path) -> dict[str, str]:
    """Return what a winback finds that has a folder of packages: the class or the error, by type."""
    script = (
        "import json\nfrom winback.gateways.registry import available\n"
        "print(json.dumps({name: f'{found.__module__}.{found.__qualname__}' if isinstance(found, type) else str(found)"
        " for name, found in available().items()}))"
    )
    return dict(json.loads(python(script, folder)))


def python(script: str, folder: Path) -> str:
    path = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


FINE = """
from winback.gateways.outbox import OutboxGateway
class Mine(OutboxGateway):
    type = "mine"
"""


def test_a_broken_plugin_is_a_named_error_and_hurts_nobody_else(tmp_path: Path) -> None:
    broken = {
        "raises": "broken_raises:Gateway",
        "exits": "broken_exits:Gateway",
        "no_module": "not_there:Gateway",
        "no_class": "broken_none:Gateway",
        "no_gateway": "broken_none:other",
    }
    sources = {
        "broken_raises": "raise ZeroDivisionError('at import')",
        "broken_exits": "import sys; sys.exit(3)",
        "broken_none": "other = dict",
    }
    plugin(tmp_path, "broken-gateways", broken, **sources)
    plugin(tmp_path, "fine-gateway", {"mine": "fine:Mine"}, fine=FINE)
    seen = seen_with(tmp_path)
    assert seen["mine"] == "fine.Mine"
    assert {kind: seen[kind] for kind in BUILT_IN if "cannot be loaded" in seen[kind]} == {}
    remedy = "(repair or remove the package broken-gateways)"
    assert seen["raises"] == (
        f"the gateway plugin 'raises' of broken-gateways cannot be loaded: ZeroDivisionError: at import {remedy}"
    )
    assert seen["exits"] == f"the gateway plugin 'exits' of broken-gateways cannot be loaded: SystemExit: 3 {remedy}"
    assert "ModuleNotFoundError" in seen["no_module"]
    assert "AttributeError" in seen["no_class"]
    assert "broken_none:other is no Gateway" in seen["no_gateway"]


def test_no_plugin_takes_the_place_of_a_built_in_gateway(tmp_path: Path) -> None:
    plugin(tmp_path, "a-thief", {"outbox": "thief:Mine"}, thief=FINE)
    assert seen_with(tmp_path)["outbox"] == "winback.gateways.outbox.OutboxGateway"


def test_two_packages_with_one_gateway_are_an_error(tmp_path: Path) -> None:
    plugin(tmp_path / "1", "first", {"mine": "one:Mine"}, one=FINE)
    plugin(tmp_path / "2", "second", {"mine": "two:Mine"}, two=FINE)
    (tmp_path / "both").mkdir()
    for part in (*(tmp_path / "1").iterdir(), *(tmp_path / "2").iterdir()):
        part.rename(tmp_path / "both" / part.name)
    assert seen_with(tmp_path / "both")["mine"] == (
        "several packages bring a gateway 'mine': first, second (remove all but one of them)"
    )


def test_a_plugin_that_fails_with_its_table_is_a_named_error_without_the_table(tmp_path: Path) -> None:
    source = """
from winback.gateways.outbox import OutboxGateway
class Mine(OutboxGateway):
    type = "mine"
    def __init__(self, options, *, name, root):
        raise KeyError("hunter2")
"""
    plugin(tmp_path, "careless", {"mine": "careless:Mine"}, careless=source)
    script = (
        "import traceback\nfrom pathlib import Path\nfrom winback.gateways.registry import configure\n"
        "try:\n    configure('m', {'type': 'mine'}, root=Path())\nexcept Exception:\n    print(traceback.format_exc())"
    )
    told = python(script, tmp_path)
    assert "GatewayError: gateways.m: the plugin 'mine' failed with KeyError" in told
    assert "hunter2" not in told
