"""Find gateways by entry point, and make one from its table in config.toml."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from winback.errors import GatewayError
from winback.gateways.base import Gateway

#: The entry-point group that plugins name their gateway class in.
GROUP = "winback.gateways"


def available() -> dict[str, type[Gateway] | GatewayError]:
    """Return every installed gateway by its type; a plugin that cannot be loaded is there as its error."""
    return {kind: found for kind in _points() if (found := gateway_of(kind)) is not None}


@cache
def gateway_of(kind: str) -> type[Gateway] | GatewayError | None:
    """Return the gateway of a type, or its error, or nothing; of the others nothing is loaded."""
    points = _points().get(kind)
    if points is None:
        return None
    first, *others = points
    strangers = {_package(point) for point in others} - {_package(first)}
    if strangers and not _is_ours(first):
        packages = ", ".join(sorted({_package(first), *strangers}))
        return GatewayError(f"several packages bring a gateway {kind!r}: {packages}", "remove all but one of them")
    return _load(first)


@cache
def _points() -> dict[str, list[EntryPoint]]:
    points = sorted(entry_points(group=GROUP), key=_place)
    return {kind: list(found) for kind, found in groupby(points, key=attrgetter("name"))}


def _load(point: EntryPoint) -> type[Gateway] | GatewayError:
    try:
        loaded = point.load()
        if not (isinstance(loaded, type) and issubclass(loaded, Gateway)):
            raise TypeError(f"{point.value} is no Gateway")
    except (Exception, SystemExit) as error:
        package = _package(point)
        return GatewayError(
            f"the gateway plugin {point.name!r} of {package} cannot be loaded: {type(error).__name__}: {error}",
            f"repair or remove the package {package}",
        )
    return loaded


def _place(point: EntryPoint) -> tuple[str, bool, str]:
    """Order by name, our own first: no plugin takes the place of a built-in gateway."""
    return point.name, not _is_ours(point), _package(point)


def _is_ours(point: EntryPoint) -> bool:
    return _package(point) == "winback"


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist else point.value


def configure(name: str, table: Mapping[str, Any], *, root: Path) -> Gateway:
    """Return the gateway that a table describes. Raise GatewayError with every wrong option."""
    kind = str(table.get("type", ""))
    found = gateway_of(kind)
    if isinstance(found, GatewayError):
        raise found
    if found is None:
        close = get_close_matches(kind, _points(), 1)
        hint = f"did you mean {close[0]!r}?" if close else "there are: " + ", ".join(_points())
        raise GatewayError(f"gateways.{name}: there is no gateway of type {kind!r}", hint)
    try:
        options = found.Options.model_validate({key: value for key, value in table.items() if key != "type"})
        return found(options, name=name, root=root)
    except ValidationError as error:
        raise GatewayError("\n".join(_problems(name, found, error)), "docs/gateways.md lists every option") from None
    except GatewayError:
        raise
    except Exception as error:
        # Its own text is not quoted: it is a plugin's, and may hold what was in the table.
        raise GatewayError(
            f"gateways.{name}: the plugin {kind!r} failed with {type(error).__name__}", "ask its author, with your table"
        ) from None


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
        elif problem["type"] == "path_type":
            what = "must be a path in quotes"
        else:
            what = problem["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
        lines.append(f"gateways.{name}.{key}: {what}")
    return lines
