"""Text messages through any provider that is called over HTTP, described by templates in config.toml."""

from winback.gateways.http_sms.gateway import HttpSmsGateway
from winback.gateways.http_sms.options import HttpSmsOptions

__all__ = ["HttpSmsGateway", "HttpSmsOptions"]
