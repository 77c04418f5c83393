"""The HTTP API takes mail: what is accepted, what is refused, and what a refusal says."""

import json
from collections.abc import AsyncIterator
from email import message_from_bytes
from email.policy import SMTPUTF8

import pytest

from serving.authentication.api_keys import new_key
from serving.gateway.principals import BELIEVED
from serving.gateway.problems import Problem
from serving.gateway.submission import distinct
from serving.identifiers import format_id
from tests.unit.gateways import (
    CONTENT,
    LIMIT,
    LOOKUP,
    NOTICE,
    RAW,
    Setting,
    is_refusal,
)


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


@pytest.mark.parametrize(
    ("authorization", "challenge"),
    [
        ("", "Bearer"),
        ("Bearer", "Bearer"),
        ("Basic YTpi", "Bearer"),
        ("Bearer clk_wrong", 'Bearer error="invalid_token"'),
        (f"Bearer {new_key().key}", 'Bearer error="invalid_token"'),
    ],
)
async def test_without_a_valid_key_nobody_is_let_in(setting: Setting, authorization: str, challenge: str) -> None:
    """A key is the only thing that tells senders apart; a client's library reads the challenge (RFC 6750 section 3)."""
    response = await setting.http.post("/notify", json=NOTICE, headers={"Authorization": authorization})

    assert is_refusal(response, 401, "unauthorized")
    assert response.headers["WWW-Authenticate"] == challenge


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
