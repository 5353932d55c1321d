"""Find gateways by entry point, and make one from its table in config.toml."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from winback.errors import GatewayError
from winback.gateways.base import Gateway

#: The entry-point group that plugins name their gateway class in.
GROUP = "winback.gateways"


@cache
def available() -> dict[str, type[Gateway] | GatewayError]:
    """Return every installed gateway by its type; a plugin that cannot be loaded is there as its error."""
    found: dict[str, type[Gateway] | GatewayError] = {}
    for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        try:
            loaded = point.load()
            if not (isinstance(loaded, type) and issubclass(loaded, Gateway)):
                raise TypeError(f"{point.value} is no Gateway")
            found[point.name] = loaded
        except Exception as error:
            package = point.dist.name if point.dist else point.value
            found[point.name] = GatewayError(
                f"the gateway plugin {point.name!r} of {package} cannot be loaded: {type(error).__name__}: {error}",
                f"repair or remove the package {package}",
            )
    return found


def configure(name: str, table: Mapping[str, Any], *, root: Path) -> Gateway:
    """Return the gateway that a table describes. Raise GatewayError with every wrong option."""
    kind = str(table.get("type", ""))
    found = available().get(kind)
    if isinstance(found, GatewayError):
        raise found
    if found is None:
        close = get_close_matches(kind, available(), 1)
        hint = f"did you mean {close[0]!r}?" if close else "there are: " + ", ".join(available())
        raise GatewayError(f"gateways.{name}: there is no gateway of type {kind!r}", hint)
    try:
        options = found.Options.model_validate({key: value for key, value in table.items() if key != "type"})
    except ValidationError as error:
        raise GatewayError("\n".join(_problems(name, found, error)), "docs/gateways.md lists every option") from None
    return found(options, name=name, root=root)


def _problems(name: str, gateway: type[Gateway], error: ValidationError) -> list[str]:
    """Put what pydantic found into words, without the values: they may be secrets."""
    lines = []
    for problem in error.errors(include_input=False, include_url=False):
        key = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            close = get_close_matches(key, gateway.Options.model_fields, 1)
            what = "unknown option" + (f", did you mean {close[0]!r}?" if close else "")
        elif problem["type"] == "missing":
            what = "is missing"
        else:
            what = problem["msg"].removeprefix("Value error, ")
        lines.append(f"gateways.{name}.{key}: {what}")
    return lines
