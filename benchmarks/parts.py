"""Parts of a letter by themselves, winback's own beside the library that would do: why each piece of own code is there.

Times are of the CPU, the least of many rounds, so that other programs on the machine disturb little.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from email.message import EmailMessage
from email.policy import SMTP
from importlib import import_module
from pathlib import Path
from uuid import uuid4

from itsdangerous import URLSafeSerializer
from sqlalchemy import Engine

from benchmarks import letter, ours
from winback import ledger
from winback.compose import LinkTarget, mime
from winback.compose.composer import Composer
from winback.compose.dkim import Signer
from winback.compose.dkim_keys import SigningKey, make_key, private_pem
from winback.compose.tokens import Clicks
from winback.dispatch.recipients import Addressee, load_recipients
from winback.gsm import count_segments
from winback.project import Project, load_project
from winback.store import Channel, open_engine, reading

_ROUNDS = 15
_LETTERS = 100
_LINKS = range(1, 41)


def main() -> int:
    """Measure, and print."""
    with tempfile.TemporaryDirectory(prefix="winback-bench-") as folder:
        root = Path(folder)
        ours.prepare(root, 25, _LETTERS)
        project = load_project(root, environ={})
        engine = open_engine(project.settings.database.url, root=root)
        print("µs each    part")
        for name, microseconds in (*_letters(project, engine), *_mime(), *_tokens(), *_signatures(), *_segments()):
            print(f"{microseconds:9.1f}  {name}")
        engine.dispose()
    return 0


def _best(work: Callable[[], object], times: int = 1) -> float:
    """Return the microseconds that one of `times` things takes, in the best of some rounds."""
    best = float("inf")
    for _ in range(_ROUNDS):
        begin = time.process_time()
        work()
        best = min(best, time.process_time() - begin)
    return best / times * 1e6


def _letters(project: Project, engine: Engine) -> Iterable[tuple[str, float]]:
    campaign = project.campaigns["wake"]
    step = campaign.steps[0]
    ids = [ledger.message_id("wake", f"C{number}", "o", step.name) for number in range(_LETTERS)]
    addressees = [Addressee(id_, campaign, step, number, None, Channel.EMAIL) for number, id_ in enumerate(ids, 1)]
    with reading(engine) as connection:
        recipients = load_recipients(connection, project, addressees, letter.NOW)
        yield (
            "a recipient with an order of 6 lines, read with 99 others",
            _best(lambda: load_recipients(connection, project, addressees, letter.NOW), _LETTERS),
        )
    numbers: dict[str, int] = {}

    def link_ids(targets: Iterable[LinkTarget]) -> list[int]:
        return [numbers.setdefault(target.url, len(numbers) + 1) for target in targets]

    for outlined, name in (
        (False, "a whole letter: rendered, styles inlined, links found and signed"),
        (True, "from an outline"),
    ):
        composer = Composer(project, outlined=outlined)

        def compose(composer: Composer = composer) -> None:
            for recipient in recipients.values():
                composer.compose(campaign, step, recipient, now=letter.NOW, link_ids=link_ids, shown=False)

        compose()
        yield name, _best(compose, _LETTERS)


def _mime() -> Iterable[tuple[str, float]]:
    html, text = (
        "<p>A quiet evening, pressed on vinyl — for you</p>\n" * 340,
        "A quiet evening, pressed on vinyl — for you\n" * 80,
    )

    def library() -> bytes:
        message = EmailMessage(policy=SMTP)
        message["From"], message["To"], message["Subject"] = "Half Note <hello@halfnote.example>", "a@example.com", "Hello"
        message.set_content(text)
        message.add_alternative(html, subtype="html")
        return message.as_bytes()

    own = mime.Letter(
        message_id=str(uuid4()),
        sender_name="Half Note",
        sender="hello@halfnote.example",
        recipient="a@example.com",
        reply_to=None,
        subject="Hello",
        text=text,
        html=html,
        date=letter.NOW,
        unsubscribe_url="https://halfnote.example/u/x",
        list_name="Half Note",
        list_label="marketing",
        feedback=("wake", "hello", "marketing"),
    )
    yield "MIME of 20 KB: email.message.EmailMessage", _best(library)
    yield "MIME of 20 KB: compose.mime, from strings", _best(lambda: mime.build(own))


def _tokens() -> Iterable[tuple[str, float]]:
    message_id, serializer = str(uuid4()), URLSafeSerializer("secret", salt="click")
    length = len(serializer.dumps([message_id, 40]))
    yield (
        f"40 link tokens of {length} characters: itsdangerous",
        _best(lambda: [serializer.dumps([message_id, n]) for n in _LINKS]),
    )
    clicks = Clicks(b"secret")
    length = len(clicks.sign(message_id, [40])[0])
    yield (
        f"40 link tokens of {length} characters: compose.tokens",
        _best(lambda: clicks.sign(message_id, _LINKS)),
    )


def _signatures() -> Iterable[tuple[str, float]]:
    from benchmarks.obvious import finished

    content = finished(20_480)
    key = make_key("halfnote.example", "bench", "rsa")
    try:
        dkim = import_module("dkim")

        pem = private_pem(key)
        yield (
            "DKIM, RSA-2048: dkimpy",
            _best(lambda: dkim.sign(content, b"bench", b"halfnote.example", pem, canonicalize=(b"relaxed", b"relaxed"))),
        )
    except ModuleNotFoundError:
        pass
    yield "DKIM, RSA-2048: compose.dkim", _signing(key, content)
    yield "DKIM, Ed25519: compose.dkim", _signing(make_key("halfnote.example", "bench", "ed25519"), content)


def _signing(key: SigningKey, content: bytes) -> float:
    signer = Signer([key])
    return _best(lambda: signer.sign(content, letter.NOW))


def _segments() -> Iterable[tuple[str, float]]:
    yield "segments of a text message of 300 characters", _best(lambda: [count_segments("Grüße " * 50) for _ in range(10)], 10)


if __name__ == "__main__":
    sys.exit(main())
