"""What a refusal means for the message, for its recipient and for all the others: one table, asked from the top.

A reply to RCPT or to the content is about this message unless it says otherwise, so that no recipient can stop the others. Only
what names the service (421) or our account (logging in, its limits) is about everybody.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import Literal

from winback.gateways.base import Outcome, Refused, Retry
from winback.gateways.smtp.replies import Reply

#: What was asked when the reply came; "end" is the final dot.
Phase = Literal["greeting", "ehlo", "starttls", "auth", "mail", "rcpt", "data", "end"]

_OPENING: frozenset[Phase] = frozenset({"greeting", "ehlo", "starttls", "auth"})
_TRANSACTION: frozenset[Phase] = frozenset({"mail", "rcpt", "data", "end"})
_ALL = _OPENING | _TRANSACTION
_BEFORE_RECIPIENT: frozenset[Phase] = frozenset({"mail"})
_RECIPIENT: frozenset[Phase] = frozenset({"rcpt"})

_RFC5321 = "RFC 5321 section 4.2.3"
_GOOGLE = "https://support.google.com/a/answer/3726730"
_AMAZON = "https://docs.aws.amazon.com/ses/latest/dg/manage-sending-quotas-errors.html"
_IANA = "https://www.iana.org/assignments/smtp-enhanced-status-codes"


class Verdict(Enum):
    """What to do after a refusal."""

    EVERYBODY = "nobody's message can go at present"
    LATER = "this message may go later"
    NEVER = "this message will never go; the address may be good"
    NO_SUCH_ADDRESS = "the address does not exist"


@dataclass(frozen=True, slots=True)
class Rule:
    """A kind of refusal. A rule fits when its code, its enhanced code and its words do; each is a regular expression."""

    verdict: Verdict
    reason: str
    source: str
    phases: frozenset[Phase] = _ALL
    code: str = "..."
    enhanced: str | None = None  # None: whatever it is; "": there is none
    words: str = ""
    ours: bool = False  # about our machine, account, domain or letter: it says nothing of the recipient's address

    def fits(self, reply: Reply, phase: Phase) -> bool:
        """Say whether the rule is for a reply."""
        return (
            phase in self.phases
            and re.fullmatch(self.code, str(reply.code)) is not None
            and (self.enhanced is None or re.fullmatch(self.enhanced, reply.enhanced) is not None)
            and re.search(self.words, reply.text, re.IGNORECASE) is not None
        )


RULES: tuple[Rule, ...] = (
    # About the service or our account: everybody waits.
    Rule(Verdict.EVERYBODY, "the mail server is busy or closing", _RFC5321, code="421"),
    Rule(
        Verdict.EVERYBODY,
        "the mail server accepts no user names and passwords at present",
        "RFC 4954 section 6",
        phases=frozenset({"auth"}),
        code="4..",
        ours=True,
    ),
    Rule(
        Verdict.EVERYBODY,
        "the mail server does not accept the user name or the password",
        "RFC 4954 section 6",
        phases=frozenset({"auth"}),
        ours=True,
    ),
    Rule(
        Verdict.EVERYBODY,
        "the mail server wants a user name and a password, or encryption, first",
        "RFC 4954 section 6, RFC 3207 section 4",
        code="530|538",
        ours=True,
    ),
    Rule(Verdict.EVERYBODY, "the mail server turns this machine away", _RFC5321, phases=_OPENING, ours=True),
    Rule(
        Verdict.EVERYBODY,
        "the mail server's limit for this account is reached",
        f"{_AMAZON}, {_GOOGLE}",
        words=r"throttling|sending rate exceeded|(daily|hourly|monthly|peak|relay|sending|message) "
        r"(\w+ ){0,3}(quota|limit)s? (\w+ ){0,3}(exceeded|reached)|(exceeded|reached) (\w+ ){0,4}(daily|hourly|sending) "
        r"(\w+ ){0,3}(quota|limit)",
        ours=True,
    ),
    # About the recipient's mailbox: full, or getting too much.
    Rule(
        Verdict.LATER,
        "the recipient's mailbox gets too much mail at the moment",
        _GOOGLE,
        enhanced=r"[45]\.2\.1",
        words=r"too quickly|at a rate",
    ),
    Rule(Verdict.LATER, "the recipient's mailbox is full", "RFC 3463 section 3.3", code="4..", enhanced=r"4\.2\.2"),
    Rule(Verdict.NEVER, "the recipient's mailbox is full", "RFC 3463 section 3.3", code="5..", enhanced=r"5\.2\.2"),
    Rule(
        Verdict.NEVER,
        "the recipient's mailbox is full",
        "RFC 5321 section 4.2.3, words in use",
        code="55[024]",
        words=r"(mailbox|quota|account|storage).{0,40}\b(full|exceeded)\b|over ?quota|exceed\w* (\w+ ){0,3}(quota|storage)",
    ),
    # About the message's size: RFC 1870 section 6.1, RFC 3463 sections 3.3 and 3.4.
    Rule(Verdict.NEVER, "the message is too large", "RFC 1870 section 6.1", code="5..", enhanced=r"5\.(2\.3|3\.4)", ours=True),
    Rule(Verdict.NEVER, "the message is too large", _RFC5321, code="552", enhanced="", ours=True),
    # About us, our machine or our domain, whatever the code: never the recipient's fault.
    Rule(
        Verdict.LATER,
        "the mail server will not pass mail on for this machine",
        "RFC 3463 section 3.8, Postfix and Exim",
        phases=_TRANSACTION,
        words=r"relay(ing)? (access )?(is )?(denied|not permitted|prohibited)|not permitted to relay|unable to relay|"
        r"relay(ing)? not allowed",
        ours=True,
    ),
    Rule(
        Verdict.LATER,
        "too many messages in a short time",
        f"{_GOOGLE}; 5xx where 4xx is meant is common",
        phases=_TRANSACTION,
        words=r"rate.?limit|too many (messages|e-?mails|mails|connections)|unusual rate|too fast|slow down|"
        r"(sending|message|mail) rate",
        ours=True,
    ),
    Rule(
        Verdict.LATER,
        "too many messages in a short time",
        _GOOGLE,
        phases=_TRANSACTION,
        enhanced=r"[45]\.(7\.28|4\.5)",
        ours=True,
    ),
    Rule(
        Verdict.LATER,
        "the proof that the mail is ours is missing or wrong (SPF, DKIM, DMARC or reverse DNS)",
        f"RFC 7372, RFC 7489, {_IANA}",
        phases=_TRANSACTION,
        enhanced=r"[45]\.7\.(2[0-7]|29|30|40|50[19]|515)",
        ours=True,
    ),
    Rule(
        Verdict.LATER,
        "this mail server or domain stands on a blocklist",
        f"RFC 5782, {_GOOGLE}; the lists' own words",
        phases=_TRANSACTION,
        words=r"block ?list|black ?list|blocked using|spamhaus|spamcop|barracuda|sorbs|\bdnsbl\b|\brbl\b|"
        r"(poor|bad|low|very low) reputation|reputation of|banned sending ip|(sending|client|your) (ip|host)\b.{0,60}"
        r"\b(blocked|banned|listed|rejected)|(blocked|banned|listed)\b.{0,60}\b(sending|client|your) (ip|host)\b",
        ours=True,
    ),
    Rule(
        Verdict.NEVER,
        "the message was taken for spam or refused by a policy",
        f"RFC 3463 section 3.8, {_GOOGLE}",
        phases=_TRANSACTION,
        code="5..",
        words=r"\bspam\b|\bunsolicited\b|\bphish|\bvirus\b|\bmalware\b|\bjunk\b|content (is )?(rejected|refused|blocked)|"
        r"message content|policy (violation|reason)|(email|mail|message) policy",
        ours=True,
    ),
    # About the sender's address.
    Rule(
        Verdict.LATER,
        "the mail server does not take mail from this sender",
        "RFC 3463 section 3.2",
        phases=_TRANSACTION,
        enhanced=r"[45]\.1\.[78]",
        ours=True,
    ),
    Rule(
        Verdict.LATER,
        "the mail server does not take mail from this sender",
        "Postfix, Exchange and Amazon SES",
        phases=_TRANSACTION,
        words=r"sender (address|verify|not|is not|rejected|denied)|sender.{0,20}(not owned|rejected|not allowed|not verified)|"
        r"send as this sender|address is not verified|not authorized to send (from|on behalf)",
        ours=True,
    ),
    # About the recipient's address: it must not be written to again.
    Rule(
        Verdict.NO_SUCH_ADDRESS,
        "the address does not exist",
        "RFC 3463 section 3.2, RFC 7505 section 4.2",
        phases=_TRANSACTION,
        code="5..",
        enhanced=r"5\.1\.([1236]|10)",
    ),
    Rule(
        Verdict.NO_SUCH_ADDRESS,
        "the mailbox is closed",
        "RFC 3463 section 3.3",
        phases=_TRANSACTION,
        code="5..",
        enhanced=r"5\.2\.1|5\.7\.13|5\.7\.17|5\.7\.18",
    ),
    Rule(
        Verdict.NO_SUCH_ADDRESS,
        "the recipient's domain takes no mail",
        "RFC 7504 section 4",
        phases=_TRANSACTION,
        code="556",
    ),
    Rule(
        Verdict.NO_SUCH_ADDRESS,
        "the address does not exist",
        "words in use by Postfix, Exim, sendmail, Exchange and others",
        phases=_TRANSACTION,
        code="5..",
        words=r"(no such|unknown|invalid|non-?existent|unrouteable) (local )?"
        r"(user|recipient|mailbox|address|account|person)|"
        r"(user|recipient|mailbox|address|account|addressee)\b.{0,40}\b(unknown|(does|do) ?(not|n't) exist|doesn't exist|"
        r"not (be )?found|no longer|disabled|inactive|deactivated|suspended)|no mailbox (here )?by that name|"
        r"user doesn't have an? .{1,40} account|"
        r"user.{0,20}not local|recipient address rejected: access denied",
    ),
    # What has no better words: RFC 5321 sections 4.2.3 and 4.3.2 by code and phase.
    Rule(
        Verdict.NEVER,
        "the mail server refuses the message by a policy",
        "RFC 3463 section 3.8",
        phases=_TRANSACTION,
        code="5..",
        enhanced=r"5\.7\..*",
        ours=True,
    ),
    Rule(Verdict.NO_SUCH_ADDRESS, "the address does not exist", _RFC5321, phases=_RECIPIENT, code="550|551|553"),
    Rule(
        Verdict.EVERYBODY,
        "the mail server takes no messages at present",
        _RFC5321,
        phases=_BEFORE_RECIPIENT,
        code="45[1245]|43.",
    ),
    Rule(
        Verdict.LATER,
        "the mail server does not understand this client",
        _RFC5321,
        phases=_BEFORE_RECIPIENT,
        code="50.|555",
        ours=True,
    ),
    Rule(
        Verdict.LATER,
        "the mail server does not take mail from this sender",
        _RFC5321,
        phases=_BEFORE_RECIPIENT,
        code="5..",
        ours=True,
    ),
    Rule(
        Verdict.LATER, "the mail server lost the thread of the conversation", _RFC5321, phases=_TRANSACTION, code="503", ours=True
    ),
    Rule(
        Verdict.LATER,
        "the mail server wants the message again a little later (greylisting)",
        "RFC 6647 section 2",
        code="4..",
        words=r"gr[ea]y.?list",
    ),
    Rule(
        Verdict.LATER,
        "the mail server asks to come back later",
        "5xx where 4xx is meant is common",
        words=r"\btry (again )?later\b",
    ),
    Rule(Verdict.LATER, "the mail server cannot take the message now", "RFC 5321 section 4.2.1", code="4.."),
    Rule(Verdict.NEVER, "the mail server refuses the message", "RFC 5321 section 4.2.1"),
)


def judge(reply: Reply, phase: Phase) -> Rule:
    """Return the first rule that fits a refusal."""
    return next(rule for rule in RULES if rule.fits(reply, phase))


def outcome_of(reply: Reply, phase: Phase) -> Outcome:
    """Return what a refusal means for the message it answers."""
    rule = judge(reply, phase)
    reason = f"{rule.reason}: {reply.text or reply.code}"
    match rule.verdict:
        case Verdict.EVERYBODY:
            return Retry(reason, reply.after, whole_gateway=True, reply=reply.raw)
        case Verdict.LATER:
            return Retry(reason, reply.after, reply=reply.raw)
        case Verdict.NEVER:
            return Refused(reason, reply=reply.raw)
        case Verdict.NO_SUCH_ADDRESS:
            return Refused(reason, hard_bounce=True, reply=reply.raw)
