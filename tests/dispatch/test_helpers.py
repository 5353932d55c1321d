"""Several processes send at once: each message goes once, whoever dies, and whenever they are told to stop."""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace

import pytest

from tests.dispatch.conftest import MakeHouse
from tests.dispatch.house import House
from tests.servers.smtp import Answer, Event, Hang, SmtpServer, smtp_server
from winback.dispatch import DispatchResult, Helpers
from winback.project import Project
from winback.secrets import Secret

COUNT = 90

Script = Callable[[Event], Answer]


@pytest.fixture
def helpers() -> Iterator[Helpers]:
    with closing(Helpers("test")) as opened:
        yield opened


class Told:
    """A mail server's script that does something when the n-th message has come, and answers nobody while it `hangs`."""

    def __init__(self, at: int, do: Callable[[], None], *, hangs: bool = False) -> None:
        self._left = at
        self._do = do
        self._hangs = hangs
        self._lock = threading.Lock()

    def __call__(self, event: Event) -> Answer:
        if event.verb != "END":
            return None
        with self._lock:
            self._left -= 1
            if self._left == 0:
                self._do()
            return Hang(keep=True) if self._hangs and self._left <= 0 else None


@pytest.fixture
def project_of(database_url: str) -> Callable[[House], Project]:
    """Give a function that returns a shop as another process finds its database."""

    def find(house: House) -> Project:
        database = house.project.settings.database.model_copy(update={"url": database_url})
        return replace(house.project, settings=house.project.settings.model_copy(update={"database": database}))

    return find


def _house(make_house: MakeHouse, server: SmtpServer) -> House:
    relay = {"type": "smtp", "host": server.host, "port": server.port, "tls": "none", "hostname": "shop.example.com"}
    return make_house(
        settings={
            "deliver": {"email": "relay"},
            "gateways": {"relay": relay},
            "web": {"public_url": "https://mail.halfnote.example"},
            "dispatch": {"batch": 15, "processes": 2},
        }
    )


def _received(server: SmtpServer) -> Counter[str]:
    return Counter(message.recipient for message in server.messages)


@pytest.mark.parametrize("backend", ["postgresql"])
def test_one_that_dies_is_replaced_and_told_to_stop_each_finishes_what_it_has_on_the_wire(
    make_house: MakeHouse, helpers: Helpers, project_of: Callable[[House], Project]
) -> None:
    told = threading.Event()
    with smtp_server(script=Told(20, lambda: os.kill(helpers.pids[0], signal.SIGKILL))) as server:
        house = _house(make_house, server)
        house.due(COUNT)
        result = helpers.dispatch(house.engine, project_of(house), clock=lambda: house.now, at=house.now)
        assert house.states().keys() <= {"sent", "uncertain"}
        assert set(_received(server).values()) == {1}
        assert house.states()["sent"] <= len(_received(server))
        assert result.errors == ["a dispatcher died (signal 9); what it held was settled by its journal"]
        assert result.counted == result.taken
        # The next time, with the processes that are there, all is well until somebody wants to stop.
        before, had, there = house.states(), len(server.messages), helpers.pids
        house.due(COUNT)
        server.behaviour.script, server.behaviour.slow = Told(8, told.set), 0.01
        result = helpers.dispatch(house.engine, project_of(house), clock=lambda: house.now, at=house.now, stop=told.is_set)
        assert (result.errors, helpers.pids) == ([], there)
        assert 8 <= result.sent < COUNT
        assert len(server.messages) - had == result.sent
        assert house.states() == {**before, "sent": before["sent"] + result.sent, "planned": COUNT - result.sent}
    # A service manager tells every process of a service to end.
    [one] = [process for process in multiprocessing.active_children() if process.pid == there[0]]
    one.terminate()
    one.join(60)
    assert one.exitcode == 0


@pytest.mark.parametrize("backend", ["sqlite"])
def test_killed_because_they_do_not_stop_they_leave_nothing_in_hand(
    make_house: MakeHouse, helpers: Helpers, project_of: Callable[[House], Project]
) -> None:
    hanging = threading.Event()
    with smtp_server(script=Told(8, hanging.set, hangs=True)) as server:
        house = _house(make_house, server)
        house.due(COUNT)
        results: list[DispatchResult] = []

        def send() -> None:
            project = project_of(house)
            results.append(helpers.dispatch(house.engine, project, clock=lambda: house.now, at=house.now, stop=hanging.is_set))

        thread = threading.Thread(target=send)
        thread.start()
        assert hanging.wait(60)
        assert helpers.kill()
        thread.join(60)
        [result] = results
        assert result.errors == []
        states = house.states()
        assert states.keys() <= {"sent", "planned", "uncertain"}
        assert sum(states.values()) == COUNT
        assert states["uncertain"] >= 1
        assert set(_received(server).values()) == {1}
        assert not list((house.project.var / "dispatch").iterdir())


@pytest.mark.parametrize("backend", ["sqlite"])
def test_a_handful_is_sent_right_here(make_house: MakeHouse, helpers: Helpers) -> None:
    house = make_house(settings={"dispatch": {"batch": 5, "processes": 4}})
    house.due(5)
    assert helpers.dispatch(house.engine, house.project, clock=lambda: house.now).sent == 5
    assert helpers.pids == []


@pytest.mark.parametrize("backend", ["sqlite"])
def test_where_no_process_can_be_started_the_daemon_sends_alone(
    make_house: MakeHouse, helpers: Helpers, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = make_house(settings={"dispatch": {"batch": 5, "processes": 4}})
    house.due(12)

    def full(_: int) -> None:
        raise OSError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(helpers, "_start", full)
    result = helpers.dispatch(house.engine, house.project, clock=lambda: house.now)
    assert (result.sent, house.states()) == (12, {"sent": 12})
    assert result.errors == ["no more dispatchers can be started: Resource temporarily unavailable"]


def test_what_two_did_is_added_up() -> None:
    one, other = DispatchResult(taken=3, sent=1), DispatchResult(taken=2, sent=2)
    one.skipped["late"] += 2
    for each in (one, other):
        each.complain("the same trouble")
    other.skipped["late"] += 0
    one.add(other)
    assert (one.taken, one.sent, one.skipped["late"], one.errors, one.counted) == (5, 3, 2, ["the same trouble"], 5)


def test_a_secret_of_the_environment_is_looked_up_where_it_is_used() -> None:
    import pickle

    secret = Secret.from_env("HOME", os.environ)
    sent = pickle.dumps(secret)
    assert secret.reveal().encode() not in sent
    assert pickle.loads(sent).reveal() == secret.reveal()
