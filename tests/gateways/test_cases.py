"""Every bad table of tests/cases/gateways gives exactly the problems beside it: file, line, key, what is wrong, what to do.

To add a case, write NAME.toml and the expected lines in NAME.txt.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.project.builder import write_shop
from winback.errors import GatewayError
from winback.gateways.registry import configure
from winback.project import inspect_project
from winback.project.completeness import check_gateways

CASES = sorted((Path(__file__).resolve().parents[1] / "cases" / "gateways").glob("*.toml"))


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.stem)
def test_a_bad_table_gives_its_problems(case: Path, tmp_path: Path) -> None:
    project, problems = inspect_project(write_shop(tmp_path, settings=case.read_text()), environ={})
    found = [str(problem) for problem in [*problems, *check_gateways(project)]]
    expected = case.with_suffix(".txt").read_text().splitlines()
    assert found == expected
    assert expected
    assert "hunter2" not in "".join(expected)


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.stem)
def test_no_bad_table_makes_a_gateway(case: Path, tmp_path: Path) -> None:
    import tomllib

    for name, table in tomllib.loads(case.read_text())["gateways"].items():
        with pytest.raises(GatewayError) as caught:
            configure(name, table, root=tmp_path)
        assert f"gateways.{name}" in str(caught.value)
        assert "hunter2" not in str(caught.value)
