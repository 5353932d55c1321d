"""From a campaign's step and one recipient to the bytes a gateway sends."""

from winback.compose.composer import Composer
from winback.compose.message import Composed, LinkTarget, Money, Recipient
from winback.compose.samples import sample_recipient
from winback.compose.sms import SmsSegments, count_segments

__all__ = ["Composed", "Composer", "LinkTarget", "Money", "Recipient", "SmsSegments", "count_segments", "sample_recipient"]
