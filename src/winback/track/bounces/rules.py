"""Why a letter came back, as one table asked from the top; what is not in it is asked of the table of SMTP replies.

A bounce is a mail server's last word about a letter, so "later" no longer means anything: what a server said matters only for
whom it tells of. The address is dead (hard), the mailbox takes nothing at present (soft), or it is about us (blocked), which
never counts against an address.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from winback.gateways.smtp.replies import Reply
from winback.gateways.smtp.verdicts import Phase, Verdict, judge
from winback.track.bounces.report import Kind


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What is known of why a letter came back: an SMTP code and an enhanced one ('' where there is none), and words."""

    code: int
    enhanced: str
    words: str
    phase: Phase


@dataclass(frozen=True, slots=True)
class BounceRule:
    """A kind of bounce. A rule fits when its code, its enhanced code or its words do; each is a regular expression."""

    kind: Kind
    reason: str
    source: str
    words: str = r"(?!)"
    enhanced: str = r"(?!)"
    code: str = "..."

    def fits(self, diagnosis: Diagnosis) -> bool:
        """Say whether the rule is for a diagnosis."""
        return re.fullmatch(self.code, str(diagnosis.code)) is not None and (
            re.fullmatch(self.enhanced, diagnosis.enhanced) is not None
            or re.search(self.words, diagnosis.words, re.IGNORECASE) is not None
        )


#: What the table of SMTP replies does not know, because it is said in bounces only or means something else there.
RULES: tuple[BounceRule, ...] = (
    # About us.
    BounceRule(
        Kind.BLOCKED,
        "too many people complained about our mail there, or too much came at once",
        "https://senders.yahooinc.com/smtp-error-codes",
        words=r"\[TSS?\d\d\]|due to (unexpected volume or )?user complaints",
    ),
    BounceRule(
        Kind.BLOCKED,
        "the proof that the mail is ours is missing or wrong (SPF, DKIM, DMARC or reverse DNS)",
        "RFC 7489 section 10.3, RFC 7208 section 8.4; the words in use where no enhanced code says it",
        words=r"\bdmarc\b|\bdkim\b|\bspf\b|sender policy framework|unauthenticated (e?mail|sender)|"
        r"\b(reverse dns|rdns|ptr record)\b",
    ),
    BounceRule(
        Kind.BLOCKED,
        "the message is too large",
        "RFC 3463 section 3.4 (X.3.4); the words in use where no enhanced code says it",
        words=r"(mail|message) size (limit )?exceed|size limit exceeded|(mail|message) (is )?too (large|big)",
    ),
    # About the recipient's domain: nobody there has a mailbox.
    BounceRule(
        Kind.HARD,
        "the recipient's domain does not exist, or takes no mail",
        "RFC 3463 sections 3.2 and 3.5 (X.1.2, X.4.4), RFC 7505; Microsoft 5.4.310; Postfix, Exim, sendmail and qmail in words",
        enhanced=r"5\.1\.2|5\.4\.4|5\.4\.310",
        words=r"host (or domain name )?not found|host unknown|unknown host|no such (host|domain)|"
        r"domain (name )?(\S{1,80} )?(does not|doesn't) exist|name or service not known|nxdomain|"
        r"unrouteable (mail )?domain|"
        r"records? point(s|ing)? to non-?existent hosts?|couldn't find any host named|null mx|domain .{0,80}does not accept mail",
        code="5..",
    ),
    # About time: it was tried for days. Who could not be reached that long may be back tomorrow.
    BounceRule(
        Kind.SOFT,
        "the recipient's mail server could not be reached, or put it off for days",
        "RFC 3463 section 3.5 (X.4.1, X.4.7); Postfix, Exim, sendmail and qmail in words",
        enhanced=r"[45]\.4\.[17]",
        words=r"(delivery|message|retry) (time ?(out)? )?(has )?(expired|exceeded)|in the queue (too long|for)|"
        r"could not (be delivered|send message) for (the )?(past |last )?\d+|connection (timed out|refused)|no route to host|"
        r"network is unreachable|could not connect|connect to \S{1,120}: ",
    ),
)


def classify(diagnosis: Diagnosis) -> tuple[Kind, str]:
    """Return the kind of a bounce, hard, soft or blocked, and the reason in words."""
    own = next((rule for rule in RULES if rule.fits(diagnosis)), None)
    if own is not None and own.kind is not Kind.SOFT:
        return own.kind, own.reason
    # That the time ran out is the last thing to happen; what the server had said before tells more.
    kind, reason = _as_a_reply(diagnosis)
    return (own.kind, own.reason) if own is not None and kind is Kind.SOFT else (kind, reason)


def _as_a_reply(diagnosis: Diagnosis) -> tuple[Kind, str]:
    # 421 says that the server closes the connection now; days later all that is left of it is its words.
    code = 451 if diagnosis.code == 421 else diagnosis.code
    rule = judge(Reply(code, f"{code} {diagnosis.enhanced} {diagnosis.words}"), diagnosis.phase)
    if rule.ours:
        return Kind.BLOCKED, rule.reason
    if rule.verdict is Verdict.NO_SUCH_ADDRESS:
        return Kind.HARD, rule.reason
    return Kind.SOFT, rule.reason
