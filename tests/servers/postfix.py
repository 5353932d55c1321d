"""A real Postfix on loopback, with files of its own, that puts letters into a Maildir. It needs Debian's `postfix`, and root."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

#: What Postfix needs to take a letter by SMTP and to put it into a Maildir, with no service in a chroot.
_SERVICES = """\
127.0.0.1:{port} inet n - n - - smtpd
cleanup    unix  n - n - 0 cleanup
qmgr       unix  n - n 300 1 qmgr
rewrite    unix  - - n - - trivial-rewrite
bounce     unix  - - n - 0 bounce
defer      unix  - - n - 0 bounce
trace      unix  - - n - 0 bounce
proxymap   unix  - - n - - proxymap
virtual    unix  - n n - - virtual
error      unix  - - n - - error
retry      unix  - - n - - error
anvil      unix  - - n - 1 anvil
postlog    unix-dgram n - n - 1 postlogd
"""

_SETTINGS = """\
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
maillog_file = {folder}/log
maillog_file_prefixes = {folder}
myhostname = mx.example.com
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mydestination =
alias_maps =
local_recipient_maps =
virtual_mailbox_domains = example.com
virtual_mailbox_base = {folder}/mail
virtual_mailbox_maps = static:all/
virtual_uid_maps = static:{user.pw_uid}
virtual_gid_maps = static:{user.pw_gid}
"""


@dataclass(frozen=True)
class Postfix:
    """The running server: where it listens, and what it has delivered."""

    port: int
    maildir: Path

    def letters(self) -> list[bytes]:
        """Return what is in the Maildir, with the lines that the server put above each letter, and CRLF."""
        return [path.read_bytes().replace(b"\n", b"\r\n") for path in sorted(self.maildir.glob("new/*"))]


@contextmanager
def postfix() -> Iterator[Postfix]:
    """Run a Postfix; skip the test where there is none, except in CI."""
    reason = (
        "Debian's postfix is not here"
        if shutil.which("postfix") is None
        else "Postfix starts for root only"
        if os.getuid()
        else ""
    )
    if reason:
        assert not os.environ.get("CI"), reason
        pytest.skip(reason)
    # Its daemons, which are not root's, must reach it: folders of tests are closed to others.
    folder = Path(tempfile.mkdtemp(prefix="winback-postfix-"))
    try:
        folder.chmod(0o755)
        with _running(folder) as server:
            yield server
    finally:
        shutil.rmtree(folder)


@contextmanager
def _running(folder: Path) -> Iterator[Postfix]:
    owner, user = pwd.getpwnam("postfix"), pwd.getpwnam("nobody")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    conf = folder / "conf"
    for name in ("conf", "queue", "data", "mail"):
        (folder / name).mkdir()
    os.chown(folder / "data", owner.pw_uid, owner.pw_gid)
    os.chown(folder / "mail", user.pw_uid, user.pw_gid)
    (conf / "main.cf").write_text(_SETTINGS.format(folder=folder, user=user))
    (conf / "master.cf").write_text(_SERVICES.format(port=port))
    _control(conf, "start")
    try:
        yield Postfix(port, folder / "mail" / "all")
    finally:
        _control(conf, "stop")


def _control(conf: Path, command: str) -> None:
    done = subprocess.run(["postfix", "-c", conf, command], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
