"""What one call of the dispatcher did, in numbers."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, fields

from winback.dispatch.pauses import GatewayPause


@dataclass
class DispatchResult:
    """Every message that was taken is in exactly one of the counts; `pauses` are the gateways that could not be used."""

    taken: int = 0
    sent: int = 0
    retrying: int = 0  # not accepted for the moment: tried again later
    failed: int = 0
    uncertain: int = 0  # handed over, and the answer never came
    skipped: Counter[str] = field(default_factory=Counter)  # by reason
    cancelled: int = 0
    put_off: int = 0  # a rule said "not now"
    fell_back: int = 0  # goes by the other channel
    given_back: int = 0  # waits as before: the gateway had trouble, or the dispatcher was stopped
    pauses: list[GatewayPause] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def complain(self, error: str) -> None:
        """Keep an error, once."""
        if error not in self.errors:
            self.errors.append(error)

    def add(self, other: DispatchResult) -> None:
        """Count what another dispatcher did in the same pass."""
        for each in fields(self):
            mine, more = getattr(self, each.name), getattr(other, each.name)
            if not isinstance(mine, list):
                setattr(self, each.name, mine + more)
        known = {pause.gateway for pause in self.pauses}
        self.pauses += [pause for pause in other.pauses if pause.gateway not in known]
        for error in other.errors:
            self.complain(error)

    @property
    def counted(self) -> int:
        """Add up what became of the messages; it equals `taken`."""
        ends = (self.sent, self.retrying, self.failed, self.uncertain, self.skipped.total(), self.cancelled)
        return sum(ends) + self.put_off + self.fell_back + self.given_back
