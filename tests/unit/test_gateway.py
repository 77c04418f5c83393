"""The HTTP API: what is accepted, what is refused, and what a refusal says."""

import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict
from email import message_from_bytes
from email.policy import SMTPUTF8
from typing import Any

import httpx
import pytest
from nacl.public import PrivateKey

from serving.authentication import hash_key, new_key
from serving.errors import BrokerUnavailable, Refused
from serving.gateway.api import Api, Keys
from serving.gateway.app import application
from serving.gateway.mail import Question
from serving.gateway.principals import BELIEVED
from serving.gateway.problems import Problem
from serving.gateway.submission import distinct
from serving.identifiers import format_id, parse_id
from serving.pipeline import Prediction
from serving.queue.client import Accepted, Submission
from serving.sealing import LookupKey, SealingKey, UnsealingKey

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

    def __init__(self) -> None:
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
        )
        self.http = httpx.AsyncClient(
            transport=httpx.ASGITransport(self.app),
            base_url="http://clarion",
            headers={"Authorization": f"Bearer {self.key}"},
        )

    def enroll(self, key: str, principal: str, revoked_at: float | None = None) -> None:
        row = {"key_hash": hash_key(key), "id": principal, "domains": ["example.org"], "revoked_at": revoked_at}
        self.broker.rows.setdefault("principal_by_key", []).append(row)

    async def _judge(self, questions: Sequence[Question], with_history: bool) -> Sequence[Prediction]:
        self.asked.append((questions, with_history))
        return [PREDICTION for _ in questions]


@pytest.fixture
async def setting() -> AsyncIterator[Setting]:
    setting = Setting()
    async with setting.http:
        yield setting


def is_refusal(response: httpx.Response, status: int, code: str) -> bool:
    body = response.json()
    return response.status_code == status and body["error"] == code and bool(body["detail"] and body["hint"])


async def test_a_json_mail_becomes_one_sealed_message_with_a_notification_for_each_recipient(setting: Setting) -> None:
    """The unit of everything that follows: stored once, personal for each."""
    notice = {
        **NOTICE,
        "to": ["Bob <bob@example.net>", "ada@example.net"],
        "cc": "BOB@example.net",
        "html": "<b>full</b>",
    }
    response = await setting.http.post("/notify", json=notice)
    submission = setting.broker.only
    mail = message_from_bytes(CONTENT.unseal(submission.body))

    assert response.status_code == 202
    assert [item["recipient"] for item in response.json()["notifications"]] == ["bob@example.net", "ada@example.net"]
    assert mail["From"] == "Ops <ops@example.org>"
    assert mail["Message-ID"] == "<made@clarion.invalid>"
    assert mail["Date"] == "Tue, 14 Nov 2023 22:13:20 +0000"
    assert [part.get_content_type() for part in mail.walk()][1:] == ["text/plain", "text/html"]


async def test_names_and_addresses_beyond_ascii_are_written_as_mail(setting: Setting) -> None:
    """Most people on earth have such a name."""
    to = '"Ünal, Ada" <ada@exämple.net>'
    notice = {**NOTICE, "from": "Zoë Ops <ops@example.org>", "to": to, "subject": "Störung"}
    response = await setting.http.post("/notify", json=notice)
    headers = message_from_bytes(CONTENT.unseal(setting.broker.only.body), policy=SMTPUTF8)

    assert response.json()["notifications"][0]["recipient"] == "ada@exämple.net"
    assert str(headers["From"]) == "Zoë Ops <ops@example.org>"
    assert [(one.display_name, one.addr_spec) for one in headers["To"].addresses] == [
        ("Ünal, Ada", "ada@xn--exmple-cua.net")
    ]
    assert headers["Subject"] == "Störung"


async def test_each_id_belongs_to_the_recipient_it_is_answered_for(setting: Setting) -> None:
    """A sender that follows the wrong id looks at somebody else's mail."""
    response = await setting.http.post("/notify", json={**NOTICE, "to": ["zoe@example.net", "ada@example.net"]})
    by_id = {
        format_id(100 + place): CONTENT.unseal(recipient.address).decode()
        for place, recipient in enumerate(setting.broker.only.recipients)
    }

    assert {item["id"]: item["recipient"] for item in response.json()["notifications"]} == by_id
    assert setting.broker.only.recipients[0].lookup == LOOKUP.address("ada@example.net")


async def test_a_raw_mail_is_kept_octet_for_octet_and_goes_to_its_to_and_cc(setting: Setting) -> None:
    """What was signed by its sender must not be touched."""
    response = await setting.http.post("/notify", content=RAW, headers={"Content-Type": "message/rfc822"})

    assert response.status_code == 202
    assert CONTENT.unseal(setting.broker.only.body) == RAW
    assert [item["recipient"] for item in response.json()["notifications"]] == ["ada@example.net", "bob@example.net"]


async def test_recipients_in_the_query_replace_those_of_the_raw_mail(setting: Setting) -> None:
    """An envelope may go where the headers do not say."""
    response = await setting.http.post(
        "/notify?to=eve@example.net&to=EVE@example.net", content=RAW, headers={"Content-Type": "message/rfc822"}
    )

    assert [item["recipient"] for item in response.json()["notifications"]] == ["eve@example.net"]


async def test_the_same_key_and_body_answers_with_the_first_ids(setting: Setting) -> None:
    """A sender that lost the answer must be able to ask again without a second mail."""
    headers = {"Idempotency-Key": "once"}
    first = await setting.http.post("/notify", json=NOTICE, headers=headers)
    again = await setting.http.post("/notify", json=NOTICE, headers=headers)

    assert first.json() == again.json()
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert len(setting.broker.accepted) == 1


async def test_a_repetition_that_names_the_recipients_in_another_order_finds_the_same_ids(setting: Setting) -> None:
    """A sender's set of recipients has no order; an id that changes its owner would be a leak."""
    headers = {"Idempotency-Key": "once", "Content-Type": "message/rfc822"}
    first = await setting.http.post("/notify?to=zoe@x.example&to=ada@x.example", content=RAW, headers=headers)
    again = await setting.http.post("/notify?to=ada@x.example&to=zoe@x.example", content=RAW, headers=headers)
    owners = [{item["recipient"]: item["id"] for item in answer.json()["notifications"]} for answer in (first, again)]

    assert again.headers["Idempotent-Replayed"] == "true"
    assert owners[0] == owners[1]


async def test_the_same_key_with_another_body_is_refused(setting: Setting) -> None:
    """Two different alarms under one key are a sender's mistake, and none may vanish silently."""
    headers = {"Idempotency-Key": "once"}
    await setting.http.post("/notify", json=NOTICE, headers=headers)
    other = await setting.http.post("/notify", json={**NOTICE, "text": "db2 is full"}, headers=headers)

    assert is_refusal(other, 422, "key_conflict")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, "malformed_json"),
        (b"\xff\xfe\x00", 400, "malformed_json"),
        (b'{"subject": "\\ud800"}', 400, "malformed_json"),
        (b"[" * 100_000, 413, "too_large"),
        (b"[" * 10_000, 400, "malformed_json"),
        (b"[]", 422, "invalid"),
        (json.dumps({**NOTICE, "to": []}).encode(), 422, "no_recipient"),
        (json.dumps({**NOTICE, "to": "nobody"}).encode(), 422, "bad_address"),
        (json.dumps({**NOTICE, "to": "a@b.example, c@d.example"}).encode(), 422, "bad_address"),
        (json.dumps({**NOTICE, "to": "a b@example.org"}).encode(), 422, "bad_address"),
        (json.dumps({**NOTICE, "to": "a@example.org\r\nBcc: x@example.org"}).encode(), 422, "bad_address"),
        (json.dumps({**NOTICE, "from": "nobody"}).encode(), 422, "bad_address"),
        (json.dumps({**NOTICE, "from": "x\r\nBcc: y <a@example.org>"}).encode(), 422, "bad_address"),
        (json.dumps({**NOTICE, "subject": "a\nBcc: x@example.org"}).encode(), 422, "bad_header"),
        (json.dumps({**NOTICE, "headers": {"Bcc": "x@example.org"}}).encode(), 422, "bad_header"),
        (json.dumps({**NOTICE, "headers": {"X": "a\r\nBcc: x@example.org"}}).encode(), 422, "bad_header"),
        (json.dumps({**NOTICE, "message_id": "a\r\nBcc: x@example.org"}).encode(), 422, "bad_header"),
        (json.dumps({**NOTICE, "txet": "typo"}).encode(), 422, "invalid"),
    ],
)
async def test_bad_json_is_refused_with_what_to_do_and_nothing_accepted(
    setting: Setting, body: bytes, status: int, code: str
) -> None:
    """Every mistake gets a clear answer, and no half of it is taken."""
    response = await setting.http.post("/notify", content=body, headers={"Content-Type": "application/json"})

    assert is_refusal(response, status, code), response.text
    assert not setting.broker.accepted


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (bytes(range(256)), 400, "malformed_mail"),
        (b"", 400, "malformed_mail"),
        (b"Subject: alone\r\n\r\nx", 422, "no_recipient"),
        (b"To: undisclosed-recipients:;\r\n\r\nx", 422, "no_recipient"),
        (b"To: not an address\r\n\r\nx", 422, "bad_address"),
        (b"To: a@example.org\r\n\r\n" + b"x" * LIMIT, 413, "too_large"),
    ],
)
async def test_a_bad_raw_mail_is_refused_and_nothing_accepted(
    setting: Setting, content: bytes, status: int, code: str
) -> None:
    """Octets that are no mail must not become one."""
    response = await setting.http.post("/notify", content=content, headers={"Content-Type": "message/rfc822"})

    assert is_refusal(response, status, code), response.text
    assert not setting.broker.accepted


async def test_a_body_without_a_length_is_cut_off_at_the_limit(setting: Setting) -> None:
    """A sender that lies about the length, or says none, must not fill the memory."""
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 1000
            yield b"x" * 1000

    response = await setting.http.post("/notify", content=endless(), headers={"Content-Type": "message/rfc822"})

    assert is_refusal(response, 413, "too_large")
    assert sent <= LIMIT + 2000


async def test_more_recipients_than_allowed_are_refused() -> None:
    """One request must not become a mailing."""
    assert len(distinct(f"{n}@x.example" for n in range(10_000))) == 10_000
    with pytest.raises(Problem, match="more than 10000 recipients"):
        distinct(f"{n}@x.example" for n in range(10_001))


@pytest.mark.parametrize("authorization", ["", "Bearer", "Basic YTpi", "Bearer clk_wrong", f"Bearer {new_key().key}"])
async def test_without_a_valid_key_nobody_is_let_in(setting: Setting, authorization: str) -> None:
    """A key is the only thing that tells senders apart."""
    response = await setting.http.post("/notify", json=NOTICE, headers={"Authorization": authorization})

    assert is_refusal(response, 401, "unauthorized")
    assert response.headers["WWW-Authenticate"] == "Bearer"


async def test_a_revoked_key_is_refused(setting: Setting) -> None:
    """A leaked key must be of no use once it is known."""
    old = new_key().key
    setting.enroll(old, "p1", revoked_at=1.0)
    response = await setting.http.post("/notify", json=NOTICE, headers={"Authorization": f"Bearer {old}"})

    assert is_refusal(response, 401, "unauthorized")
    assert "revoked" in response.json()["detail"]


async def test_a_key_revoked_while_in_use_stops_working_within_seconds(setting: Setting) -> None:
    """What is remembered for speed must not outlive the revocation."""
    assert (await setting.http.post("/notify", json=NOTICE)).status_code == 202
    setting.broker.rows["principal_by_key"][0]["revoked_at"] = 1.0
    remembered = await setting.http.post("/notify", json=NOTICE)
    setting.clock.now += BELIEVED
    forgotten = await setting.http.post("/notify", json=NOTICE)

    assert (remembered.status_code, forgotten.status_code) == (202, 401)


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/notify"), ("GET", "/notifications/0000000000034"), ("GET", "/health")]
)
async def test_without_the_broker_the_answer_is_503_and_try_again(setting: Setting, method: str, path: str) -> None:
    """A sender must know that nothing was accepted, and that asking again is right."""
    setting.broker.is_up = False
    response = await setting.http.request(method, path, json=NOTICE)

    assert response.status_code == 503
    assert path == "/health" or (is_refusal(response, 503, "unavailable") and response.headers["Retry-After"] == "2")


async def test_what_breaks_inside_is_an_answer_without_content(
    setting: Setting, caplog: pytest.LogCaptureFixture
) -> None:
    """A bug must neither hang a request nor put mail into a log."""

    setting.broker.error = RuntimeError("ada@example.net Disk full")
    response = await setting.http.post("/notify", json=NOTICE)

    assert is_refusal(response, 500, "internal")
    assert "RuntimeError" in caplog.text
    assert "ada" not in caplog.text + response.text


async def test_a_notification_tells_its_state_and_history(setting: Setting) -> None:
    """Every id can always be asked where it is and how it got there."""
    setting.broker.rows["notification"] = [notification("100", "p1")]
    event = {
        "id": "100",
        "seq": 1,
        "at": 2.0,
        "stage": "authentication",
        "kind": "authenticated",
        "next": "classification",
    }
    setting.broker.rows["events"] = [{**event, "detail": {"method": "api_key"}}]
    body = (await setting.http.get(f"/notifications/{format_id(100)}")).json()

    assert (body["id"], body["stage"], body["state"]) == (format_id(100), "classification", "queued")
    assert [(item["kind"], item["next"]) for item in body["history"]] == [("authenticated", "classification")]


@pytest.mark.parametrize("asked", [format_id(100), format_id(101), "nonsense", "0" * 200, "%00"])
async def test_an_id_of_somebody_else_is_as_unknown_as_none(setting: Setting, asked: str) -> None:
    """Whether an id exists is nobody else's business."""
    setting.broker.rows["notification"] = [notification("100", "p2")]
    seen = await setting.http.get(f"/notifications/{asked}")
    feedback = await setting.http.post(f"/notifications/{asked}/feedback", json={"kind": "acknowledged"})

    assert is_refusal(seen, 404, "not_found")
    assert is_refusal(feedback, 404, "not_found")
    assert not setting.broker.commands


async def test_feedback_is_stored_with_its_time(setting: Setting) -> None:
    """Reactions are what the classifier learns from."""
    setting.broker.rows["notification"] = [notification("100", "p1")]
    response = await setting.http.post(f"/notifications/{format_id(100)}/feedback", json={"kind": "was_urgent"})
    unknown = await setting.http.post(f"/notifications/{format_id(100)}/feedback", json={"kind": "meh"})

    assert response.status_code == 200
    assert setting.broker.commands == [("react", {"id": "100", "kind": "was_urgent", "at": setting.clock.now})]
    assert is_refusal(unknown, 422, "invalid")


async def test_classify_takes_one_mail_or_many_in_order(setting: Setting) -> None:
    """A caller that asks about many must not pay a request for each."""
    question = {**NOTICE, "recipient": "ada@example.net"}
    one = await setting.http.post("/classify", json=question)
    many = await setting.http.post("/classify", json=[question, question])
    wrong = await setting.http.post("/classify", json=[question, NOTICE])

    assert one.json() == {"predictions": [asdict(PREDICTION)]}
    assert len(many.json()["predictions"]) == 2
    assert is_refusal(wrong, 422, "invalid")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing", 404, "not_found"),
        ("GET", "/", 404, "not_found"),
        ("GET", "/notify", 405, "method_not_allowed"),
        ("DELETE", "/notifications/x", 405, "method_not_allowed"),
        ("POST", "/notify", 415, "unsupported_media_type"),
    ],
)
async def test_wrong_paths_methods_and_types_are_told_apart(
    setting: Setting, method: str, path: str, status: int, code: str
) -> None:
    """The first request of a newcomer is usually one of these."""
    response = await setting.http.request(method, path, content=b"x", headers={"Content-Type": "text/html"})

    assert is_refusal(response, status, code)
    assert (status == 405) == ("Allow" in response.headers)


async def test_requests_are_counted_by_route_never_by_path(setting: Setting) -> None:
    """A metric for every id would grow without end, and could name people."""
    seen: list[tuple[str, str, int]] = []
    setting.app.state.record = lambda route, method, status, _: seen.append((route, method, status))
    await setting.http.get("/notifications/ada@example.net")
    await setting.http.get("/ada@example.net")

    assert seen == [("/notifications/{id}", "GET", 404), ("unmatched", "GET", 404)]


def notification(number: str, principal: str) -> dict[str, Any]:
    where = {"stage": "classification", "state": "queued", "attempt": 1, "available_at": 2.0, "accepted_at": 1.0}
    return {"id": number, "message": "7", "principal": principal, "facts": {}, **where}


def test_ids_survive_the_round_trip() -> None:
    """The tests above rest on it."""
    assert parse_id(format_id(100)) == 100
