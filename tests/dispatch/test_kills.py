"""`kill -9` at every point of a message's way, and anywhere else: nobody gets anything twice, nobody is forgotten.

Everything is real: passes and their SMTP engine in processes of their own, a mail server that knows who got what, both databases.
"""

from __future__ import annotations

import os
import random
import signal
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from sqlalchemy import select

from tests.dispatch.conftest import MakeHouse
from tests.dispatch.house import LETTER, House
from tests.nursery import Nursery, nursery
from tests.rows import add_order
from tests.servers.smtp import Answer, Event, SmtpServer, smtp_server
from winback.ledger import OPEN, is_edge
from winback.scheduler.standing import counts
from winback.store import customers, message_history, messages, reading, writing

CONNECTIONS = 3

RECIPIENTS = 200

#: What is in flight on a connection: a message that its server has not answered, and one whose answer is not written down yet.
IN_FLIGHT = 2 * CONNECTIONS


def name(number: int) -> str:
    return f"C{number:03}"


def address(number: int) -> str:
    return f"c{number:03}@example.com"


@pytest.fixture(scope="module")
def children() -> Iterator[Nursery]:
    with nursery() as started:
        yield started


class Reaper:
    """A mail server's script that kills a child when it has come to a point of the server's n-th message."""

    def __init__(self) -> None:
        self._verb = ""
        self._left = 0
        self._about: frozenset[str] | None = None
        self._child = 0
        self.killed_at: set[str] = set()  # whose messages they were
        self._known = threading.Event()
        self._lock = threading.Lock()
        self.usual: Callable[[Event], Answer] = lambda event: None

    def aim(self, verb: str, times: int, about: frozenset[str] | None = None) -> None:
        """Have the next child killed at a verb of the conversation, when it comes for the n-th time (`about` some recipients)."""
        with self._lock:
            self._verb, self._left, self._about = verb, times, about
            self._known.clear()

    def at(self, child: int) -> None:
        """Know who the next child is."""
        self._child = child
        self._known.set()

    def __call__(self, event: Event) -> Answer:
        with self._lock:
            if event.verb == self._verb and self._left and (self._about is None or event.recipient in self._about):
                self._left -= 1
                if not self._left:
                    self._known.wait()
                    self.killed_at.add(event.recipient)
                    os.kill(self._child, signal.SIGKILL)
        return self.usual(event)


@pytest.fixture
def reaper() -> Reaper:
    return Reaper()


@pytest.fixture
def server(reaper: Reaper) -> Iterator[SmtpServer]:
    with smtp_server(script=reaper, trickle=1e-6) as running:  # takes little in advance of what it reads
        yield running


@pytest.fixture
def served(make_house: MakeHouse, server: SmtpServer) -> House:
    """Give a shop that sends through the server."""
    relay = {
        "type": "smtp",
        "host": server.host,
        "port": server.port,
        "tls": "none",
        "hostname": "shop.example.com",
        "connections": CONNECTIONS,
    }
    return make_house(
        settings={
            "deliver": {"email": "relay"},
            "gateways": {"relay": relay},
            "web": {"public_url": "https://mail.halfnote.example"},
            "dispatch": {"batch": 40},
        },
        templates={
            # A few letters are so long that they do not leave in one piece.
            "wake.email.html": LETTER
            + "{% if customer.attributes.long is defined %}<p>{{ 'A long tale. ' * 15_000 }}</p>{% endif %}",
            "wake.sms.txt": "Hello. Reply STOP for no more\n",
        },
    )


#: Where it is killed, and who sees to that: the child itself at a point of its own, or the mail server at a word of theirs.
POINTS = {
    "before the claim": ("claim", (1, 4)),
    "after the claim": ("claimed", (1, 4)),
    "after MAIL": ("MAIL", (1, 77)),
    "after RCPT": ("RCPT", (1, 90)),
    "mid DATA": ("CONTENT", (1, 1)),
    "after the final dot, before its 250": ("END", (1, 101)),
    "after its 250, before the record": ("record", (1, 3)),
    "after the record": ("recorded", (1, 3)),
}


@pytest.mark.parametrize("point", POINTS)
def test_killed_at_a_point_nothing_is_lost_and_nothing_goes_twice(
    served: House, database_url: str, server: SmtpServer, reaper: Reaper, children: Nursery, point: str
) -> None:
    where, times = POINTS[point]
    numbers = range(10, RECIPIENTS, 90) if where == "CONTENT" else range(0)
    long = frozenset(map(address, numbers)) or None
    served.due_to(map(name, numbers), attributes={"long": True})
    served.due_to(name(number) for number in range(RECIPIENTS) if number not in numbers)
    by_itself = where.islower()
    for count in times:
        if not by_itself:
            reaper.aim(where, count, long)
        child = children.start(served.project.root, database_url, served.now, kill_at=(where, count) if by_itself else None)
        reaper.at(child)
        assert children.wait(child).killed
        check_the_books(served)
    ended = children.wait(children.start(served.project.root, database_url, served.now))
    assert (ended.signal, ended.errors) == (0, [])
    books = check_the_books(served)
    assert set(books) <= {"sent", "uncertain"}
    in_doubt = books.get("uncertain", set())
    assert len(in_doubt) <= (0 if by_itself else IN_FLIGHT * len(times))
    # A message whose content has not begun to leave cannot have arrived; one that the server has whole is in doubt.
    assert in_doubt >= reaper.killed_at if where == "END" else where == "CONTENT" or not in_doubt & reaper.killed_at
    got = Counter(message.recipient for message in server.messages)
    assert set(got.values()) == {1}
    assert books["sent"] <= set(got)
    assert books["sent"] | in_doubt == {address(number) for number in range(RECIPIENTS)}


#: On each database.
KILLS = 25


def test_killed_anywhere_and_at_any_time_the_numbers_always_add_up(
    served: House, database_url: str, server: SmtpServer, reaper: Reaper, children: Nursery
) -> None:
    """Some are refused, some have said no, some have ordered meanwhile, and every other moment somebody pulls the plug."""
    rng = random.Random(25)
    answers = ("550 5.7.1 not from you", "450 4.2.1 not now")
    refused = {address(number): answers[number % 2] for number in range(0, 1000, 13)}
    reaper.usual = lambda event: refused.get(event.recipient) if event.verb == "RCPT" else None
    planned = kills = 0
    children.rehearse(served.project.root, database_url, served.now)
    while kills < KILLS:
        for number in range(planned, planned + 10):
            person = served.person(name(number), email_marketing=number % 7 > 0, phone=None)
            if number % 11 == 5:
                with writing(served.engine) as connection:
                    add_order(connection, f"O{number}", person, served.now - timedelta(hours=1))
        served.due_to(map(name, range(planned, planned + 10)))
        planned += 10
        point = rng.choice(("time", "time", "time", "claim", "claimed", "record", "recorded", "MAIL", "RCPT", "CONTENT", "END"))
        count = rng.randrange(1, 250 if point == "time" else 2 if point.islower() else 6)
        kill_at = (point, count) if point.islower() else None
        reaper.aim(point, count)
        child = children.start(served.project.root, database_url, served.now, kill_at=kill_at)
        reaper.at(child)
        ended = children.wait(child)
        assert ended.killed or not ended.errors, (point, count, ended.errors)
        kills += ended.killed
        check_the_books(served, planned)
    reaper.aim("", 0)
    assert children.wait(children.start(served.project.root, database_url, served.now)).errors == []
    books = check_the_books(served, planned)
    assert books["planned"] <= {each for each, reply in refused.items() if reply.startswith("450")}
    assert all(books[state] for state in ("planned", "sent", "failed", "skipped", "cancelled"))
    got = Counter(message.recipient for message in server.messages)
    assert set(got.values()) == {1}
    assert books["sent"] <= set(got) <= books["sent"] | books["uncertain"]


def check_the_books(house: House, planned: int = RECIPIENTS) -> dict[str, set[str]]:
    """See to it that the numbers add up, and that every message came to its state by edges that there are.

    Return who is in which state, by address.
    """
    books: dict[str, set[str]] = defaultdict(set)
    with reading(house.engine) as connection:
        [counted] = counts(connection).values()
        query = select(messages.c.id, messages.c.state, customers.c.email)
        people = connection.execute(query.join(customers, customers.c.id == messages.c.customer_id)).all()
        paths: dict[str, list[tuple[str | None, str]]] = defaultdict(list)
        edges = select(message_history.c.message_id, message_history.c.from_state, message_history.c.to_state)
        for message_id, source, target in connection.execute(edges.order_by(message_history.c.id)):
            paths[message_id].append((source, target))
    ends = sum(counted.get(state, 0) for state in ("sent", "failed", "skipped", "uncertain", "cancelled"))
    assert planned == ends + sum(counted.get(state, 0) for state in OPEN) == len(people)
    for message_id, state, email in people:
        (before, first), *path = paths[message_id]
        assert before is None
        assert [source for source, _ in path] == [first, *(target for _, target in path)][:-1]
        assert all(is_edge(source, target) for source, target in path if source is not None)
        assert state == (path[-1][1] if path else first)
        books[state].add(email)
    return books
