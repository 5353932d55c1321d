"""The one tree of errors that winback raises.

::

    WinbackError                what went wrong, and what to do next
     ├── ProjectError           files of the shop have problems (all of them, not the first)
     ├── ExpressionError        a `where`, `only_if` or `exit` expression is wrong at a position
     ├── InputError             data that was handed in cannot be used: an import file, an address, an option
     │    └── AddressError      an e-mail address or a phone number that cannot be written to
     ├── StoreError             the database is missing, too old, too new, or does not answer
     ├── GatewayError           a gateway is unknown, broken or wrongly configured
     ├── MailboxError           the mailbox that bounces come to cannot be read
     ├── RenderError            a template failed for one message; the others go on
     ├── SigningError           a key that signs letters (DKIM) cannot be used: no letter goes until it can
     └── TokenError             a signed link token is not ours, or was changed

Exit codes of the command line: 0 done, 1 what was checked has problems, 2 the command could not run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


class WinbackError(Exception):
    """Say what went wrong in `message` and what to do next in `remedy`."""

    exit_code = 2

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message} ({self.remedy})" if self.remedy else self.message


@dataclass(frozen=True, order=True)
class Problem:
    """One thing wrong in one file: `file:line: key: what is wrong; what to do`. `line` counts from 1, 0 is the whole file."""

    file: Path
    line: int
    key: str
    message: str
    remedy: str = ""

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else str(self.file)
        key = f" {self.key}:" if self.key else ""
        remedy = f"; {self.remedy}" if self.remedy else ""
        return f"{where}:{key} {self.message}{remedy}"


class ProjectError(WinbackError):
    """Carry every problem found in the shop's files."""

    exit_code = 1

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(sorted(problems))
        count = len(self.problems)
        lines = "\n".join(str(problem) for problem in self.problems)
        super().__init__(f"{count} problem{'s' if count != 1 else ''}\n{lines}")


class ExpressionError(WinbackError):
    """Point at the position (`column`, from 1) in an expression that cannot be used."""

    exit_code = 1

    def __init__(self, message: str, remedy: str = "", *, expression: str = "", column: int = 0) -> None:
        super().__init__(message, remedy)
        self.expression = expression
        self.column = column


class InputError(WinbackError):
    """Refuse data that was handed in."""


class AddressError(InputError):
    """Refuse an e-mail address or phone number."""


class StoreError(WinbackError):
    """Report a database that cannot be used as it is."""


class GatewayError(WinbackError):
    """Report a gateway that is unknown, broken or wrongly configured."""


class MailboxError(WinbackError):
    """Report a mailbox that cannot be read."""


class RenderError(WinbackError):
    """Report a template that failed for one message, with the file and line (from 1; 0 is the whole file) where it did."""

    def __init__(self, message: str, remedy: str = "", *, file: Path | None = None, line: int = 0) -> None:
        where = "" if file is None else f"{file}:{line}: " if line else f"{file}: "
        super().__init__(where + message, remedy)
        self.problem = message
        self.file = file
        self.line = line


class SigningError(WinbackError):
    """Report a key that should sign letters and is not there, or is none."""


class TokenError(WinbackError):
    """Refuse a link token that was not signed by this shop."""
