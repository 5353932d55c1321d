"""What config.toml sets up as `type = "smtp"`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar

from winback.gateways.base import Channel, Gateway, Sender
from winback.gateways.smtp.options import SmtpOptions

if TYPE_CHECKING:
    from winback.gateways.smtp.examine import ConnectionTest


class SmtpGateway(Gateway):
    """Send e-mail through a mail server: a relay, a provider's, or one of your own."""

    type: ClassVar[str] = "smtp"
    channels: ClassVar[frozenset[Channel]] = frozenset({"email"})
    Options = SmtpOptions
    options: SmtpOptions

    @contextmanager
    def connect(self) -> Iterator[Sender]:
        # asyncio and ssl are loaded when they are needed, so that `winback check` stays quick.
        from winback.gateways.smtp.sender import SmtpSender

        sender = SmtpSender(self.options, self.root)
        try:
            yield sender
        finally:
            sender.close()

    def check(self) -> list[str]:
        """Reach the server, encrypt and log in, without sending; return what is wrong with the remedy."""
        return list(self.test_connection().problems)

    def test_connection(self) -> ConnectionTest:
        """Do as `check`, and return the whole conversation too, without its secrets."""
        from winback.gateways.smtp.examine import test_connection

        return test_connection(self.options, self.root)
