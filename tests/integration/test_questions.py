"""Questions of one name that are asked in one turn of the loop are one request; each has an answer of its own."""

import asyncio
import json
from typing import Any

import pytest

from serving.errors import BrokerUnavailable, Refused
from serving.queue.client import Client
from serving.queue.limits import MAX_QUESTIONS
from serving.queue.link import Link
from tests.conftest import BrokerProcess
from tests.integration.peers import Raw, submission


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the questions, a request each."""
    found: list[str] = []
    sent = Link.request_with_body

    def send(link: Link, target: str, name: str, *values: Any, **options: Any) -> None:
        if name == "ask":
            found.append(values[1])
        sent(link, target, name, *values, **options)

    monkeypatch.setattr(Link, "request_with_body", send)
    return found


async def test_each_has_its_own_answer(client: Client, requests: list[str]) -> None:
    """More of them than one request takes, and of two names."""
    accepted = await client.accept(submission(recipients=150))
    ids = accepted.notification_ids
    places, (whole, nothing) = await asyncio.gather(
        asyncio.gather(*(client.query("notification", id=str(id_)) for id_ in ids)),
        asyncio.gather(client.query("message", id=str(accepted.message_id)), client.query("message", id="1")),
    )

    assert [row["id"] for (row,) in places] == [str(id_) for id_ in ids]
    assert len(whole) == 150
    assert nothing == []
    assert sorted(requests) == ["message", "notification", "notification", "notification"]


async def test_one_that_is_refused_takes_no_other_with_it(client: Client) -> None:
    """Whoever asked it is told, and nobody else."""
    (id_,) = (await client.accept(submission())).notification_ids
    asked = [str(id_), "no id", str(id_)]
    first, bad, last = await asyncio.gather(
        *(client.query("notification", id=each) for each in asked), return_exceptions=True
    )

    assert isinstance(bad, Refused)
    assert bad.reason == "malformed"
    assert first == last != []


async def test_commands_and_long_questions_asked_at_once_are_answered_too(client: Client) -> None:
    """Each by itself."""
    depths = [*await asyncio.gather(client.query("depths"), client.query("depths"))]
    people = [("a", ["a.example"]), ("b", ["b.example"])]
    made = await asyncio.gather(
        *(client.query("enroll_principal", id=id_, name=id_, domains=domains, policy={}) for id_, domains in people)
    )

    assert depths == [[], []]
    assert len(made) == 2
    assert [row["domains"] for row in await client.query("principals")] == [["a.example"], ["b.example"]]


async def test_who_has_gone_away_is_missed_by_nobody(client: Client) -> None:
    """A question whose asker was cancelled."""
    gone, *others = [asyncio.ensure_future(client.query("offset", recipient="00" * 32)) for _ in range(3)]
    await asyncio.sleep(0)
    gone.cancel()

    assert [await other for other in others] == [[{"log_odds": 0.0}]] * 2


async def test_a_broker_that_goes_away_is_told_to_all(broker: BrokerProcess, client: Client) -> None:
    """Asked, and not yet answered; and what is asked of the next one is answered."""
    asked = [asyncio.ensure_future(client.query("offset", recipient="00" * 32)) for _ in range(3)]
    broker.kill()
    answers = await asyncio.gather(*asked, return_exceptions=True)
    broker.start()
    await (await Client.connect(broker.socket)).close()

    assert [type(answer) for answer in answers] == [BrokerUnavailable] * 3
    assert await client.query("offset", recipient="00" * 32) == [{"log_odds": 0.0}]


@pytest.mark.parametrize(
    ("name", "parameters", "said"),
    [
        ("use_credential", [{"name": "a"}] * 2, "only short queries"),
        ("depths", [{}, {}], "only short queries"),
        ("offset", [], "nor an array"),
        ("offset", [{}] * (MAX_QUESTIONS + 1), "nor an array"),
        ("offset", [{"recipient": "00" * 32}, "none"], "nor an array"),
        ("offset", 7, "nor an array"),
    ],
)
async def test_what_may_not_be_asked_at_once_is_refused(
    broker: BrokerProcess, client: Client, name: str, parameters: Any, said: str
) -> None:
    """Commands, what reads whole tables, too many, and what is no question."""
    assert client
    raw = Raw(broker.socket).bind().make("directory", 6)
    raw.send(6, "ask", 1, name, json.dumps(parameters).encode())
    serial, reason, detail = await asyncio.to_thread(raw.wait, "refused")
    raw.close()

    assert (serial, reason) == (1, raw.PROTOCOL["clarion_manager_v1"].enums["reason"]["malformed"])
    assert said in detail
