"""What the public API does: accept mail, tell where it is, take reactions, classify."""

import asyncio
import hashlib
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, TypeAdapter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from serving.addresses import canonical_address
from serving.errors import BrokerUnavailable
from serving.gateway.guard import QUESTIONS
from serving.gateway.limits import Lockouts, Rates
from serving.gateway.machine_payments import MachinePayments
from serving.gateway.mail import Question
from serving.gateway.principals import Directory, Limits, Principal, Principals, Tokens
from serving.gateway.problems import NOT_FOUND, Problem, problem
from serving.gateway.relays import came_by, stamped
from serving.gateway.submission import Draft, parse_json, read_body, read_draft
from serving.gateway.uses import Uses
from serving.gateway.webhooks import Webhooks
from serving.identifiers import format_id, parse_id
from serving.money import wallet_of_sender
from serving.payment.statement import LATEST, line_of, movements
from serving.queue.client import Accepted, Recipient, Submission
from serving.sealing import LookupKey, SealingKey
from serving.values import Prediction
from serving.web.statement import as_csv

LONGEST_KEY = 255

Judge = Callable[[Sequence[Question], bool], Awaitable[Sequence[Prediction]]]
"""Predictions for questions, in order; the flag says whether the history of the people named may be read."""


class Broker(Directory, Protocol):
    """What the API needs of the broker's client."""

    async def accept(self, submission: Submission) -> Accepted: ...
    async def execute(self, name: str, /, **parameters: Any) -> dict[str, Any]: ...


class Feedback(BaseModel):
    """What a recipient did with a notification."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["acknowledged", "not_urgent", "was_urgent"]


@dataclass(frozen=True, slots=True)
class Keys:
    """All the gateway holds: it can seal and look up, and open nothing."""

    content: SealingKey
    lookup: LookupKey


class Api:
    """The work behind the routes; times and ids come in, so that a test can hold them still.

    `limit` is the largest mail in octets; `domain` is where Message-IDs come from.
    """

    def __init__(
        self,
        broker: Broker,
        keys: Keys,
        judge: Judge,
        *,
        limit: int,
        domain: str,
        clock: Callable[[], float] = time.time,
        make_id: Callable[[], str] = lambda: uuid.uuid4().hex,
        webhooks: Webhooks | None = None,
        payments: MachinePayments | None = None,
        tokens: Tokens | None = None,
        limits: Limits | None = None,
    ) -> None:
        self._broker = broker
        self._keys = keys
        self._judge = judge
        self._limit = limit
        self._domain = domain
        self._clock = clock
        self._make_id = make_id
        self.uses = Uses(broker, clock)
        limits = limits or Limits(Rates(0.0, 1, time.monotonic), Lockouts(time.monotonic))
        self._principals = Principals(broker, clock, limits=limits, uses=self.uses, tokens=tokens)
        self._webhooks = webhooks
        self._payments = payments

    async def notify(self, request: Request) -> Response:
        """202 with the ids, once the store has committed; 402 where a paying sender's wallet does not cover it."""
        principal = await self._principals.of(request)
        key = _idempotency_key(request)
        trace = came_by(request) if principal.relays else None
        draft = await read_draft(request, self._limit, now=self._clock(), make_id=self._new_message_id)
        await self._principals.check_again(request)
        if trace is not None:
            draft = stamped(draft, trace, by=self._domain, now=datetime.fromtimestamp(self._clock(), UTC))
        paid: dict[str, str] = {}
        if self._payments is not None:
            paid = await self._payments.admit(request, principal.id, len(draft.recipients), key)
        submission = await asyncio.to_thread(self._seal, draft, principal, key)
        response = _accepted(await self._broker.accept(submission), draft)
        response.headers.update(paid)
        return response

    async def notification(self, request: Request) -> Response:
        """Where one notification is and how it got there."""
        row = await self._own(request)
        events = await self._broker.query("events", id=row["id"])
        return JSONResponse(_notification(row, events))

    async def message(self, request: Request) -> Response:
        """Which notifications one message became, and where each is: by SMTP a sender is told its id alone."""
        rows = await self._named(request, "message")
        told = [{"id": format_id(int(row["id"])), "state": row["state"], "stage": row["stage"]} for row in rows]
        return JSONResponse({"message_id": format_id(int(rows[0]["message"])), "notifications": told})

    async def feedback(self, request: Request) -> Response:
        """Takes down what the recipient did."""
        row = await self._own(request)
        feedback = parse_json(_FEEDBACK, await read_body(request, self._limit))
        at = self._clock()
        await self._broker.execute("react", id=row["id"], kind=feedback.kind, at=at)
        return JSONResponse({"id": format_id(int(row["id"])), "kind": feedback.kind, "at": at})

    async def statement(self, request: Request) -> Response:
        """What the sender paid and for which notification, the last first; `before` is the page before's last `seq`.

        Who accepts `text/csv` gets all of it, for a spreadsheet.
        """
        principal = await self._principals.of(request)
        if "text/csv" in request.headers.get("accept", ""):
            rows = await movements(self._broker, wallet_of_sender(principal.id))
            return Response(as_csv(map(line_of, rows)), media_type="text/csv")
        before = request.query_params.get("before", str(LATEST))
        if not (len(before) <= len(str(LATEST)) and before.isascii() and before.isdecimal() and int(before) <= LATEST):
            raise problem(400, "bad_page", "before is no number", "give the last line's seq")
        rows = await movements(self._broker, wallet_of_sender(principal.id), limit=100, before=int(before))
        return JSONResponse({"lines": [{"seq": row["seq"], **asdict(line_of(row))} for row in rows]})

    async def classify(self, request: Request) -> Response:
        """Predictions for one mail or many, history included."""
        await self._principals.of(request)
        asked = parse_json(QUESTIONS, await read_body(request, self._limit))
        questions = asked if isinstance(asked, list) else [asked]
        predictions = await self._judge(questions, True)
        return JSONResponse({"predictions": [asdict(prediction) for prediction in predictions]})

    async def webhook(self, request: Request) -> Response:
        """What a payment provider tells us."""
        if self._webhooks is None:
            raise Problem(NOT_FOUND)
        return await self._webhooks.receive(request)

    async def knows(self, request: Request) -> bool:
        """Whether the request comes from a known caller.

        Raises:
            Problem: 429, it has to wait.
        """
        try:
            await self._principals.of(request)
        except Problem as refusal:
            if refusal.answer.status == 429:
                raise
            return False
        except BrokerUnavailable:
            return False
        return True

    async def health(self, _: Request) -> Response:
        """200 while mail can be accepted, 503 otherwise."""
        try:
            await self._broker.query("principal", id="")
        except BrokerUnavailable:
            return JSONResponse({"status": "unavailable", "broker": False}, status_code=503)
        return JSONResponse({"status": "ok", "broker": True})

    async def _own(self, request: Request) -> dict[str, Any]:
        return (await self._named(request, "notification"))[0]

    async def _named(self, request: Request, query: str) -> list[dict[str, Any]]:
        """The rows of what the path names, one or more. Raises Problem: there is none, or it is another sender's."""
        principal = await self._principals.of(request)
        try:
            number = parse_id(request.path_params["id"])
        except ValueError:
            raise Problem(NOT_FOUND) from None
        rows = await self._broker.query(query, id=str(number))
        if not rows or rows[0]["principal"] != principal.id:
            raise Problem(NOT_FOUND)
        return rows

    def _seal(self, draft: Draft, principal: Principal, key: str | None) -> Submission:
        seal, lookup = self._keys.content.seal, self._keys.lookup.address
        recipients = (Recipient(lookup(address), seal(address.encode())) for address in _sorted(draft))
        return Submission(
            principal=principal.id,
            body=seal(draft.mail),
            recipients=tuple(recipients),
            key=key,
            digest=self._digest(draft),
        )

    def _digest(self, draft: Draft) -> bytes:
        """32 octets that say "the same request" and tell nothing to who lacks the lookup key."""
        content = hashlib.sha256(draft.request)
        for lookup in sorted(map(self._keys.lookup.address, draft.recipients)):
            content.update(lookup)
        return self._keys.lookup.counter(f"submission\n{content.hexdigest()}")

    def _new_message_id(self) -> str:
        return f"{self._make_id()}@{self._domain}"


def _idempotency_key(request: Request) -> str | None:
    key = request.headers.get("idempotency-key")
    if key is not None and not (0 < len(key) <= LONGEST_KEY and key.isascii() and key.isprintable()):
        raise problem(
            400, "bad_idempotency_key", "the Idempotency-Key is none", f"1 to {LONGEST_KEY} printable ASCII characters"
        )
    return key


def _sorted(draft: Draft) -> list[str]:
    """One order for the same recipients, so that a repeated request finds its ids whatever its order."""
    return sorted(draft.recipients, key=canonical_address)


def _accepted(accepted: Accepted, draft: Draft) -> Response:
    ids = dict(zip(_sorted(draft), map(format_id, accepted.notification_ids), strict=True))
    body = {
        "message_id": format_id(accepted.message_id),
        "notifications": [{"id": ids[address], "recipient": address} for address in draft.recipients],
    }
    headers = {"Idempotent-Replayed": "true"} if accepted.duplicate else {}
    return JSONResponse(body, status_code=202, headers=headers)


def _told(value: Any) -> Any:
    """What a sender is told: what was found of its mail's own proofs lies sealed, for the recipient."""
    return {name: each for name, each in value.items() if name != "results"} if isinstance(value, dict) else value


def _notification(row: Mapping[str, Any], events: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "id": format_id(int(row["id"])),
        "message_id": format_id(int(row["message"])),
        "state": row["state"],
        "stage": row["stage"],
        "attempt": row["attempt"],
        "accepted_at": row["accepted_at"],
        "available_at": row["available_at"],
        "history": [
            {name: _told(event[name]) for name in ("at", "stage", "kind", "next", "detail")} for event in events
        ],
    }


_FEEDBACK = TypeAdapter(Feedback)
