"""The pages as the daemon serves them: the web application on a server in a thread of its own."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING

from winback.errors import InputError

if TYPE_CHECKING:
    from winback.project import Project
    from winback.project.watch import ShopFiles

#: How long requests in hand may take when the server is told to stop, in seconds.
_LAST_REQUESTS = 3


class Pages:
    """Serves the pages and what customers' links lead to. The address is taken when it is made, so that trouble shows at once."""

    def __init__(self, project: Project, files: ShopFiles) -> None:
        """Raise InputError when the address is taken, or open to the network without a password."""
        import uvicorn

        from winback.web.app import create_app
        from winback.web.security import require_safe_binding

        web = project.settings.web
        require_safe_binding(project.settings)
        self._listener = _listen(web.host, web.port)
        try:
            app = create_app(project.root, files=files)
        except BaseException:
            self._listener.close()
            raise
        self.port: int = self._listener.getsockname()[1]
        host = f"[{web.host}]" if ":" in web.host else web.host
        self.address = f"http://{host}:{self.port}"
        config = uvicorn.Config(
            app,
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            ws="none",
            timeout_graceful_shutdown=_LAST_REQUESTS,
        )
        self._server = uvicorn.Server(config)
        # In a thread of its own uvicorn leaves the signals to us.
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._listener]}, name="pages", daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Say whether the server runs."""
        return self._thread.is_alive()

    def close(self) -> None:
        """Take no new requests."""
        self._server.should_exit = True

    def wait(self, seconds: float) -> bool:
        """Wait until the last requests are answered; return whether they were."""
        self._thread.join(seconds)
        return not self._thread.is_alive()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=512)
    except OSError as error:
        raise InputError(
            f"the pages cannot be served at {host}:{port}: {error.strerror}",
            "another daemon may run already: winback status; or take another port: winback daemon --port 8026, or --no-web",
        ) from error
