"""What all stages have in common: claim, handle, complete; retry what fails, and let no failure stop the others."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from serving.effects import hop_of
from serving.errors import BrokerUnavailable, Refused, Temporary
from serving.insisting import insist
from serving.outages import Outages
from serving.pipeline import Outcome, Stage, kind
from serving.queue.client import Client
from serving.queue.lease import Lease

MAX_FAILURES = 8
VISIBILITY = 120.0
LONGEST_PAUSE = 3600.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Work:
    """One notification at one stage. `accepted_at` is seconds since the epoch, `attempt` is 1 on the first claim.

    `body` is the sealed message, for delivery the sealed envelope, for payment and settlement empty. `note` appends an
    event, merges facts, and returns after the commit.
    """

    id: int
    message_id: int
    ordinal: int
    attempt: int
    recipient: bytes
    address: bytes
    principal: str
    facts: Mapping[str, Any]
    body: bytes
    accepted_at: float
    note: Callable[[str, Mapping[str, Any]], Awaitable[None]]
    urgent: bool = False


Handler = Callable[[Work], Awaitable[Outcome]]
"""A stage's work. It raises Temporary for what may succeed later; any other exception counts as a failure."""

Shortfall = Callable[[Work], Awaitable[Outcome]]
"""What becomes of it where the account does not cover what the handler's outcome takes from it."""


@dataclass(frozen=True, slots=True)
class _Stand:
    """A stage, what works there, and the leases that are worked on by id and fence."""

    stage: Stage
    handle: Handler
    unfunded: Shortfall | None
    outages: Outages
    leases: dict[tuple[int, int], Lease] = field(default_factory=dict)


async def serve(
    stage: Stage,
    client: Client,
    handle: Handler,
    *,
    concurrency: int = 8,
    octets: int | None = None,
    unfunded: Shortfall | None = None,
) -> None:
    """Work for the stage until cancelled or the client is closed, on at most `concurrency` notifications at once, and
    on one at least, but on no more while their bodies have `octets`."""
    stand = _Stand(stage, handle, unfunded, Outages(stage))
    working: set[asyncio.Task[None]] = set()
    async with asyncio.TaskGroup() as tasks:
        keeper = tasks.create_task(_keep(stand.leases))
        leases = client.consume(stage.value, credit=concurrency, visibility=VISIBILITY, octets=octets)
        async for lease in leases:
            task = tasks.create_task(_work(stand, lease))
            working.add(task)
            task.add_done_callback(working.discard)
        for task in (keeper, *working):  # the client was closed: nothing can be completed any more
            task.cancel()


async def _work(stand: _Stand, lease: Lease) -> None:
    """Whatever happens to one notification, the others go on."""
    name = lease.id, lease.fence
    stand.leases[name] = lease
    try:
        await _attempt(stand, lease)
    except Refused as refused:
        _log.warning("notification %d: %s", lease.id, refused)
    except Exception as error:
        _log.error(
            "notification %d was left to its lease's end at %s: %s", lease.id, _place(error), type(error).__name__
        )
    finally:
        stand.leases.pop(name, None)


async def _attempt(stand: _Stand, lease: Lease) -> None:
    work = work_of(lease)
    try:
        await _complete(lease, stand.unfunded, work, await stand.handle(work))
    except Temporary as temporary:
        stand.outages.tell(temporary)
        delay = backoff(lease.attempt) if temporary.retry_after is None else temporary.retry_after
        await _retry(lease, delay, str(temporary) if temporary.is_told else "")
    except BrokerUnavailable:
        await _retry(lease, 1.0, "the broker was away")
    except Refused as refused:
        await _refused(stand.stage, lease, refused)
    except Exception as error:
        place = _place(error)
        _log.error("notification %d failed at %s: %s", lease.id, place, type(error).__name__)
        await _fail(stand.stage, lease, f"{type(error).__name__} at {place}")


async def _complete(lease: Lease, unfunded: Shortfall | None, work: Work, outcome: Outcome) -> None:
    try:
        await insist(lambda: lease.complete(kind(type(outcome)), hop_of(outcome, work.id, work.recipient, work.facts)))
    except Refused as refused:
        if refused.reason != "insufficient_funds" or unfunded is None:
            raise
        instead = await unfunded(work)
        hop = hop_of(instead, work.id, work.recipient, work.facts)
        await insist(lambda: lease.complete(kind(type(instead)), hop))


async def _refused(stage: Stage, lease: Lease, refused: Refused) -> None:
    """A lost lease is somebody else's, a failing store passes; any other refusal would come again for ever."""
    if refused.reason == "lease_lost":
        _log.info("notification %d: its lease was lost", lease.id)
    elif refused.reason == "storage":
        await _retry(lease, backoff(lease.attempt), "the store failed")
    else:
        _log.error("notification %d: %s", lease.id, refused)
        await _fail(stage, lease, f"refused: {refused.reason}")


async def _fail(stage: Stage, lease: Lease, cause: str) -> None:
    """A failure nobody foresaw; its text may quote the mail, so `cause` is type and place. The eighth is the last."""
    failures = failures_at(stage, lease.facts) + 1
    if failures >= MAX_FAILURES:
        await _give_up(lease, cause)
        return
    try:
        await insist(lambda: lease.note("failed", {"failed": [stage.value, failures]}))
    except Refused as refused:
        if refused.reason != "too_large":
            raise
        failures = lease.attempt  # what cannot be written down is counted by claims
        if failures >= MAX_FAILURES:
            await _give_up(lease, cause)
            return
    await _retry(lease, backoff(failures), cause)


async def _give_up(lease: Lease, cause: str) -> None:
    """The end, but for what was delivered already: its money has to follow, however long that takes."""
    try:
        await insist(lambda: lease.dead(cause))
    except Refused as refused:
        if refused.reason != "incomplete":
            raise
        await _retry(lease, LONGEST_PAUSE, cause)


def failures_at(stage: Stage, facts: Mapping[str, Any]) -> int:
    """How often it failed at this stage; waiting for something that is away does not count."""
    where, count = facts.get("failed", ("", 0))
    return int(count) if where == stage.value else 0


async def _retry(lease: Lease, delay: float, cause: str) -> None:
    await insist(lambda: lease.retry(delay, cause))


async def _keep(leases: dict[tuple[int, int], Lease]) -> None:
    """Extend the leases for as long as the work on them goes on: each before a third of its time is over."""
    while True:
        await asyncio.sleep(VISIBILITY / 3)
        await asyncio.gather(*(_extend(leases, lease) for lease in list(leases.values())))


async def _extend(leases: dict[tuple[int, int], Lease], lease: Lease) -> None:
    try:
        await lease.extend(VISIBILITY)
    except BrokerUnavailable:
        return
    except Refused as refused:
        if refused.reason == "lease_lost":
            leases.pop((lease.id, lease.fence), None)


def work_of(lease: Lease) -> Work:
    """The lease as a handler sees it."""
    return Work(
        id=lease.id,
        message_id=lease.message_id,
        ordinal=lease.ordinal,
        attempt=lease.attempt,
        recipient=lease.recipient,
        address=lease.address,
        principal=lease.principal,
        facts=lease.facts,
        body=lease.body,
        accepted_at=lease.accepted_at,
        note=lease.note,
        urgent=lease.urgent,
    )


def backoff(attempt: int) -> float:
    """Seconds before the next try: 0.5 s doubling to a minute, with full jitter above the half."""
    ceiling = min(60.0, 0.5 * 2.0 ** min(attempt, 10))
    return ceiling * (0.5 + random.random() / 2)  # noqa: S311 - jitter needs no secrecy


def _place(error: Exception) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "?" if trace is None else f"{trace.tb_frame.f_code.co_qualname}:{trace.tb_lineno}"
