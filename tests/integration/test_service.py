"""The whole service as `make serve` runs it: BentoML, broker, provider and receiver, each in processes of its own."""

import asyncio
import json
import os
import re
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTPUTF8
from typing import Any

import httpx
import pytest
import pytest_asyncio

from serving import programs
from serving.demo.running import free_ports
from serving.enrolment import Registrar
from serving.identifiers import parse_id
from serving.keyring import load_sealing
from serving.queue.client import Client
from serving.rotation import rotate
from serving.sealing import PURPOSES, load_lookup
from serving.settings import Settings
from serving.startup import prepare
from serving.supervisor import Supervisor
from serving.web.token import Links
from serving.wishes.lists import Lists
from tests.integration.tiny import make_artefact

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(400)]

ALARM = {"from": "ops@example.org", "to": "ada@example.net", "subject": "Disk full", "text": "urgent: db1 is full"}
SECRET = "canary-5f1c2f0e7d"
MEGABYTE = 1 << 20


@dataclass
class Service:
    """A running service and a sender with a key."""

    settings: Settings
    supervisor: Supervisor
    http: httpx.AsyncClient

    async def notify(self, **changes: Any) -> list[str]:
        """The ids; asks again under the same key until accepted, as a sender should."""
        key = {"Idempotency-Key": os.urandom(8).hex()}
        while True:
            try:
                response = await self.http.post("/v1/notify", json=ALARM | changes, headers=key)
            except httpx.TransportError:
                await asyncio.sleep(0.2)
                continue
            if response.status_code == 202:
                return [item["id"] for item in response.json()["notifications"]]
            assert response.status_code == 503, response.text
            await asyncio.sleep(0.2)

    async def ends(self, notification: str, seconds: float = 60.0) -> dict[str, Any]:
        """The notification once it has ended."""
        return await eventually(lambda: self._ended(notification), seconds)

    async def _ended(self, notification: str) -> dict[str, Any] | None:
        try:
            body = (await self.http.get(f"/v1/notifications/{notification}")).json()
        except (httpx.TransportError, json.JSONDecodeError):
            return None
        ended: dict[str, Any] | None = body if body.get("state") in ("delivered", "dead", "discarded") else None
        return ended

    def mails(self) -> int:
        return len(list((self.settings.maildir / "new").glob("*")))

    def mail_to(self, address: str, words: str) -> EmailMessage | None:
        """The mail to that address whose subject holds these words, once it has arrived."""
        for path in (self.settings.maildir / "new").glob("*"):
            mail = message_from_bytes(path.read_bytes(), policy=SMTPUTF8)
            if address in str(mail["To"]) and words in str(mail["Subject"]):
                return mail
        return None

    def logs(self) -> str:
        return "".join(path.read_text(errors="replace") for path in (self.settings.home / "log").glob("*.log"))


async def eventually(ask: Callable[[], Awaitable[dict[str, Any] | None]], seconds: float = 60.0) -> dict[str, Any]:
    deadline = time.monotonic() + seconds
    while (found := await ask()) is None:
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.1)
    return found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    home = tmp_path_factory.mktemp("home")
    http, smtp, provider = free_ports(3)
    settings = Settings(
        home=home,
        artefact=make_artefact(home / "artefact"),
        http_port=http,
        smtp_port=smtp,
        provider_url=f"http://127.0.0.1:{provider}",
    )
    artefact = await prepare(settings)
    chosen = [programs.broker(settings), programs.sandbox(settings), programs.receiver(settings)]
    async with Supervisor([*chosen, programs.gateway(settings, artefact)], home) as supervisor:
        await supervisor.ready(180)
        key = await enrol(settings)
        headers = {"Authorization": f"Bearer {key}"}
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{http}", headers=headers, timeout=30) as client:
            yield Service(settings, supervisor, client)


async def enrol(settings: Settings) -> str:
    client = await Client.connect(settings.socket)
    registrar = Registrar(client, load_sealing(settings.keys, "content"), load_lookup(settings.keys))
    for name in ("ada", "bob"):
        await registrar.recipient(f"{name}@example.net", None, {"not_urgent": "delay"}, {"open": True, "pays": False})
    await registrar.recipient("cy@example.net", None, {}, {"open": True})
    key = await registrar.principal("p1", "Ops", ["example.org"], {})
    await client.close()
    return key


async def test_who_has_no_money_is_asked_and_has_the_mail_as_soon_as_it_is_paid(service: Service) -> None:
    """Pay per notification, as a recipient lives it: a request by mail, a page, a button, and the message."""
    (id_,) = await service.notify(to="cy@example.net", subject="Pump 3 stopped")
    request = await _mail(service, "cy@example.net", "An urgent message waits")
    text = request.get_body(("plain",))
    assert text is not None
    link = re.search(r"/pay/(?!statement)\S+", text.get_content())
    to_statement = re.search(r"/pay/statement/\S+", text.get_content())
    assert link is not None
    assert to_statement is not None
    page = await service.http.get(link[0])
    attempt = re.search(r'name="attempt" value="([^"]+)"', page.text)
    assert attempt is not None
    answers = [
        await service.http.post(f"{link[0]}/top-up", data={"amount": "500", "attempt": attempt[1]}) for _ in range(2)
    ]
    end = await service.ends(id_)
    statement = (await service.http.get(f"{to_statement[0]}/csv")).text
    paid = await service.http.get(link[0])

    assert (page.status_code, "Ops" in page.text, "Pump" in page.text) == (200, True, False)
    assert [answer.status_code for answer in answers] == [303, 303]
    assert end["state"] == "delivered"
    assert service.mail_to("ada@example.net", "Pump 3 stopped") or service.mail_to("cy@example.net", "Pump 3 stopped")
    assert (statement.count("5.00"), statement.count("-0.05"), id_ in statement) == (1, 1, True)
    assert (paid.status_code, "attempt" in paid.text) == (200, False)


async def _mail(service: Service, address: str, words: str) -> EmailMessage:
    found: list[EmailMessage] = []

    async def look() -> dict[str, Any] | None:
        found.extend(filter(None, [service.mail_to(address, words)]))
        return {} if found else None

    await eventually(look)
    return found[0]


async def test_an_urgent_mail_goes_all_the_way_to_each_recipient(service: Service) -> None:
    """The sentence of the design, by the front door."""
    before = service.mails()
    ids = await service.notify(to=["ada@example.net", "bob@example.net"])
    ends = [await service.ends(each) for each in ids]

    assert [end["state"] for end in ends] == ["delivered", "delivered"]
    assert [event["kind"] for event in ends[0]["history"]] == [
        "accepted", "authenticated", "urgent", "enclosed", "waived", "sending", "sent", "unbilled",
    ]  # fmt: skip
    assert service.mails() == before + 2


async def test_keys_rotate_and_no_process_is_restarted(service: Service) -> None:
    """Gateway and stages loaded the old keys when they started; the next mail is under the new ones, and goes."""
    keys, processes = service.settings.keys, service.supervisor.processes()
    (before,) = await service.notify(subject="urgent: before")
    news = [rotate(keys, purpose).new for purpose in PURPOSES]
    (after,) = await service.notify(subject="urgent: after")
    ends = [await service.ends(each) for each in (before, after)]
    client = await Client.connect(service.settings.socket)
    (row,) = await client.query("notification", id=str(parse_id(after)))
    (body,) = await client.query("body", message=row["message"])
    await client.close()

    assert [end["state"] for end in ends] == ["delivered", "delivered"]
    assert body["body"][:8] == news[0].hex()
    assert service.supervisor.processes() == processes


async def test_what_is_not_urgent_waits_as_the_recipient_wishes(service: Service) -> None:
    """Otherwise everything is an alarm, and nothing is."""
    (waiting,) = await service.notify(subject="Newsletter", text="spring is here")

    async def deferred() -> dict[str, Any] | None:
        body: dict[str, Any] = (await service.http.get(f"/v1/notifications/{waiting}")).json()
        return body if body["state"] == "deferred" else None

    body = await eventually(deferred)
    assert [event["kind"] for event in body["history"]][-2:] == ["not_urgent", "delayed"]


async def test_a_recipients_own_word_counts_and_can_be_told_by_a_link(service: Service) -> None:
    """What always passes arrives though it is not urgent; what is urgent waits for the morning where that is wished;
    and a link in a mail tells what its reader thought of it."""
    settings, now = service.settings, time.time()
    content, lookup = load_sealing(settings.keys, "content"), load_lookup(settings.keys)
    clock = [f"{datetime.fromtimestamp(now + hours * 3_600, UTC):%H:%M}" for hours in (-1, 2)]
    lists = content.seal(Lists(always=("example.org",)).written()).hex()
    client = await Client.connect(settings.socket)
    registrar = Registrar(client, content, lookup)
    for name, wishes in (("dee", {"lists": lists}), ("eve", {"quiet": clock, "urgent": "waits"})):
        await registrar.recipient(f"{name}@example.net", None, wishes, {"open": True, "pays": False})
    await client.close()
    to = ["dee@example.net", "eve@example.net"]
    passing, _ = await service.notify(to=to, subject="Newsletter", text="spring is here")
    _, night = await service.notify(to=to)
    passed = await service.ends(passing)

    async def postponed() -> dict[str, Any] | None:
        body: dict[str, Any] = (await service.http.get(f"/v1/notifications/{night}")).json()
        return body if body["state"] == "deferred" else None

    waiting = await eventually(postponed)
    links = Links(lookup.derive("pay"))
    reaction = f"/r/{links.reaction.make(parse_id(passing), 'was_urgent', now + 600)}"
    fewer = f"/u/{links.unsubscribe.make(lookup.address('dee@example.net'), now)}"
    looked = [await service.http.get(path) for path in (reaction, fewer, "/r/forged", "/u/forged")]
    told = [await service.http.post(path, data={"List-Unsubscribe": "One-Click"}) for path in (reaction, fewer)]
    history = (await service.http.get(f"/v1/notifications/{passing}")).json()["history"]

    assert passed["state"] == "delivered"
    (triage,) = [event for event in passed["history"] if event["kind"] == "delayed"]
    assert triage["detail"]["triage"]["rule"] == "the recipient's list of what always passes, entry 1 (sender)"
    assert waiting["history"][-1]["kind"] == "postponed"
    assert now < waiting["history"][-1]["detail"]["quiet"]["until"] <= now + 7_200
    assert [(page.status_code, "<button" in page.text) for page in looked] == [(200, True)] * 2 + [(404, False)] * 2
    assert [(page.status_code, 'role="status"' in page.text) for page in told] == [(200, True)] * 2
    assert [event["kind"] for event in history].count("was_urgent") == 1


async def test_the_same_request_twice_is_one_notification(service: Service) -> None:
    """A lost answer must not become a second mail."""
    key = {"Idempotency-Key": "twice"}
    first = await service.http.post("/v1/notify", json=ALARM, headers=key)
    again = await service.http.post("/v1/notify", json=ALARM, headers=key)
    other = await service.http.post("/v1/notify", json=ALARM | {"text": "urgent: db2"}, headers=key)

    assert first.json() == again.json()
    assert again.headers["Idempotent-Replayed"] == "true"
    assert (other.status_code, other.json()["error"]) == (422, "key_conflict")


@pytest.mark.parametrize("path", ["/classify", "/v1/classify"])
async def test_classify_answers_for_one_mail_and_for_many(service: Service, path: str) -> None:
    """The model can be asked without sending anything, at BentoML's own address and beside the API."""
    question = ALARM | {"recipient": "ada@example.net"}
    one = await service.http.post(path, json=question)
    many = await service.http.post(path, json=[question, question | {"subject": "Hello", "text": "spring"}])

    assert [each["label"] for each in one.json()["predictions"]] == ["urgent"]
    assert [each["label"] for each in many.json()["predictions"]] == ["urgent", "not_urgent"]
    assert many.json()["predictions"][0]["model_version"] == "tiny"


@pytest.mark.parametrize(
    ("path", "content", "status"),
    [
        ("/v1/notify", b"{", 400),
        ("/v1/notify", b"\xff\xfe", 400),
        ("/v1/notify", json.dumps(ALARM | {"to": []}).encode(), 422),
        ("/v1/notify", json.dumps(ALARM | {"to": "nobody"}).encode(), 422),
        ("/v1/notify", json.dumps(ALARM | {"text": "x" * 30 * MEGABYTE}).encode(), 413),
        ("/classify", b"{", 400),
        ("/classify", json.dumps(ALARM | {"unknown": SECRET}).encode(), 422),
        ("/classify", json.dumps(ALARM | {"recipient": SECRET}).encode(), 422),
        ("/classify", b'"' + b"x" * 30 * MEGABYTE + b'"', 413),
        ("/v1/nothing", b"{}", 404),
    ],
)
async def test_bad_input_is_told_what_is_wrong_and_nothing_is_accepted(
    service: Service, path: str, content: bytes, status: int
) -> None:
    """Each a clear error; nothing crashed, nothing accepted, nothing of it in a log."""
    before = service.supervisor.processes()
    client = await Client.connect(service.settings.socket)
    depths = await client.query("depths")
    response = await service.http.post(path, content=content, headers={"Content-Type": "application/json"})

    assert response.status_code == status
    assert "error" in response.text
    assert sum(row["count"] for row in await client.query("depths")) == sum(row["count"] for row in depths)
    assert service.supervisor.processes() == before
    assert SECRET not in service.logs()
    await client.close()


async def test_requests_and_outcomes_are_on_one_metrics_page(service: Service) -> None:
    """Who runs it must see each stage without knowing where its processes are."""
    page = (await service.http.get("/metrics")).text

    assert 'clarion_outcomes_total{outcome="urgent",stage="classification"}' in page
    assert 'clarion_requests_total{method="POST",route="/notify",status="202"}' in page
    assert "/v1/notifications/" not in page


@pytest.mark.parametrize("victim", ["gateway/Classification", "broker", "provider", "gateway"])
async def test_whatever_is_killed_comes_back_and_nothing_is_lost(service: Service, victim: str) -> None:
    """kill -9 at any moment: accepted mail arrives, and the service goes on by itself."""
    mails = service.mails()
    first = [id_ for _ in range(5) for id_ in await service.notify()]
    os.kill(service.supervisor.processes()[victim], signal.SIGKILL)
    second = [id_ for _ in range(5) for id_ in await service.notify()]
    ends = [await service.ends(id_, seconds=120) for id_ in first + second]
    await service.supervisor.ready(120)

    assert {end["state"] for end in ends} == {"delivered"}
    assert service.mails() >= mails + 10
