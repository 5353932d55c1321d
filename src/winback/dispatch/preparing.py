"""Compose the messages of a batch: recipients loaded together, links written together, each rendered on its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Engine, select

from winback.compose import Composed, LinkTarget, Recipient
from winback.compose.composer import Composer
from winback.dispatch.linking import LinkBook
from winback.dispatch.recipients import Addressee, load_recipients
from winback.dispatch.trial import addressed, labeled
from winback.errors import RenderError, SigningError
from winback.ledger import Claimed
from winback.policy import RuleName, step_of
from winback.project import Campaign, Project, Step
from winback.store import Channel, enrollments, reading, writing

#: Begins the reason of messages that could not be composed; the template's file and line follow, and nothing personal.
RENDER = "render"

#: Messages whose recipients are loaded together: few enough to keep in memory, and to know people as they are now.
_LOADED = 100

#: Messages composed together: some, because one after another takes a processor less than with SMTP in between; few enough that
#: the line does not wait for them. More while each of them brings new links.
_FEW, _MANY = 25, 50


@dataclass(frozen=True)
class Unrendered:
    """A message that cannot be composed: `reason` names the place, `detail` what is wrong there. Or one that must not go."""

    claim: Claimed
    reason: str
    detail: str


@dataclass(slots=True)
class Prepared:
    """A message that is ready to go; `redirected` says that somebody else gets it instead of its customer."""

    claim: Claimed
    message: Composed
    redirected: bool


class Preparer:
    """Composes messages of one shop; templates are compiled once, and links that were written are remembered."""

    def __init__(self, engine: Engine, project: Project) -> None:
        self._engine = engine
        self._project = project
        self._composer = Composer(project, outlined=True)
        self._links = LinkBook()
        self._together = _FEW

    def prepare(self, claims: Sequence[Claimed], now: datetime) -> Iterator[Prepared | Unrendered]:
        """Yield what becomes of each claim, in their order: the composed message, or why there is none."""
        for start in range(0, len(claims), _LOADED):
            with reading(self._engine) as connection:
                work = self._work(connection, claims[start : start + _LOADED], now)
            while work:
                some, work = work[: self._together], work[self._together :]
                yield from self._composed(some, now)

    def _composed(self, work: Sequence[_Work], now: datetime) -> list[Prepared | Unrendered]:
        done: dict[str, Prepared | Unrendered] = {}
        waiting = work
        # Letters that all lead to pages of their own: a transaction for each few would take longer than they do.
        self._together = _FEW
        while waiting:
            left = []
            for item in waiting:
                composed = self._compose(item, now)
                if composed is None:
                    left.append(item)
                else:
                    done[item.claim.id] = composed
            if left:
                with writing(self._engine) as connection:
                    self._links.write(connection)
                self._together = _MANY
            waiting = left
        return [done[item.claim.id] for item in work]

    def _work(self, connection: Connection, claims: Sequence[Claimed], now: datetime) -> list[_Work]:
        wanted = {(claim.campaign, claim.step) for claim in claims}
        steps = {key: step for key in wanted if (step := step_of(self._project, *key)) is not None}
        found = [(claim, *steps[claim.campaign, claim.step]) for claim in claims]
        about = [claim.enrollment_id for claim, campaign, _ in found if campaign.audience.about_an_order]
        order_ids: dict[int, int | None] = {}
        if about:
            query = select(enrollments.c.id, enrollments.c.order_id).where(enrollments.c.id.in_(about))
            order_ids = {row.id: row.order_id for row in connection.execute(query)}
        addressees = [
            Addressee(claim.id, campaign, step, claim.customer_id, order_ids.get(claim.enrollment_id), Channel(claim.channel))
            for claim, campaign, step in found
        ]
        recipients = load_recipients(connection, self._project, addressees, now)
        return [_Work(claim, campaign, step, recipients[claim.id]) for claim, campaign, step in found]

    def _compose(self, item: _Work, now: datetime) -> Prepared | Unrendered | None:
        """Return the message, or why there is none; None when its links have to be written first."""
        claim = item.claim
        recipient = addressed(item.recipient, self._project.staging)
        if recipient is None:
            # Asked last of all: the rules may have seen another address.
            return Unrendered(claim, RuleName.NOT_ALLOWED, "")
        unwritten = False

        def link_ids(targets: Sequence[LinkTarget]) -> list[int]:
            nonlocal unwritten
            ids = self._links.ids(claim.campaign, claim.step, targets)
            unwritten = 0 in ids
            return ids

        try:
            composed = self._composer.compose(
                item.campaign, item.step, recipient, variant=claim.variant, now=now, link_ids=link_ids, shown=False
            )
        except RenderError as error:
            where = f"{error.file}:{error.line}" if error.file and error.line else str(error.file or item.campaign.path.name)
            return Unrendered(claim, f"{RENDER} {where}", f"{error.problem} ({error.remedy})" if error.remedy else error.problem)
        except SigningError:
            raise  # of no letter in particular: they wait until the key is there again
        except Exception as error:  # whatever one message's values provoke, the others go
            return Unrendered(claim, f"{RENDER} {type(error).__name__}", "")
        if unwritten:
            return None
        redirected = recipient.address != item.recipient.address
        return Prepared(claim, labeled(composed, item.recipient) if redirected else composed, redirected)


@dataclass(slots=True)
class _Work:
    """One message to compose."""

    claim: Claimed
    campaign: Campaign
    step: Step
    recipient: Recipient
