"""The gateway itself: makes the calls, and turns answers into outcomes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit
from uuid import UUID

from winback.errors import InputError
from winback.gateways.base import (
    Accepted,
    Channel,
    Gateway,
    Outcome,
    Outgoing,
    ReceiptEvent,
    ReceiptRequest,
    Refused,
    Retry,
    Sender,
    Unknown,
)
from winback.gateways.http_sms.answer import Reply, judge, meaning
from winback.gateways.http_sms.calls import Call, Calls
from winback.gateways.http_sms.options import HttpSmsOptions, Lookup
from winback.gateways.http_sms.reading import read_json
from winback.gateways.http_sms.receipts import read_receipts
from winback.gateways.http_sms.template import secrets_in
from winback.gateways.http_sms.wire import NoAnswerError, NotSentError, Wire
from winback.secrets import Secret

#: No message has this id: who asks for it learns whether the provider lets him ask.
_NOBODY = str(UUID(int=0))

#: Names of machines in one's own house.
_HOUSE = (".local", ".internal", ".lan", ".home.arpa")


class _HttpSmsSender(Sender):
    def __init__(self, gateway: HttpSmsGateway, calls: Calls, wire: Wire) -> None:
        self._gateway = gateway
        self._calls = calls
        self._wire = wire

    def send(self, messages: Iterable[Outgoing], on_handover: Callable[[str], None]) -> Iterator[tuple[str, Outcome]]:
        trouble: Retry | None = None
        for message in messages:
            if message.channel not in self._gateway.channels:
                yield message.message_id, _not_carried(message)
                continue
            outcome = trouble or self._hand_over(message, on_handover)
            if isinstance(outcome, Retry) and outcome.whole_gateway:
                # Whoever comes after would only wait for the same.
                trouble = replace(outcome, reply="")
            yield message.message_id, outcome

    def _hand_over(self, message: Outgoing, on_handover: Callable[[str], None]) -> Outcome:
        try:
            reply = self._wire.call(self._calls.send(message), lambda: on_handover(message.message_id))
        except NotSentError as error:
            return Retry(str(error), whole_gateway=True)
        except NoAnswerError as error:
            return Unknown(str(error))
        return judge(self._calls.without_secrets(reply), self._gateway.options.answer, message.message_id)


class _NoSender(Sender):
    """Stands for a way out that cannot be opened."""

    def __init__(self, gateway: HttpSmsGateway, reason: str) -> None:
        self._gateway = gateway
        self._trouble = Retry(reason, whole_gateway=True)

    def send(self, messages: Iterable[Outgoing], on_handover: Callable[[str], None]) -> Iterator[tuple[str, Outcome]]:
        for message in messages:
            carried = message.channel in self._gateway.channels
            yield message.message_id, self._trouble if carried else _not_carried(message)


class HttpSmsGateway(Gateway):
    """Send text messages through any provider that is called over HTTP."""

    type: ClassVar[str] = "http_sms"
    channels: ClassVar[frozenset[Channel]] = frozenset({"sms"})
    Options = HttpSmsOptions
    options: HttpSmsOptions

    @contextmanager
    def connect(self) -> Iterator[Sender]:
        try:
            calls = Calls(self.options)
        except InputError as error:
            yield _NoSender(self, str(error))
            return
        with self._wire() as wire:
            yield _HttpSmsSender(self, calls, wire)

    def receipts(self, request: ReceiptRequest) -> Sequence[ReceiptEvent]:
        if self.options.receipts is None:
            return super().receipts(request)
        return read_receipts(self.options.receipts, request, self.name)

    def settle(self, message_ids: Sequence[str]) -> dict[str, Outcome | None]:
        """Ask the provider, where config.toml says how; when it does not answer, the rest is not asked for."""
        settled: dict[str, Outcome | None] = dict.fromkeys(message_ids)
        lookup = self.options.lookup
        if lookup is None:
            return settled
        try:
            calls = Calls(self.options)
            with self._wire() as wire:
                for message_id in settled:
                    reply = calls.without_secrets(wire.call(calls.lookup(lookup, message_id)))
                    settled[message_id] = self._found(lookup, reply)
        except (InputError, NotSentError, NoAnswerError):
            pass
        return settled

    def check(self) -> list[str]:
        problems = []
        if urlsplit(self.options.url).scheme == "http" and not _own_network(urlsplit(self.options.url).hostname or ""):
            problems.append("url begins with http://, so anybody on the way reads numbers, texts and passwords; write https://")
        problems += self._missing_files()
        try:
            for secret in self._proofs():
                secret.reveal()
            calls = Calls(self.options)
        except InputError as error:
            return [*problems, str(error)]
        return [*problems, *self._try_out(calls)]

    @contextmanager
    def _wire(self) -> Iterator[Wire]:
        ca_file = str(self._ca_file) if self._ca_file else None
        wire = Wire(connect_timeout=self.options.connect_timeout, read_timeout=self.options.read_timeout, ca_file=ca_file)
        try:
            yield wire
        finally:
            wire.close()

    @property
    def _ca_file(self) -> Path | None:
        return self.root / self.options.ca_file if self.options.ca_file else None

    def _proofs(self) -> Iterator[Secret]:
        """Yield the secrets that prove receipts."""
        receipts = self.options.receipts
        if receipts is not None:
            yield from secrets_in([receipts.query, receipts.headers, receipts.signature and receipts.signature.secret])

    def _missing_files(self) -> list[str]:
        if self._ca_file is None or self._ca_file.is_file():
            return []
        return [f"the file {self._ca_file} is not there; put the certificates there, or take ca_file out"]

    def _found(self, lookup: Lookup, reply: Reply) -> Outcome | None:
        """Return what an answer says of the message that was asked for, None where it says nothing."""
        if reply.status == 404:
            return Retry("the provider does not know the message")
        document = read_json(reply.body)
        if not reply.whole or not 200 <= reply.status < 300 or not document.understands(lookup.id):
            return None
        provider_id = document.find(lookup.id)
        if provider_id is None:
            return Retry("the provider does not know the message")
        return Accepted(provider_id, reply="found at the provider")

    def _try_out(self, calls: Calls) -> list[str]:
        """Make a call that sends nothing: ask for a message that does not exist, or for the head of the provider's front page."""
        parts = urlsplit(self.options.url)
        lookup = self.options.lookup
        call = calls.lookup(lookup, _NOBODY) if lookup else Call("HEAD", f"{parts.scheme}://{parts.netloc}/", {})
        try:
            with self._wire() as wire:
                status = wire.call(call).status
        except (NotSentError, NoAnswerError) as error:
            return [f"{error}; look at url, and whether this machine reaches the provider"]
        if lookup and status != 404 and meaning(status, self.options.answer) == "gateway":
            return [f"the provider answers HTTP {status} when it is asked for a message; look at the password or key"]
        return []


def _not_carried(message: Outgoing) -> Refused:
    return Refused(f"this gateway carries no {'e-mail' if message.channel == 'email' else message.channel}")


def _own_network(host: str) -> bool:
    """Say whether a machine is in one's own house, where http:// is common."""
    try:
        address = ip_address(host)
    except ValueError:
        return "." not in host or host.endswith(_HOUSE)
    return address.is_private or address.is_loopback
