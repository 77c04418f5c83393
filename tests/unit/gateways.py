"""A gateway without a network or a store: its routes in process, a broker that remembers, a clock that stands."""

from collections.abc import Sequence
from typing import Any

import httpx
from nacl.public import PrivateKey

from serving.authentication.api_keys import hash_key, new_key
from serving.errors import BrokerUnavailable, Refused
from serving.gateway.api import Api, Keys
from serving.gateway.app import application
from serving.gateway.limits import Lockouts, Rates
from serving.gateway.mail import Question
from serving.gateway.principals import Limits
from serving.queue.client import Accepted, Submission
from serving.sealing import LookupKey, SealingKey, UnsealingKey
from serving.values import Prediction

PRIVATE = bytes(PrivateKey.generate())
CONTENT = UnsealingKey(PRIVATE)
LOOKUP = LookupKey(bytes(32))
LIMIT = 20_000
NOTICE = {"from": "Ops <ops@example.org>", "to": "ada@example.net", "subject": "Disk full", "text": "db1 is full"}
RAW = b"From: ops@example.org\r\nTo: Ada <ada@example.net>, bob@example.net\r\nSubject: x\r\n\r\nbody \xff\r\n"


PREDICTION = Prediction("urgent", 0.9, None, False, "1")


class FakeBroker:
    """Answers as the broker would; keeps what was accepted."""

    def __init__(self) -> None:
        self.accepted: dict[str | None, tuple[Submission, Accepted]] = {}
        self.rows: dict[str, list[dict[str, Any]]] = {"principal": []}
        self.commands: list[tuple[str, dict[str, Any]]] = []
        self.queries = 0
        self.is_up = True
        self.error: Exception | None = None

    async def accept(self, submission: Submission) -> Accepted:
        self._check()
        if self.error is not None:
            raise self.error
        known = self.accepted.get(submission.key)
        if submission.key is not None and known is not None:
            if known[0].digest != submission.digest:
                raise Refused("key_conflict")
            return Accepted(known[1].message_id, known[1].notification_ids, True)
        ids = tuple(range(100, 100 + len(submission.recipients)))
        self.accepted[submission.key] = submission, Accepted(7, ids, False)
        return self.accepted[submission.key][1]

    async def query(self, name: str, /, **parameters: Any) -> list[dict[str, Any]]:
        self._check()
        self.queries += 1
        if name == "principal_by_key":
            return [row for row in self.rows[name] if row["key_hash"] == parameters["key_hash"]]
        if name == "statement":
            account, before = parameters["account"], parameters["before"]
            return [row for row in self.rows.get(name, []) if row["account"] == account and row["seq"] < before]
        return [row for row in self.rows.get(name, []) if row.get("id") == parameters["id"]]

    async def execute(self, name: str, /, **parameters: Any) -> dict[str, Any]:
        self._check()
        self.commands.append((name, parameters))
        return {}

    def _check(self) -> None:
        if not self.is_up:
            raise BrokerUnavailable("no broker")

    @property
    def only(self) -> Submission:
        ((submission, _),) = self.accepted.values()
        return submission


class Clock:
    now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


class Setting:
    """A caller with a valid key, and the parts behind the API."""

    def __init__(self, rate: float = 0.0, burst: int = 1) -> None:
        self.broker, self.clock, self.key = FakeBroker(), Clock(), new_key().key
        self.enroll(self.key, "p1")
        self.asked: list[tuple[Sequence[Question], bool]] = []
        self.app = application()
        keys = Keys(SealingKey(bytes(PrivateKey(PRIVATE).public_key)), LOOKUP)
        self.app.state.api = Api(
            self.broker,
            keys,
            self._judge,
            limit=LIMIT,
            domain="clarion.invalid",
            clock=self.clock,
            make_id=lambda: "made",
            limits=Limits(Rates(rate, burst, self.clock), Lockouts(self.clock)),
        )
        self.http = httpx.AsyncClient(
            transport=httpx.ASGITransport(self.app),
            base_url="http://clarion",
            headers={"Authorization": f"Bearer {self.key}"},
        )

    def enroll(
        self, key: str, principal: str, revoked_at: float | None = None, expires_at: float | None = None
    ) -> None:
        row: dict[str, Any] = {"key_hash": hash_key(key), "credential": hash_key(key), "id": principal}
        row |= {"domains": ["example.org"], "revoked_at": revoked_at, "expires_at": expires_at}
        self.broker.rows.setdefault("principal_by_key", []).append(row)

    async def _judge(self, questions: Sequence[Question], with_history: bool) -> Sequence[Prediction]:
        self.asked.append((questions, with_history))
        return [PREDICTION for _ in questions]


def is_refusal(response: httpx.Response, status: int, code: str) -> bool:
    body = response.json()
    return response.status_code == status and body["error"] == code and bool(body["detail"] and body["hint"])
