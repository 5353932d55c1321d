"""Which gateway carries which channel, as config.toml says; one that cannot be set up leaves only its channels waiting."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from winback.errors import GatewayError, SigningError, WinbackError
from winback.gateways.base import Gateway
from winback.gateways.registry import configure
from winback.project import Project
from winback.store import Channel


@dataclass(frozen=True)
class Route:
    """A gateway's name with the channels it carries; `gateway` is empty when it cannot be set up, for `trouble`."""

    name: str
    channels: tuple[Channel, ...]
    gateway: Gateway | None
    trouble: str = ""


def routes(project: Project, given: Mapping[str, Gateway] | None = None) -> list[Route]:
    """Return the gateways that deliver, each once; those in `given` are used instead of the configured ones of their names."""
    deliver = project.settings.deliver
    channels: dict[str, list[Channel]] = {}
    for channel in Channel:
        channels.setdefault(deliver.for_channel(channel), []).append(channel)
    return [_route(project, name, tuple(carried), given or {}) for name, carried in channels.items()]


def find_gateway(project: Project, name: str, given: Mapping[str, Gateway] | None = None) -> Gateway | None:
    """Return a gateway by its name, None when it cannot be set up or is no longer in config.toml."""
    try:
        return _gateway(project, name, given or {})
    except Exception:  # a plugin's own code
        return None


def _route(project: Project, name: str, channels: tuple[Channel, ...], given: Mapping[str, Gateway]) -> Route:
    try:
        gateway = _gateway(project, name, given)
    except WinbackError as error:
        return Route(name, channels, None, str(error))
    except Exception as error:  # a plugin's own code
        return Route(name, channels, None, f"gateways.{name} cannot be set up: {type(error).__name__}")
    missing = [channel.value for channel in channels if channel.value not in gateway.channels]
    if missing:
        return Route(name, channels, None, f"gateways.{name} carries no {' and no '.join(missing)}; correct [deliver]")
    if Channel.EMAIL in channels and project.settings.dkim:
        from winback.compose.dkim_keys import load_signer  # the library for keys takes a while to load

        try:
            load_signer(project.settings)
        except SigningError as error:  # letters wait, rather than go unsigned
            return Route(name, channels, None, str(error))
    return Route(name, channels, gateway)


def _gateway(project: Project, name: str, given: Mapping[str, Gateway]) -> Gateway:
    if name in given:
        return given[name]
    settings = project.settings.gateways.get(name)
    if settings is None:
        raise GatewayError(f"there is no [gateways.{name}] in config.toml", "add it, or correct [deliver]")
    return configure(name, settings.table, root=project.root)
