"""A watch over an urgent mail on the real store, at times that the test sets, by a worker that is killed anywhere."""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from nacl.public import PrivateKey

from serving.acknowledging import AcknowledgeLinks
from serving.effects import hop_of
from serving.errors import Temporary
from serving.escalation.chain import Chain, Person, Push, Step, write_chain
from serving.escalation.push import Result
from serving.escalation.stage import Escalation, Keys
from serving.pipeline import kind
from serving.queue.store import directory, hops
from serving.queue.store.hops import LeaseName, Pending
from serving.queue.store.intake import NewMessage, accept
from serving.queue.store.transaction import Transaction
from serving.sealing import LookupKey, UnsealingKey
from serving.stage import Work
from serving.web.token import Links
from tests.integration.peers import OWNER, TO_ENCRYPTION, Store

Answer = TypeVar("Answer")

CONTENT, LOOKUP = UnsealingKey(bytes(PrivateKey.generate())), LookupKey(b"l" * 32)
LINKS = Links(LOOKUP.derive("pay"))
ADA, GRACE, HEDY = "ada@ops.example", "grace@ops.example", "hedy@ops.example"
CANARY = "Potassium 7.9, call at once"
MINUTE, DAY = 60.0, 86_400.0
CHAIN = Chain(
    (
        Step(10 * MINUTE, Person(GRACE)),
        Step(5 * MINUTE, Push("ntfys://alarms.example/secret-topic")),
        Step(20 * MINUTE, Person(HEDY)),
    ),
    rounds=2,
)
SEALED = {"envelope": {"form": "sealed"}}


class Killed(BaseException):
    """The worker is no more."""


@dataclass
class World:
    """Ada's mail and the chain behind her. The worker is killed at the commits in `deadly`: before the n-th (a negative
    number) or after it. `results` are what the next pushes come to, then all are sent. `meanwhile` happens while a mail
    to the next person is written."""

    store: Store
    chain: Chain | None = CHAIN
    deadly: frozenset[int] = frozenset()
    results: list[Result] = field(default_factory=list)
    pushes: list[tuple[float, str, str]] = field(default_factory=list)
    commits: int = 0
    meanwhile: Callable[[], None] = lambda: None

    def __post_init__(self) -> None:
        for person in (ADA, GRACE, HEDY):
            self.ask("enroll_recipient", **self._person(person), certificate=None, wishes={}, policy={"open": True})
        if self.chain is not None:
            chain = CONTENT.sealing_key.seal(write_chain(self.chain)).hex()
            self.ask("set_escalation", lookup=LOOKUP.address(ADA).hex(), chain=chain)
        links = AcknowledgeLinks("https://gate.example/r", LINKS)
        self.escalation = Escalation(self, Keys(CONTENT, LOOKUP), links, self._push, lambda: self.store.now)

    def ask(self, name: str, **parameters: Any) -> dict[str, Any]:
        """A command of the directory, by somebody who is not killed."""
        rows: list[dict[str, Any]] = self.store.do(lambda t: directory.answer(t, name, parameters))
        return rows[0]

    async def query(self, name: str, /, **parameters: Any) -> list[dict[str, Any]]:
        """As the worker asks."""
        return self.store.do(lambda t: directory.answer(t, name, parameters))

    async def execute(self, name: str, /, **parameters: Any) -> dict[str, Any]:
        """As the worker does."""
        (row,) = self._commit(lambda t: directory.answer(t, name, parameters))
        self.meanwhile()
        return dict(row)

    def enclosed(self) -> tuple[int, int]:
        """An urgent mail to ada that was enclosed, and the watch over it."""
        people = [(LOOKUP.address(ADA), CONTENT.sealing_key.seal(ADA.encode()))]
        body = CONTENT.sealing_key.seal(f"Subject: {CANARY}\r\n\r\n{CANARY}\r\n".encode())
        (id_,) = self.store.do(
            lambda t: accept(t, NewMessage("bank", body, people, None, b"", {}, hops.URGENT))
        ).notifications
        self.store.walk(*TO_ENCRYPTION)
        name = self.store.lease("encryption")
        watch = self.ask("watch", about=str(id_))["id"]
        self.store.complete(name, "enclosed", envelope=b"e", facts={**SEALED, "watched": watch})
        return id_, int(watch)

    def to_delivery(self) -> None:
        """It is paid for."""
        self.store.complete(self.store.lease("payment"), "waived", facts={"waiver": "free"})

    def deliver(self) -> None:
        """And delivered."""
        self.store.complete(self.store.lease("delivery"), "sent", facts={"receipt": {}})
        self.store.complete(self.store.lease("settlement"), "unbilled")

    def delivered(self) -> tuple[int, int]:
        """An urgent mail that ada has, and the watch over it."""
        ids = self.enclosed()
        self.to_delivery()
        self.deliver()
        return ids

    def run(self, seconds: float) -> None:
        """Let so much time pass; whatever is due is worked on at its time, and a killed worker is replaced."""
        until = self.store.now + seconds
        while (due := self._due()) is not None and due <= until:
            self.store.now = max(self.store.now, due)
            try:
                asyncio.run(self.turn())
            except Killed:
                self.store.do(lambda t: hops.release(t, OWNER))
        self.store.now = until

    async def turn(self, owner: str = OWNER) -> None:
        """What one worker does with one lease."""
        for claimed in self.store.claim("escalation", owner=owner):
            await self.work(LeaseName(claimed.row["id"], claimed.row["fence"], owner), claimed)

    async def work(self, name: LeaseName, claimed: hops.Claimed) -> None:
        """Handle and complete as a stage does."""
        work = self.work_of(name, claimed)
        try:
            outcome = await self.escalation.handle(work)
        except Temporary as temporary:
            delay, cause = temporary.retry_after or 1.0, str(temporary)
            self._commit(lambda t: hops.retry(t, name, delay, cause))
            return
        hop = hop_of(outcome, work.id, work.recipient, work.facts)
        until = None if hop.until is None else int(hop.until * 1000) / 1000  # as on the wire
        self._commit(lambda t: hops.complete(t, name, kind(type(outcome)), Pending(facts=dict(hop.facts)), until))

    def work_of(self, name: LeaseName, claimed: hops.Claimed) -> Work:
        """The lease as the handler gets it."""
        row = claimed.row

        async def note(what: str, facts: Mapping[str, Any]) -> None:
            self._commit(lambda t: hops.note(t, name, what, facts))

        return Work(
            row["id"], row["message"], 0, row["attempt"], bytes(row["recipient"]), b"", claimed.principal,
            json.loads(row["facts"]), claimed.body, row["accepted_at"], note,
        )  # fmt: skip

    def react(self, id_: int, reaction: str = "acknowledged") -> None:
        """Somebody follows the link in a mail."""
        self.ask("react", id=str(id_), kind=reaction, at=self.store.now)

    def children(self) -> Sequence[tuple[float, bytes, dict[str, Any]]]:
        """What was sent to further people: when, to whom, and which step it is."""
        rows = self.store.sql("SELECT id, accepted_at, recipient, facts FROM notification ORDER BY id")
        facts = [(row, json.loads(row["facts"])) for row in rows]
        return [
            (row["accepted_at"], bytes(row["recipient"]), each["escalated"])
            for row, each in facts
            if "waiver" in each and each["waiver"] == "escalated"
        ]

    def child(self, round_: int, step: int) -> int:
        """The notification of that step."""
        rows = self.store.sql("SELECT id, facts FROM notification ORDER BY id")
        at = {"round": round_, "step": step}
        (found,) = [
            row["id"]
            for row in rows
            if json.loads(row["facts"]).get("waiver") == "escalated" and json.loads(row["facts"])["escalated"] == at
        ]
        return int(found)

    def told(self, id_: int) -> list[tuple[str, dict[str, Any]]]:
        """What a notification's history says of its watch."""
        kinds = ("watched", "escalated", "acknowledged", "exhausted", "unwatched")
        rows = self.store.sql("SELECT kind, stage, detail FROM event WHERE notification = :id ORDER BY seq", id=id_)
        return [
            (row["kind"], json.loads(row["detail"]).get(row["kind"], json.loads(row["detail"])))
            for row in rows
            if row["kind"] in kinds and (row["stage"] == "escalation" or row["kind"] == "watched")
        ]

    async def _push(self, to: Push, title: str, text: str) -> Result:
        self.pushes.append((self.store.now, to.url, f"{title}\n{text}"))
        return self.results.pop(0) if self.results else "sent"

    def _commit(self, verb: Callable[[Transaction], Answer]) -> Answer:
        self.commits += 1
        if -self.commits in self.deadly:
            raise Killed
        answer = self.store.do(verb)
        if self.commits in self.deadly:
            raise Killed
        return answer

    def _due(self) -> float | None:
        rows = self.store.sql(
            "SELECT min(available_at) AS due FROM notification WHERE stage = 'escalation' AND state <> 'leased'"
        )
        return None if rows[0]["due"] is None else float(rows[0]["due"])

    @staticmethod
    def _person(address: str) -> dict[str, str]:
        return {"lookup": LOOKUP.address(address).hex(), "address": CONTENT.sealing_key.seal(address.encode()).hex()}
