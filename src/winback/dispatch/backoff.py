"""How long a message waits before it is tried again, and a gateway before it is asked again."""

from __future__ import annotations

from datetime import timedelta
from hashlib import blake2b

#: Wait after the first, second, third … try. RFC 5321, section 4.5.4.1 wants an hour or so after the first tries, and to
#: give up after four or five days; a letter with an offer is old before that.
_WAITS: tuple[timedelta, ...] = tuple(
    timedelta(minutes=count) for count in (1, 5, 15, 60, 4 * 60, 8 * 60, 16 * 60, 24 * 60, 48 * 60, 72 * 60)
)

#: The longest wait that the other side may ask for.
_LONGEST = _WAITS[-1]

#: A wait is at most this share longer, so that what failed together does not come back together.
_JITTER = 0.2

#: A gateway in trouble is asked again after this long, then after twice that, up to the longest pause.
_FIRST_PAUSE = timedelta(minutes=1)
_LONGEST_PAUSE = timedelta(minutes=15)


def wait_before_retry(message_id: str, tried: int, asked: timedelta | None = None) -> timedelta:
    """Return how long a message waits that was tried `tried` times, at least as long as the other side asked for.

    The jitter is drawn from the message's id, so the same message always waits equally long.
    """
    wait = _WAITS[min(max(tried, 1), len(_WAITS)) - 1]
    wait = wait * (1 + _JITTER * _draw(f"{message_id}:{tried}"))
    return max(wait, min(asked or timedelta(), _LONGEST))


def pause_after(failures: int, asked: timedelta | None = None) -> timedelta:
    """Return how long a gateway is left alone after so many failures in a row, at least as long as the other side asked for."""
    doublings = min(max(failures, 1) - 1, 10)
    return max(min(_FIRST_PAUSE * (1 << doublings), _LONGEST_PAUSE), min(asked or timedelta(), _LONGEST))


def _draw(text: str) -> float:
    """Return a number in 0..1 that is the text's own."""
    return int.from_bytes(blake2b(text.encode(), digest_size=6).digest()) / 2**48
