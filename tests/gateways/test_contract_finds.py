"""The contract suite finds what is wrong with a gateway: a suite that everybody passes would be worth nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.gateways import wrong_gateways

ROOT = Path(__file__).resolve().parents[2]

FAULTS = {
    name: set(suite.fails)
    for name, suite in vars(wrong_gateways).items()
    if name.startswith("Test") and isinstance(suite, type) and hasattr(suite, "fails")
}


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """Run the suite over every wrong gateway, and give the tests that failed, by class."""
    report = tmp_path_factory.mktemp("report") / "report.xml"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", "--tb=no"]
    subprocess.run(
        [*command, "-k", "TestRight or not stranger", f"--junit-xml={report}", "tests/gateways/wrong_gateways.py"],
        cwd=ROOT,
        capture_output=True,
        timeout=180,
        check=False,
    )
    found: dict[str, set[str]] = {}
    for case in ET.parse(report).iter("testcase"):
        failures = found.setdefault(case.get("classname", "").rpartition(".")[2], set())
        if case.find("failure") is not None or case.find("error") is not None:
            failures.add(case.get("name", "").partition("[")[0])
    return found


def test_a_gateway_that_is_right_passes(failed: dict[str, set[str]]) -> None:
    assert failed["TestRight"] == set()


@pytest.mark.parametrize("name", sorted(FAULTS))
def test_a_fault_is_found(name: str, failed: dict[str, set[str]]) -> None:
    assert failed[name] >= FAULTS[name]


def test_every_test_of_the_suite_finds_something() -> None:
    from winback.gateways.contract import GatewayContract

    tests = {name for name in vars(GatewayContract) if name.startswith("test_")}
    found = set().union(*FAULTS.values())
    # What remains speaks of shapes that the type checker sees, or of what another test finds more plainly.
    assert tests - found == {
        "test_it_says_what_it_is",
        "test_nothing_to_send_is_no_trouble",
        "test_provider_ids_are_texts",
        "test_secrets_stay_secret_on_a_broken_line",
        "test_a_stranger_is_an_error",
    }
