"""What all stages have in common: claim, handle, complete; retry what fails, and let no failure stop the others."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from serving.effects import hop_of
from serving.errors import BrokerUnavailable, Refused, Temporary
from serving.pipeline import Outcome, Stage, Unfunded, kind
from serving.queue.client import Client
from serving.queue.lease import Lease

MAX_FAILURES = 8
VISIBILITY = 120.0

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


Handler = Callable[[Work], Awaitable[Outcome]]
"""A stage's work. It raises Temporary for what may succeed later; any other exception counts as a failure."""

Shortfall = Callable[[Work], Unfunded]
"""What to wait for, and until when, where the wallet does not cover the hold."""


async def serve(
    stage: Stage, client: Client, handle: Handler, *, concurrency: int = 8, unfunded: Shortfall | None = None
) -> None:
    """Work for the stage until cancelled, on at most `concurrency` notifications at once."""
    async with asyncio.TaskGroup() as tasks:
        async for lease in client.consume(stage.value, credit=concurrency, visibility=VISIBILITY):
            tasks.create_task(_work(lease, handle, unfunded))


async def _work(lease: Lease, handle: Handler, unfunded: Shortfall | None) -> None:
    keeper = asyncio.create_task(_keep(lease))
    try:
        await _attempt(lease, handle, unfunded)
    except Refused as refused:
        if refused.reason != "lease_lost":
            _log.error("notification %d: %s", lease.id, refused)
            cause = f"refused: {refused.reason}"
            await _until_known(lambda: lease.retry(backoff(lease.attempt), cause))
    finally:
        keeper.cancel()


async def _attempt(lease: Lease, handle: Handler, unfunded: Shortfall | None) -> None:
    work = work_of(lease)
    try:
        outcome = await handle(work)
    except Temporary as temporary:
        delay = backoff(lease.attempt) if temporary.retry_after is None else temporary.retry_after
        cause = str(temporary)
        await _until_known(lambda: lease.retry(delay, cause))
    except BrokerUnavailable:
        await _until_known(lambda: lease.retry(1.0, "the broker was away"))
    except Exception as error:
        await _fail(lease, error)
    else:
        await _complete(lease, work, outcome, unfunded)


async def _complete(lease: Lease, work: Work, outcome: Outcome, unfunded: Shortfall | None) -> None:
    try:
        await _until_known(
            lambda: lease.complete(kind(type(outcome)), hop_of(outcome, work.id, work.recipient, work.facts))
        )
    except Refused as refused:
        if refused.reason != "insufficient_funds" or unfunded is None:
            raise
        waiting = hop_of(unfunded(work), work.id, work.recipient, work.facts)
        await _until_known(lambda: lease.complete(kind(Unfunded), waiting))


async def _fail(lease: Lease, error: Exception) -> None:
    """A failure nobody foresaw: its type and place are logged, never its text, which may quote the mail."""
    place = _place(error)
    _log.error("notification %d failed at %s, attempt %d: %s", lease.id, place, lease.attempt, type(error).__name__)
    cause = f"{type(error).__name__} at {place}"
    if lease.attempt >= MAX_FAILURES:
        await _until_known(lambda: lease.dead(cause))
    else:
        await _until_known(lambda: lease.retry(backoff(lease.attempt), cause))


async def _until_known(verb: Callable[[], Awaitable[None]]) -> None:
    """Repeat the verb until the broker has answered it: the fence makes a second time harmless."""
    while True:
        try:
            await verb()
        except BrokerUnavailable:
            await asyncio.sleep(0.2)
        else:
            return


async def _keep(lease: Lease) -> None:
    """Extend the lease for as long as the work goes on."""
    while True:
        await asyncio.sleep(VISIBILITY / 3)
        try:
            await lease.extend(VISIBILITY)
        except BrokerUnavailable:
            continue
        except Refused:
            return


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
