"""Delivery as its sender knows of it: no mail to addresses that are none, and reports (RFC 3461, RFC 3464).

It runs around the stage's own work. A report is written before the outcome is, once for each kind, so that a crash
between the two writes no second one. It holds no private key for it: whom to tell lies in the envelope, sealed for
delivery alone, and what is written is sealed with the public content key.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from serving.delivery.parcel import open_parcel
from serving.errors import Temporary
from serving.identifiers import format_id
from serving.insisting import insist
from serving.origin import Action
from serving.pipeline import Outcome, Sent, Undeliverable
from serving.reports import NOT_SENT, Report, sealed_report, status_of
from serving.sealing import SealingKey, UnsealingKey
from serving.stage import Handler, Work
from serving.suppressing import is_gone

SUPPRESSED = f"{NOT_SENT}, the address is suppressed: "

_log = logging.getLogger(__name__)


class Store(Protocol):
    """What this asks of the broker."""

    async def query(self, name: str, /, **parameters: Any) -> list[dict[str, Any]]: ...

    async def execute(self, name: str, /, **parameters: Any) -> dict[str, Any]: ...


@dataclass(frozen=True, slots=True)
class Terms:
    """Our own address; for how many seconds delivery tries, after how many a delay is told, and for how many nothing is
    sent to an address that is none. `remote` is the one server that all mail goes to, empty where there are many."""

    mail_from: str
    expiry: float
    delay: float
    suppression: float
    remote: str = ""


class Reporting:
    """A delivery that tells the sender of failure, delay, and of success where the sender asked for that."""

    def __init__(
        self,
        deliver: Handler,
        store: Store,
        envelopes: UnsealingKey,
        content: SealingKey,
        terms: Terms,
        clock: Callable[[], float],
    ) -> None:
        self._deliver = deliver
        self._store = store
        self._envelopes = envelopes
        self._content = content
        self._terms = terms
        self._clock = clock

    async def handle(self, work: Work) -> Outcome:
        """What delivery says; Undeliverable at once where the address is suppressed.

        Raises:
            Temporary: as delivery does.
            BrokerUnavailable: nobody can tell whether the address is suppressed.
        """
        try:
            outcome = await self._suppressed(work) or await self._deliver(work)
        except Temporary as failure:
            await self._tell_delay(work, str(failure))
            raise
        match outcome:
            case Undeliverable(reply):
                await self._suppress(work, reply)
                await self._tell(work, "failed", reply)
            case Sent(receipt) if receipt.relayed:
                await self._tell(work, "relayed", f"{receipt.code} {receipt.text}")
        return outcome

    async def _suppressed(self, work: Work) -> Undeliverable | None:
        rows = await self._store.query("suppressed", lookup=work.recipient.hex())
        return Undeliverable(f"{SUPPRESSED}{rows[0]['reason']}") if rows else None

    async def _suppress(self, work: Work, reply: str) -> None:
        """Where the receiver itself has said that there is no such mailbox; what is suppressed already runs out."""
        if reply.startswith(SUPPRESSED) or not is_gone(status_of(reply, "failed")):
            return
        parameters = {"lookup": work.recipient.hex(), "reason": reply, "seconds": self._terms.suppression}
        await insist(lambda: self._store.execute("suppress", **parameters))

    async def _tell_delay(self, work: Work, reply: str) -> None:
        since = work.facts.get("failing", {}).get("since")
        if since is not None and self._clock() >= since + self._terms.delay:
            await self._tell(work, "delayed", reply, until=since + self._terms.expiry)

    async def _tell(self, work: Work, action: Action, reply: str, *, until: float | None = None) -> None:
        """A report that cannot be written must not decide what becomes of the mail."""
        try:
            written = await asyncio.to_thread(self._written, work, action, reply, until)
            if written is not None:
                await insist(lambda: self._store.execute("report", **written))
        except Exception as error:
            _log.error("notification %d: no report that it is %s: %s", work.id, action, type(error).__name__)

    def _written(self, work: Work, action: Action, reply: str, until: float | None) -> dict[str, Any] | None:
        parcel = open_parcel(self._envelopes.unseal(work.body))
        origin = parcel.origin
        if origin is None or not origin.wants(action):
            return None
        report = Report(
            format_id(work.id),
            action,
            reply,
            arrived=_date(work.accepted_at),
            at=_date(self._clock()),
            until=None if until is None else _date(until),
            remote="" if NOT_SENT in reply else self._terms.remote,
        )
        sealed = sealed_report(
            origin, parcel.rcpt_to, report, self._terms.mail_from, parcel.mail, work.facts, self._content
        )
        return {"about": str(work.id), "action": action, **sealed}


def _date(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)
