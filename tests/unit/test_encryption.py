"""What leaves is sealed, or open because somebody wrote so; and it is the mail that came, whole."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from email import message_from_bytes, policy
from typing import Any

import pytest
from pysequoia import Tsk

from serving.encryption.certificates import generate_test_key
from serving.encryption.outside import Outside
from serving.encryption.stage import Encryption
from serving.envelope import SmtpEnvelope, envelope_field
from serving.errors import Refused, Unsealable
from serving.mail import fits_smtp
from serving.pipeline import Enclosed, EnclosedFree, Keyless, KeyMissing
from serving.return_addresses import ReturnAddresses
from serving.sealing import LookupKey, UnsealingKey
from serving.stage import Work
from serving.trace import Trace, stamp
from serving.values import OpenByPolicy, Sealed
from tests.unit import works

NOW = datetime.now(UTC)
CONTENT = UnsealingKey(b"\x11" * 32)
DELIVERY = UnsealingKey(b"\x22" * 32)
LOOKUP = LookupKey(b"l" * 32)
RETURNS = ReturnAddresses(LOOKUP.derive("return"), "gate.example")
CERTIFICATE, SECRET = generate_test_key("ann@home.example", "Ann Ünicode")
OUTSIDE = Outside("0000000000007", "clarion@gate.example", "ann@home.example", NOW)
MAIL = (
    b"Received: from a by b; Mon, 2 Nov 2026 10:00:00 +0000\r\nFrom: Ops <ops@bank.example>\r\n"
    b"To: ann@home.example,\r\n  bob@home.example\r\nBcc: carol@home.example\r\n"
    b"Subject: disk full on db1\r\nDate: Mon, 2 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@bank.example>\r\n\r\n"
    b"secret-canary: 97 %\r\n"
)


class Broker:
    """One recipient, one sender's policy; `watched` is what was begun to be watched."""

    def __init__(self, recipient: Mapping[str, Any] | None, sender_is_open: bool = False) -> None:
        self._recipient = recipient
        self._sender_is_open = sender_is_open
        self.watched: list[str] = []
        self.refuses = ""

    async def execute(self, name: str, /, **parameters: Any) -> dict[str, Any]:
        assert name == "watch"
        if self.refuses:
            raise Refused(self.refuses)
        self.watched.append(parameters["about"])
        return {"id": "11"}

    async def query(self, name: str, /, **parameters: Any) -> list[dict[str, Any]]:
        if name == "recipient":
            assert parameters == {"lookup": (b"r" * 32).hex()}
            return [] if self._recipient is None else [dict(self._recipient)]
        assert (name, parameters) == ("sender_policy", {"principal": "bank"})
        return [{"policy": {"open": self._sender_is_open}}]


def _enrolled(certificate: str | None = CERTIFICATE, *, is_open: bool = False) -> dict[str, Any]:
    sealed = None if certificate is None else CONTENT.sealing_key.seal(certificate.encode()).hex()
    return {"certificate": sealed, "policy": {"open": is_open}}


def _work(raw: bytes = MAIL, facts: Mapping[str, Any] | None = None) -> Work:
    return works.work(
        address=CONTENT.sealing_key.seal(b"ann@home.example"),
        facts=facts or {},
        body=CONTENT.sealing_key.seal(raw),
        accepted_at=NOW.timestamp(),
    )


async def _handle(
    broker: Broker, work: Work | None = None, signer: Tsk | None = None
) -> Enclosed | EnclosedFree | Keyless | KeyMissing:
    encryption = Encryption(
        broker, CONTENT, DELIVERY.sealing_key, "clarion@gate.example", NOW.timestamp, lookup=LOOKUP, signer=signer
    )
    return await encryption.handle(work or _work())


async def _sealed(raw: bytes = MAIL, signer: Tsk | None = None) -> tuple[dict[str, str], bytes]:
    outcome = await _handle(Broker(_enrolled()), _work(raw), signer)
    assert isinstance(outcome, Enclosed)
    assert isinstance(outcome.envelope, Sealed)
    return _opened(outcome.envelope.body)


def _opened(envelope: bytes) -> tuple[dict[str, str], bytes]:
    head, _, mail = DELIVERY.unseal(envelope).partition(b"\n")
    return json.loads(head), mail


async def test_a_sealed_mail_tells_the_world_only_that_there_is_mail() -> None:
    """Promise 4: nothing of sender, subject or text may be read on the way."""
    head, mail = await _sealed()
    message = message_from_bytes(mail, policy=policy.SMTP)

    assert message["Subject"] == "[...]"
    assert message["From"] == "Clarion <clarion@gate.example>"
    assert message["To"] == "ann@home.example"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["Clarion-Notification"]
    assert message.get_content_type() == "multipart/encrypted"
    assert not [word for word in (b"canary", b"disk", b"bank.example", b"bob@", b"carol@") if word in mail]
    assert head == {
        "mail_from": RETURNS.make("bounce", 7),
        "rcpt_to": "ann@home.example",
        "message_id": message["Message-ID"],
        "is_ours": True,
        "origin": None,
    }
    assert mail.isascii()
    assert fits_smtp(mail)


@pytest.mark.parametrize("is_open", [False, True])
async def test_mail_programs_find_outside_of_a_digest_how_to_get_fewer_and_of_nothing_else(is_open: bool) -> None:
    """RFC 8058: its fields are read where no key is. What others wrote into theirs stays sealed."""
    fields = b"List-Unsubscribe: <https://gate.example/u/t>\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"
    found: dict[str, tuple[bool, bool, object]] = {}
    for facts in ({"waiver": "digest"}, {"waiver": "delayed"}):
        outcome = await _handle(Broker(_enrolled(is_open=is_open)), _work(fields + MAIL, facts))
        assert isinstance(outcome, EnclosedFree)
        head, mail = _opened(outcome.envelope.body)
        header = mail.partition(b"\r\n\r\n")[0]
        found[facts["waiver"]] = (fields.rstrip() in header, b"List-Unsubscribe" in header, head["is_ours"])

    assert found["digest"] == (True, True, True)
    assert found["delayed"] == ((True, True, False) if is_open else (False, False, True))


async def test_what_the_intake_noted_never_travels() -> None:
    """To whom reports go, and how, is the sender's business and ours."""
    came = stamp(Trace("192.0.2.1", "mx", "ops@bank.example"), "gate.example", NOW)
    noted = envelope_field(SmtpEnvelope("ops@bank.example", "id-canary"), {}) + came + MAIL
    opened = await _handle(Broker(_enrolled(is_open=True)), _work(noted))
    assert isinstance(opened, Enclosed)

    travelling = _opened(opened.envelope.body)[1]
    assert not [word for word in (b"id-canary", b"Return-Path") if word in travelling]
    assert travelling.endswith(b"\r\n" + came.partition(b"\r\n")[2] + MAIL)


async def test_a_second_attempt_has_the_same_message_id_and_another_ciphertext() -> None:
    """A receiver must recognise a mail that was delivered twice."""
    first, second = await _sealed(), await _sealed()

    assert first[0]["message_id"] == second[0]["message_id"]
    assert first[1] != second[1]


async def test_the_envelope_is_closed_to_who_holds_the_content_key_only() -> None:
    """Broker and payment see the envelope in the store; neither may read even the address in it."""
    outcome = await _handle(Broker(_enrolled()))
    assert isinstance(outcome, Enclosed)

    assert b"ann@" not in outcome.envelope.body
    with pytest.raises(Unsealable):
        CONTENT.unseal(outcome.envelope.body)


@pytest.mark.parametrize("waiver", ["failed_open", "delayed", "digest"])
async def test_what_carries_a_waiver_is_enclosed_free_with_it(waiver: str) -> None:
    """Only mail that was judged urgent may reach the money."""
    outcome = await _handle(Broker(_enrolled()), _work(facts={"waiver": waiver}))

    assert isinstance(outcome, EnclosedFree)
    assert outcome.waiver == waiver


async def test_open_travels_only_what_a_written_policy_opens() -> None:
    """Never silently open: the outcome says whose policy it was."""
    mine = await _handle(Broker(_enrolled(None, is_open=True)))
    theirs = await _handle(Broker(None, sender_is_open=True))
    assert isinstance(mine, Enclosed)
    assert isinstance(theirs, Enclosed)

    assert isinstance(mine.envelope, OpenByPolicy)
    assert mine.envelope.policy == "recipient"
    assert isinstance(theirs.envelope, OpenByPolicy)
    assert theirs.envelope.policy == "sender"


async def test_a_senders_policy_never_opens_a_digest() -> None:
    """A digest holds mail of several senders; one of them cannot speak for the others."""
    outcome = await _handle(Broker(_enrolled(None), sender_is_open=True), _work(facts={"waiver": "digest"}))

    assert isinstance(outcome, Keyless)


@pytest.mark.parametrize("broken", ["yes", 1, None, {"open": True}])
async def test_a_policy_that_is_not_exactly_true_seals(broken: object) -> None:
    """A malformed policy must fail closed."""
    outcome = await _handle(Broker(_enrolled() | {"policy": {"open": broken}}))

    assert isinstance(outcome, Enclosed)
    assert isinstance(outcome.envelope, Sealed)


@pytest.mark.parametrize(
    ("recipient", "reason"),
    [
        (None, "not enrolled"),
        (_enrolled(None), "no certificate"),
        (_enrolled(generate_test_key("eve@home.example", "Eve")[0]), "not in the certificate"),
    ],
)
async def test_without_a_usable_certificate_mail_is_held_never_opened(
    recipient: dict[str, Any] | None, reason: str
) -> None:
    """Promise 4: otherwise held, and said so."""
    outcome = await _handle(Broker(recipient))

    assert isinstance(outcome, Keyless)
    assert reason in outcome.reason


@pytest.mark.parametrize("facts", [{"told": []}, {"notice": "asked", "waiver": "notice"}])
async def test_who_was_told_that_a_key_is_missing_is_not_told_again(facts: dict[str, Any]) -> None:
    """Nor does a mail of ours about a mail cause another one: that would never end."""
    assert await _handle(Broker(_enrolled(None)), _work(facts=facts)) == KeyMissing("the recipient has no certificate")
