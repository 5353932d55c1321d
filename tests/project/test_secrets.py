"""Secrets come from the environment or a file, and are never printed."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel, ValidationError

from winback.errors import InputError
from winback.secrets import Secret, bind


class Options(BaseModel):
    password: Secret


def test_a_secret_prints_as_stars_everywhere() -> None:
    secret = Secret("hunter2")
    options = Options(password=secret)
    for text in (str(secret), repr(secret), f"{secret}", repr(options), options.model_dump_json(), repr({"a": [secret]})):
        assert "hunter2" not in text
        assert "***" in text
    assert secret.reveal() == "hunter2"


def test_it_is_looked_up_when_it_is_revealed(tmp_path: Path) -> None:
    environ = {"SMTP_PASSWORD": "one"}
    bound = bind(
        {"password": {"env": "SMTP_PASSWORD"}, "keys": [{"file": "key.txt"}], "port": 25}, root=tmp_path, environ=environ
    )
    assert bound["port"] == 25
    assert bound["password"].reveal() == "one"
    with pytest.raises(InputError, match=r"key\.txt cannot be read"):
        bound["keys"][0].reveal()
    (tmp_path / "key.txt").write_text("two\n")
    assert bound["keys"][0].reveal() == "two"


def test_a_variable_that_is_not_set_is_named() -> None:
    with pytest.raises(InputError, match="SMTP_PASSWORD is empty or not set"):
        Secret.from_env("SMTP_PASSWORD", {}).reveal()


@pytest.mark.parametrize("written", ["hunter2", 4711, {"env": ""}, {"env": "A", "file": "b"}, {"value": "hunter2"}])
def test_a_literal_is_refused_and_not_quoted(written: object) -> None:
    with pytest.raises(ValidationError) as caught:
        Options(password=written)  # type: ignore[arg-type]
    [error] = caught.value.errors(include_input=False)
    assert error["type"] == "secret"
    assert "hunter2" not in error["msg"]
    assert 'env = "NAME"' in error["msg"]
