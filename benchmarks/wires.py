"""Where the letters go: Debian's smtp-sink, also behind a line that takes 10 ms each way, and smtp-source as the reference."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

_PATH = "/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin:/opt/homebrew/sbin"

#: Seconds each way of the slow line.
DELAY = 0.010


def program(name: str) -> str | None:
    """Return where one of Postfix's test programs is, if it is installed."""
    return shutil.which(name, path=_PATH)


@contextmanager
def sink() -> Iterator[int]:
    """Give the port of a server that takes every letter and throws it away."""
    path = program("smtp-sink")
    if path is None:
        raise FileNotFoundError("smtp-sink is not installed (Debian: apt install postfix)")
    unprivileged = ["-u", "nobody"] if os.geteuid() == 0 else []  # it refuses to run as root
    with _serving([path, *unprivileged, "-m", "256", "127.0.0.1:{port}", "512"]) as port:
        yield port


@contextmanager
def slow_line(port: int) -> Iterator[int]:
    """Give a port that leads to another one over a line with 20 ms there and back."""
    with _serving([sys.executable, "-m", "benchmarks.wires", "{port}", str(port)]) as ours:
        yield ours


def source_rate(port: int, count: int) -> float:
    """Return what smtp-source sends in messages a second: 16 sessions, 20 KB."""
    path = program("smtp-source")
    if path is None:
        raise FileNotFoundError("smtp-source is not installed (Debian: apt install postfix)")
    command = [path, "-s", "16", "-l", "20480", "-m", str(count), "-f", "hello@halfnote.example"]
    begin = time.perf_counter()
    subprocess.run([*command, "-t", "person@example.com", f"127.0.0.1:{port}"], check=True, timeout=120, capture_output=True)
    return count / (time.perf_counter() - begin)


@contextmanager
def _serving(command: list[str]) -> Iterator[int]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    process = subprocess.Popen([re.sub(r"\{port\}", str(port), each) for each in command], stderr=subprocess.DEVNULL)
    try:
        _wait_for(port)
        yield port
    finally:
        process.terminate()
        process.wait(10)


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 15
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


async def _serve(port: int, target: int) -> None:
    async def joined(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", target)
        await asyncio.gather(_pump(reader, back), _pump(there, writer))

    async with await asyncio.start_server(joined, "127.0.0.1", port) as server:
        await server.serve_forever()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass bytes on, each as much later as the line is long; what follows does not wait for what went before."""
    loop = asyncio.get_running_loop()
    while True:
        try:
            chunk = await reader.read(65536)
        except OSError:
            chunk = b""
        if not chunk:
            loop.call_later(DELAY, writer.close)
            return
        loop.call_later(DELAY, writer.write, chunk)


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), int(sys.argv[2])))
