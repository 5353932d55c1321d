"""What a gateway is: it hands messages to the world and answers with outcomes, as data. It never sees the database.

To write one: subclass `Gateway`, give it an `Options` model, return a `Sender` from `connect`, and name the class in the
entry-point group `winback.gateways`. `winback.gateways.contract` is the test suite that it must pass.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict

Channel = Literal["email", "sms"]


class WireForm(bytes):
    """Content as SMTP sends it: all line ends are CRLF, one is at its end, and no line begins with a dot.

    Whoever makes content so may say it, and spares a gateway to look. What is made from it is plain bytes again.
    """

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message ready to go. `message_id` never changes, so a gateway uses it wherever a provider takes an idempotency key.

    An e-mail is `content`, RFC 5322 bytes with CRLF; an SMS is `text`.
    """

    message_id: str
    channel: Channel
    recipient: str  # an e-mail address, or a phone number in E.164
    sender: str  # what the recipient sees
    content: bytes = b""
    text: str = ""
    envelope_from: str = ""
    subject: str = ""
    at: datetime | None = None  # when it goes, by the clock of whoever sends: a simulation's is not the machine's


@dataclass(frozen=True, slots=True)
class Accepted:
    """The other side took responsibility. `provider_id` is its name for the message: a queue id, an SMS id."""

    provider_id: str | None = None
    reply: str = ""


@dataclass(frozen=True, slots=True)
class Retry:
    """Not now. `after` is how long to wait, if the other side said so; with `whole_gateway` nobody's message can go at present,
    and it costs this one no attempt."""

    reason: str
    after: timedelta | None = None
    whole_gateway: bool = False
    reply: str = ""


@dataclass(frozen=True, slots=True)
class Refused:
    """Never. `hard_bounce` says that the address itself does not exist, and must not be written to again."""

    reason: str
    hard_bounce: bool = False
    reply: str = ""


@dataclass(frozen=True, slots=True)
class Unknown:
    """Handed over, and the answer never came: it may have arrived or not."""

    reason: str
    reply: str = ""


Outcome = Accepted | Retry | Refused | Unknown


class Options(BaseModel):
    """The settings of a gateway, its table in config.toml without `type`; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Sender(ABC):
    """An open way out, used by one thread."""

    @abstractmethod
    def send(self, messages: Iterable[Outgoing], on_handover: Callable[[str], None]) -> Iterator[tuple[str, Outcome]]:
        """Hand over messages and yield each one's id and outcome, exactly once for every message taken.

        Call `on_handover` with the id before the first byte leaves by which the other side could accept the message; what was
        never announced was never sent. Trouble with one recipient never touches another.
        """


@dataclass(frozen=True, slots=True)
class ReceiptRequest:
    """A call of a provider's webhook, as it arrived: nothing in it is to be trusted."""

    method: str
    headers: Mapping[str, str]  # names in lower case
    query: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class ReceiptEvent:
    """What the other side reported: delivered, bounced, complained or replied.

    A reply is known by the sender's `recipient` address where the provider names no message. A report with an id of its own
    (`report_id`) counts once by that id; else one of each kind counts for a message.
    """

    kind: Literal["delivered", "bounced", "complained", "replied"]
    provider_id: str
    recipient: str | None = None
    at: datetime | None = None
    hard_bounce: bool = False
    text: str = ""
    raw: Mapping[str, Any] = field(default_factory=dict)
    report_id: str = ""
    #: What a bounce tells of: the address, or us (our server is on a blocklist, the letter was taken for spam: that never counts
    #: against an address), or it is not clear that it is about the address that the message went to.
    cause: Literal["address", "us", "unclear"] = "address"


#: Inside `Gateway` the word `type` is the gateway's own.
_OptionsClass = type[BaseModel]


class Gateway(ABC):
    """A configured way to the world."""

    type: ClassVar[str]  # what config.toml says
    channels: ClassVar[frozenset[Channel]]
    Options: ClassVar[_OptionsClass] = Options

    def __init__(self, options: Any, *, name: str, root: Path) -> None:
        """Keep the checked options; `name` is the table's in config.toml, relative paths are taken from `root`. Opens nothing."""
        self.options = options
        self.name = name
        self.root = root

    @abstractmethod
    def connect(self) -> AbstractContextManager[Sender]:
        """Open a way out, closed at the end of the with-block. A broken line shows in the outcomes, not as an exception."""

    def receipts(self, request: ReceiptRequest) -> Sequence[ReceiptEvent]:
        """Read what a provider reports. Raise GatewayError for a call that is not the provider's."""
        from winback.errors import GatewayError

        raise GatewayError(f"gateway {self.name} takes no receipts")

    def settle(self, message_ids: Sequence[str]) -> dict[str, Outcome | None]:
        """Say what became of messages whose outcome was lost, None where nobody can know."""
        return dict.fromkeys(message_ids)

    def check(self) -> list[str]:
        """Try the way out without sending, and return what is wrong, in plain words with the remedy."""
        return []
