"""Passwords and keys that are never written in the shop's files and never printed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from winback.errors import InputError

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic_core import CoreSchema

_WAYS = 'write { env = "NAME" } to take it from the environment, or { file = "path" }'


class Secret:
    """A value that prints as `***` and is read only by `reveal`.

    In files it is written as ``{ env = "NAME" }`` (an environment variable) or ``{ file = "path" }`` (a file, relative to the
    shop's folder; surrounding white space is cut off). It is looked up when it is revealed, so that `winback check` works
    where the secrets are not. As a field of a pydantic model it takes such a table, or a Secret; a literal text is refused
    unprinted.
    """

    __slots__ = ("_environ", "_name", "_path", "_value")

    def __init__(self, value: str) -> None:
        self._value: str | None = value
        self._name: str | None = None
        self._path: Path | None = None
        self._environ: Mapping[str, str] | None = None

    @classmethod
    def from_env(cls, name: str, environ: Mapping[str, str] | None = None) -> Secret:
        """Return the secret that an environment variable holds."""
        secret = cls("")
        # That of the process is looked up in the process: so a secret can be sent to another one.
        secret._value, secret._name, secret._environ = None, name, None if environ is os.environ else environ
        return secret

    @classmethod
    def from_file(cls, path: Path) -> Secret:
        """Return the secret that a file holds."""
        secret = cls("")
        secret._value, secret._path = None, path
        return secret

    @classmethod
    def from_table(
        cls, table: Mapping[str, Any], *, root: Path | None = None, environ: Mapping[str, str] | None = None
    ) -> Secret:
        """Return the secret that a file's table `{ env = … }` or `{ file = … }` names; raise ValueError for any other table."""
        if not is_reference(table):
            raise ValueError(f"is not written as a secret; {_WAYS}")
        [(way, name)] = table.items()
        return cls.from_env(name, environ) if way == "env" else cls.from_file((root or Path()) / name)

    @property
    def source(self) -> str:
        """Say where the secret comes from, without it."""
        if self._name is not None:
            return f"the environment variable {self._name}"
        return f"the file {self._path}" if self._path is not None else "a value in memory"

    def reveal(self) -> str:
        """Return the secret itself. Raise InputError when the environment or the file does not have it."""
        if self._value is not None:
            return self._value
        if self._name is not None:
            value = (os.environ if self._environ is None else self._environ).get(self._name, "")
        else:
            try:
                value = (self._path or Path()).read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                raise InputError(
                    f"{self.source} cannot be read", f"{type(error).__name__}; make it, holding the secret"
                ) from None
        if not value:
            raise InputError(f"{self.source} is empty or not set", "set it to the secret")
        return value

    def __deepcopy__(self, memo: dict[int, Any]) -> Secret:
        return self

    def __str__(self) -> str:
        return "***"

    def __repr__(self) -> str:
        return "Secret('***')"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[str | None, str | None, Path | None]:
        return self._value, self._name, self._path

    @classmethod
    def __get_pydantic_core_schema__(cls, source: type[Any], handler: GetCoreSchemaHandler) -> CoreSchema:
        from pydantic_core import core_schema

        return core_schema.no_info_plain_validator_function(_validate, serialization=core_schema.to_string_ser_schema())

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {
            "type": "object",
            "description": "A secret, never written in the file itself.",
            "properties": {
                "env": {"type": "string", "description": "Name of an environment variable"},
                "file": {"type": "string", "description": "Path of a file, relative to the shop's folder"},
            },
            "additionalProperties": False,
            "minProperties": 1,
            "maxProperties": 1,
        }


def is_reference(value: object) -> bool:
    """Say whether a value from a file is `{ env = "…" }` or `{ file = "…" }`."""
    if not isinstance(value, Mapping) or len(value) != 1:
        return False
    [(way, name)] = value.items()
    return way in ("env", "file") and isinstance(name, str) and bool(name)


def bind(value: Any, *, root: Path, environ: Mapping[str, str] | None = None) -> Any:
    """Return a value from a file with every reference inside it replaced by its Secret, relative files taken from `root`."""
    if is_reference(value):
        return Secret.from_table(value, root=root, environ=environ)
    if isinstance(value, Mapping):
        return {key: bind(each, root=root, environ=environ) for key, each in value.items()}
    if isinstance(value, list):
        return [bind(each, root=root, environ=environ) for each in value]
    return value


def _validate(value: object) -> Secret:
    from pydantic_core import PydanticCustomError

    if isinstance(value, Secret):
        return value
    if is_reference(value):
        return Secret.from_table(value)  # type: ignore[arg-type]
    # The value is not quoted: it may be the very password.
    raise PydanticCustomError("secret", "a secret must not stand in the file; {remedy}", {"remedy": _WAYS})
