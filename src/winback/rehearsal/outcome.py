"""What a test came to: the messages that went, those that did not and why, and where that is not what was expected."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True)
class Gone:
    """A message that went, as its reader gets it. `at` is on the clock where they live."""

    customer: str
    campaign: str
    step: str
    channel: str
    at: datetime
    subject: str
    words: str  # the text part, and the page's source


@dataclass(frozen=True)
class Stopped:
    """A message that did not go, or, without a step, somebody who did not come in."""

    customer: str
    campaign: str
    step: str | None
    reason: str


@dataclass
class Played:
    """Everything that happened."""

    gone: list[Gone] = field(default_factory=list)
    stopped: set[Stopped] = field(default_factory=set)
    errors: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Failure:
    """One thing that was not as expected, and the line that expects it."""

    line: int
    message: str


@dataclass(frozen=True)
class Outcome:
    """A test that was run."""

    file: str
    line: int
    name: str
    seconds: float
    failures: tuple[Failure, ...]

    @property
    def passed(self) -> bool:
        """Say whether everything was as expected."""
        return not self.failures
