"""Letters that come back, and answers to letters: mails of a mailbox become receipts.

`parse` says what one mail is, `rules` why a letter came back, `taking` which message it is about and what follows, `reading` goes
through the mailboxes of `[bounces]` with every pass.
"""

from winback.track.bounces.parse import parse
from winback.track.bounces.reading import Standing, mailboxes, read_mailboxes, standing
from winback.track.bounces.report import Kind, Report

__all__ = ["Kind", "Report", "Standing", "mailboxes", "parse", "read_mailboxes", "standing"]
