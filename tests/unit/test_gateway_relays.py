"""What a relay hands on is stamped by us first, so that no stranger's words are taken for the relay's."""

from typing import Any

import pytest

from serving.identifiers import format_id
from serving.trace import Trace, stamped
from tests.unit.gateways import CONTENT, Setting, is_refusal
from tests.unit.test_gateway_answers import notification

HEADERS = {"Content-Type": "message/rfc822"}
FORGED = (
    b"Return-Path: <bounce@bank.example>\r\nReceived: from mx ([192.0.2.1])\r\n"
    b"\tby clarion.invalid (Clarion); Wed, 25 Nov 2026 15:00:00 +0000\r\n"
)
MAIL = b"From: ops@bank.example\r\nTo: ann@home.example\r\nSubject: x\r\n\r\nx\r\n"


@pytest.fixture
def relay() -> Setting:
    """A caller that may hand on the mail of others."""
    setting = Setting()
    for row in setting.broker.rows["principal_by_key"]:
        row["policy"] = {"relays": True}
    return setting


def stored(setting: Setting) -> bytes:
    return CONTENT.unseal(setting.broker.only.body)


@pytest.mark.parametrize(
    ("query", "trace"),
    [
        ({}, Trace()),
        (
            {"client_ip": "192.0.2.7", "helo": "mx.bank.example", "mail_from": "bounce@bank.example"},
            Trace("192.0.2.7", "mx.bank.example", "bounce@bank.example"),
        ),
        ({"client_ip": "2001:db8::7", "helo": "mx"}, Trace("2001:db8::7", "mx", "")),
    ],
)
@pytest.mark.parametrize("forged", [b"", FORGED])
async def test_a_relays_words_and_nobody_elses_say_how_its_mail_came(
    relay: Setting, query: dict[str, str], trace: Trace, forged: bytes
) -> None:
    """A mail that begins with a stamp of its own would prove itself by an address that it never came from."""
    answer = await relay.http.post("/notify", params=query, content=forged + MAIL, headers=HEADERS)

    assert answer.status_code == 202
    assert stamped(stored(relay)) == trace
    assert stored(relay).endswith(forged + MAIL)


@pytest.mark.parametrize(
    "query", [{"client_ip": "mx", "helo": "mx"}, {"helo": "mx"}, {"client_ip": "192.0.2.7", "helo": "a b"}]
)
async def test_words_that_say_nothing_are_refused(relay: Setting, query: dict[str, str]) -> None:
    """A typing error in a relay's script must not turn every mail into one of unknown origin."""
    answer = await relay.http.post("/notify", params=query, content=MAIL, headers=HEADERS)

    assert is_refusal(answer, 422, "bad_trace")


async def test_any_other_sender_says_nothing_of_how_its_mail_came() -> None:
    """Its mail is stored as it was sent."""
    setting = Setting()
    await setting.http.post("/notify", params={"client_ip": "192.0.2.7", "helo": "mx"}, content=MAIL, headers=HEADERS)

    assert stored(setting) == MAIL


async def test_the_same_mail_again_is_the_same_whatever_the_clock_says(relay: Setting) -> None:
    """The stamp has a date; the idempotency key is about what was sent."""
    headers = {**HEADERS, "Idempotency-Key": "once"}
    first: dict[str, Any] = (await relay.http.post("/notify", content=MAIL, headers=headers)).json()
    relay.clock.now += 60.0
    second = await relay.http.post("/notify", content=MAIL, headers=headers)

    assert second.json() == first
    assert second.headers["Idempotent-Replayed"] == "true"


async def test_the_sealed_findings_are_not_the_senders_to_read(relay: Setting) -> None:
    """The history says results without names; what is sealed for the recipient is noise to everybody else."""
    detail = {"authentication": {"outcome": "authenticated", "found": "dmarc=pass"}, "results": "c2VhbGVk"}
    event = {"id": "100", "seq": 1, "at": 2.0, "stage": "authentication", "kind": "authenticated", "next": None}
    relay.broker.rows["notification"] = [notification("100", "p1")]
    relay.broker.rows["events"] = [{**event, "detail": detail}]
    (told,) = (await relay.http.get(f"/notifications/{format_id(100)}")).json()["history"]

    assert told["detail"] == {"authentication": detail["authentication"]}
