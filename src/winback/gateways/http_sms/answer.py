"""Judge a provider's answer: what it says of one message, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from winback import clock
from winback.gateways.base import Accepted, Outcome, Refused, Retry, Unknown
from winback.gateways.http_sms.options import Answer, Verdict
from winback.gateways.http_sms.reading import Document, read_json

#: What a status means unless config.toml says otherwise. "The server failed" (500) is an answer, and the message can be tried
#: again; a 502 or 504 comes from a machine in between, and what the provider did nobody knows (RFC 9110, 15.6).
STATUSES: Mapping[str, Verdict] = {
    "2xx": "accepted",
    "3xx": "gateway",  # a redirected POST loses its body: the address is wrong
    "401": "gateway",
    "402": "gateway",
    "403": "gateway",
    "404": "gateway",  # a wrong address, for most providers
    "405": "gateway",
    "407": "gateway",
    "408": "retry",
    "410": "gateway",
    "425": "retry",
    "429": "gateway",
    "4xx": "refused",
    "500": "retry",
    "501": "gateway",
    "503": "gateway",
    "5xx": "unknown",
    "1xx": "unknown",
}

#: What people can do about a status.
_REMEDIES = {
    "3xx": "the address has moved; change url",
    "401": "the provider does not accept the password or key",
    "402": "the account has no credit",
    "403": "the provider does not accept the password or key, or this machine's address",
    "404": "there is nothing at this url",
    "405": "the provider wants another method",
    "407": "the proxy wants a password",
    "410": "there is nothing at this url any more",
    "429": "too many messages at once",
    "503": "the provider is overloaded or down",
}

#: Longer waits are a slip of the provider's; the message would be too late.
_LONGEST_WAIT = timedelta(days=1)

#: The raw reply is kept up to this length.
_REPLY_LENGTH = 500
_REASON_LENGTH = 200


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer as it came. `whole` says whether the body could be read to its end."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    whole: bool = True


def judge(reply: Reply, rules: Answer, message_id: str) -> Outcome:
    """Return what an answer means for the message it answers."""
    document = read_json(reply.body)
    code = document.find(rules.error)
    verdict = _verdict(reply.status, code, rules)
    shown = shorten(f"{reply.status} {document.text}".strip(), _REPLY_LENGTH)
    reason = _reason(reply.status, code, document.find(rules.reason))
    if verdict == "accepted":
        return _accepted(reply, document, rules, message_id, shown)
    if verdict == "refused":
        return Refused(reason, reply=shown)
    if verdict == "hard":
        return Refused(reason, hard_bounce=True, reply=shown)
    if verdict == "unknown":
        return Unknown(reason, reply=shown)
    return Retry(reason, after=retry_after(reply.headers), whole_gateway=verdict == "gateway", reply=shown)


def _verdict(status: int, code: str | None, rules: Answer) -> Verdict:
    by_status = meaning(status, rules)
    if code is None:
        return by_status
    return rules.errors.get(code, "refused" if by_status == "accepted" else by_status)


def meaning(status: int, rules: Answer) -> Verdict:
    """Return what an HTTP status means: the exact one before its class, what config.toml says before what is usual."""
    group = f"{status // 100}xx"
    for table in (rules.statuses, STATUSES):
        for key in (str(status), group):
            if key in table:
                return table[key]
    return "unknown"


def _accepted(reply: Reply, document: Document, rules: Answer, message_id: str, shown: str) -> Outcome:
    """Believe an acceptance only where the answer is what such an answer should be: a login page says 200, too."""
    if not reply.whole:
        return Unknown("the answer broke off", reply=shown)
    if not (document.understands(rules.id) and document.understands(rules.error)):
        return Unknown(f"HTTP {reply.status}, but the answer is not JSON; is url right?", reply=shown)
    provider_id = document.find(rules.id)
    if rules.id is not None and provider_id is None:
        return Unknown(f"HTTP {reply.status}, but the answer has no id where answer.id says", reply=shown)
    return Accepted(provider_id or message_id, reply=shown)


def _reason(status: int, code: str | None, words: str | None) -> str:
    remedy = _REMEDIES.get(str(status)) or _REMEDIES.get(f"{status // 100}xx")
    text = f"the provider answered HTTP {status}"
    if code is not None:
        text += f", code {code}"
    if words is not None:
        text += f": {words}"
    elif remedy is not None and code is None:
        text += f": {remedy}"
    return shorten(text, _REASON_LENGTH)


def retry_after(headers: Mapping[str, str]) -> timedelta | None:
    """Return how long the provider asks to wait (RFC 9110, 10.2.3), at most a day; None where it does not say."""
    text = next((value.strip() for name, value in headers.items() if name.lower() == "retry-after"), "")
    if text.isascii() and text.isdigit():
        return min(timedelta(seconds=int(text[:9])), _LONGEST_WAIT)
    try:
        until = parsedate_to_datetime(text)
    except ValueError:
        return None
    return min(max(_aware(until) - clock.now(), timedelta()), _LONGEST_WAIT)


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def shorten(text: str, length: int) -> str:
    """Return a text in one line, its control characters dropped, cut to a length."""
    line = " ".join("".join(character if character.isprintable() else " " for character in text).split())
    return line if len(line) <= length else line[: length - 1] + "…"
