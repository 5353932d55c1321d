"""Who may see the pages: signed session cookies, one password, form tokens, and a brake on guessing."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import time
from collections import OrderedDict, deque
from dataclasses import dataclass

from itsdangerous import BadSignature, URLSafeTimedSerializer

from winback.project import Project

COOKIE = "winback_session"

#: A session ends after this many seconds, however often it is used.
SESSION_SECONDS = 14 * 24 * 3600

#: So many wrong passwords from one address within so many seconds, then it waits.
_WRONG_GUESSES, _GUESS_SECONDS = 8, 300

#: Addresses remembered at most; the oldest is forgotten first.
_ADDRESSES = 10_000


@dataclass(frozen=True)
class Session:
    """One browser: `nonce` binds its forms to it, `cookie` is its signed text, `fresh` says it must still be set."""

    nonce: str
    signed_in: bool
    cookie: str
    fresh: bool


class Sessions:
    """Issue and read session cookies of one shop. Changing the password or the shop's secret ends all of them."""

    def __init__(self, project: Project) -> None:
        self._key = project.key("session")
        password = project.settings.web.password
        self._password = password.reveal() if password is not None else None
        self._serializer = URLSafeTimedSerializer(self._key.hex(), salt="winback.session")

    @property
    def required(self) -> bool:
        """Say whether pages ask for a password."""
        return self._password is not None

    def read(self, cookie: str | None) -> Session:
        """Return the session of a cookie, or a fresh one that is not signed in for a cookie that is not ours or too old."""
        if cookie:
            try:
                nonce, mark = self._serializer.loads(cookie, max_age=SESSION_SECONDS)
            except (BadSignature, ValueError, TypeError):
                return self.issue(signed_in=False)
            if isinstance(nonce, str) and isinstance(mark, str):
                signed_in = self._password is None or hmac.compare_digest(mark, self._mark(nonce))
                return Session(nonce, signed_in, cookie, fresh=False)
        return self.issue(signed_in=False)

    def issue(self, *, signed_in: bool) -> Session:
        """Return a new session; its nonce is new too, so that a cookie planted before signing in is worth nothing."""
        nonce = secrets.token_urlsafe(16)
        mark = self._mark(nonce) if signed_in else ""
        cookie = self._serializer.dumps([nonce, mark])
        return Session(nonce, signed_in or self._password is None, cookie, fresh=True)

    def is_password(self, text: str) -> bool:
        """Compare in a time that says nothing about how much was right."""
        given, wanted = (hashlib.sha256(value.encode()).digest() for value in (text, self._password or ""))
        return hmac.compare_digest(given, wanted) and self._password is not None

    def form_token(self, session: Session) -> str:
        """Return what every form of this session carries in its field `csrf`."""
        return self._mac("form", session.nonce)

    def is_form_token(self, session: Session, token: str) -> bool:
        """Say whether a posted form came from one of our pages in this session."""
        return hmac.compare_digest(token.encode(), self.form_token(session).encode())

    def _mark(self, nonce: str) -> str:
        return self._mac(f"signed in {self._password}", nonce)

    def _mac(self, kind: str, nonce: str) -> str:
        return hmac.new(self._key, f"{kind}\0{nonce}".encode(), hashlib.sha256).hexdigest()


class Guesses:
    """Count wrong passwords by address, in memory: enough against guessing, forgotten at a restart."""

    def __init__(self) -> None:
        self._wrong: OrderedDict[str, deque[float]] = OrderedDict()
        self._lock = threading.Lock()

    def wait(self, address: str) -> int:
        """Return how many seconds this address must wait before it may guess again, 0 when it may."""
        with self._lock:
            times = self._recent(address)
            return 0 if len(times) < _WRONG_GUESSES else max(1, int(times[0] + _GUESS_SECONDS - time.monotonic()))

    def wrong(self, address: str) -> None:
        """Remember a wrong guess."""
        with self._lock:
            times = self._recent(address)
            times.append(time.monotonic())
            self._wrong[address] = times
            self._wrong.move_to_end(address)
            while len(self._wrong) > _ADDRESSES:
                self._wrong.popitem(last=False)

    def right(self, address: str) -> None:
        """Forget an address's wrong guesses."""
        with self._lock:
            self._wrong.pop(address, None)

    def _recent(self, address: str) -> deque[float]:
        times = self._wrong.get(address, deque())
        while times and times[0] <= time.monotonic() - _GUESS_SECONDS:
            times.popleft()
        return times
