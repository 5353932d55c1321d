"""A persistent way to one provider, which knows of each call whether it began to leave."""

from __future__ import annotations

import logging
import socket
import ssl
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

from winback import __version__
from winback.gateways.http_sms.answer import Reply
from winback.gateways.http_sms.calls import Call

#: More of an answer is not read.
_LIMIT = 65_536

# Its debug lines hold whole addresses, and of providers that are called by GET the password with them.
logging.getLogger("urllib3.connectionpool").setLevel(logging.INFO)


class NotSentError(Exception):
    """No byte of the call has left; the text says why, in words without secrets."""


class NoAnswerError(Exception):
    """The call left, and no answer came; the text says why, in words without secrets."""


class Wire:
    """Calls a provider over connections that stay open between calls. Used by one thread."""

    def __init__(self, *, connect_timeout: timedelta, read_timeout: timedelta, ca_file: str | None) -> None:
        self._timeouts = (connect_timeout.total_seconds(), read_timeout.total_seconds())
        self._verify: bool | str = ca_file or True
        self._before: Callable[[], None] = _nothing
        self._left = False
        self._refusal: BaseException | None = None
        self._session = requests.Session()
        self._session.headers["User-Agent"] = f"winback/{__version__}"
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, _Adapter(self._leaving))

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def call(self, call: Call, before: Callable[[], None] | None = None) -> Reply:
        """Make a call and return its answer; `before` is called when the connection stands and before the first byte leaves.

        Raise NotSentError or NoAnswerError. Redirects are not followed, nothing is tried twice.
        """
        self._before = before or _nothing
        self._left = False
        self._refusal = None
        try:
            response = self._session.request(
                call.method,
                call.url,
                # Header values as bytes: requests would write text as Latin-1.
                headers={name: value.encode() for name, value in call.headers.items()},
                data=call.body,
                timeout=self._timeouts,
                verify=self._verify,
                allow_redirects=False,
                stream=True,
                auth=_as_it_is,
            )
        except (requests.RequestException, OSError, ValueError) as error:
            if self._refusal is not None:
                raise self._refusal from None
            words = self._words(error, call.url)
            raise (NoAnswerError(words) if self._left else NotSentError(words)) from None
        with response:
            body, whole = _read(response)
        return Reply(response.status_code, dict(response.headers), body, whole)

    def _leaving(self) -> None:
        try:
            self._before()
        except BaseException as error:
            self._refusal = error  # the caller's own trouble, not the line's
            raise
        self._left = True

    def _words(self, error: BaseException, url: str) -> str:
        """Say what went wrong. The library's own text is never used: it quotes the address with all its parameters."""
        host = urlsplit(url).hostname or "the provider"
        connect, read = self._timeouts
        for cause in _causes(error):
            if isinstance(cause, socket.gaierror):
                return f"the name {host} is not known to the DNS"
            if isinstance(cause, ssl.SSLCertVerificationError):
                return f"the certificate of {host} is not to be trusted: {cause.verify_message}"
            if isinstance(cause, ssl.SSLError):
                return f"no encrypted connection to {host}: {cause.reason or 'the handshake failed'}"
            if isinstance(cause, ConnectionRefusedError):
                return f"{host} refuses connections"
            if isinstance(cause, TimeoutError | requests.Timeout):
                return f"{host} did not answer in {read:g} s" if self._left else f"no connection to {host} in {connect:g} s"
        if self._left:
            return f"{host} closed the connection without an answer"
        if isinstance(error, OSError) and error.strerror:
            return f"no connection to {host}: {error.strerror}"
        return f"no call to {host} could be made ({type(error).__name__})"


class _Adapter(HTTPAdapter):
    """Has connections that tell when they are about to send a request."""

    def __init__(self, leaving: Callable[[], None]) -> None:
        self._pools = _pools(leaving)
        super().__init__(pool_connections=2, pool_maxsize=1)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(*args, **kwargs)
        manager.pool_classes_by_scheme = self._pools
        return manager


def _pools(leaving: Callable[[], None]) -> dict[str, type[HTTPConnectionPool]]:
    class Plain(HTTPConnection):
        def request(self, *args: Any, **kwargs: Any) -> None:
            if self.sock is None:
                self.connect()
            leaving()
            super().request(*args, **kwargs)

    class Encrypted(HTTPSConnection):
        def request(self, *args: Any, **kwargs: Any) -> None:
            if self.sock is None:
                self.connect()
            leaving()
            super().request(*args, **kwargs)

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class EncryptedPool(HTTPSConnectionPool):
        ConnectionCls = Encrypted

    return {"http": PlainPool, "https": EncryptedPool}


def _read(response: requests.Response) -> tuple[bytes, bool]:
    body = b""
    try:
        for chunk in response.iter_content(8192):
            body += chunk
            if len(body) >= _LIMIT:
                return body[:_LIMIT], True
    except (requests.RequestException, OSError):
        return body, False
    return body, True


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and everything that it wraps; requests and urllib3 put causes into several places."""
    seen: list[BaseException] = []
    todo: list[object] = [error]
    while todo and len(seen) < 20:
        each = todo.pop(0)
        if not isinstance(each, BaseException) or any(each is one for one in seen):
            continue
        seen.append(each)
        yield each
        todo += [*each.args, getattr(each, "reason", None), each.__cause__, each.__context__]


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Stand for the authentication: without one, requests would take a password from ~/.netrc."""
    return request


def _nothing() -> None:
    """Do nothing."""
