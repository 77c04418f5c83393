"""Sealed mail carries an address of ours for answers, where there is somebody to answer; open mail stays as it came."""

from email import message_from_bytes, policy
from email.message import Message
from typing import Any

import pytest
from pysequoia import Tsk, decrypt

from serving.encryption.certificates import generate_test_key
from serving.encryption.stage import Encryption
from serving.pipeline import Enclosed, EnclosedFree
from serving.return_addresses import ReturnAddresses
from serving.sealing import LookupKey, UnsealingKey
from serving.values import Sealed
from tests.unit import works

CONTENT, DELIVERY, LOOKUP = UnsealingKey(b"\x11" * 32), UnsealingKey(b"\x22" * 32), LookupKey(b"l" * 32)
CERTIFICATE, SECRET = generate_test_key("ann@home.example", "Ann")
ADDRESS = ReturnAddresses(LOOKUP.derive("return"), "gate.example").make("reply", 7)
PROVEN: dict[str, Any] = {"authentication": {"outcome": "authenticated"}}
MAIL = (
    b"From: Ops <ops@bank.example>\r\nReply-To: Tickets <tickets@bank.example>\r\nSubject: disk full\r\n"
    b"Message-ID: <1@bank.example>\r\n\r\n97 %\r\n"
)


class Broker:
    """One recipient, with a certificate or with a policy of open mail."""

    def __init__(self, *, is_open: bool = False) -> None:
        certificate = CONTENT.sealing_key.seal(CERTIFICATE.encode()).hex()
        self._recipient = {"certificate": certificate, "policy": {"open": is_open}}

    async def query(self, name: str, /, **_: Any) -> list[dict[str, Any]]:
        return [self._recipient] if name == "recipient" else []

    async def execute(self, name: str, /, **_: Any) -> dict[str, Any]:
        raise AssertionError(name)


async def _travelling(facts: dict[str, Any], *, is_open: bool = False, mail: bytes = MAIL) -> tuple[bytes, bool]:
    """The mail as it leaves, and whether it is sealed."""
    seal = CONTENT.sealing_key.seal
    work = works.work(address=seal(b"ann@home.example"), facts=facts, body=seal(mail))
    broker, clarion = Broker(is_open=is_open), "clarion@gate.example"
    encryption = Encryption(broker, CONTENT, DELIVERY.sealing_key, clarion, lambda: 1.8e9, lookup=LOOKUP)
    outcome = await encryption.handle(work)
    assert isinstance(outcome, Enclosed | EnclosedFree)
    return DELIVERY.unseal(outcome.envelope.body).partition(b"\n")[2], isinstance(outcome.envelope, Sealed)


async def _read(facts: dict[str, Any]) -> tuple[Message, Message]:
    """A sealed mail, outside and inside."""
    octets, is_sealed = await _travelling(facts)
    assert is_sealed
    _, begin, armour = octets.partition(b"-----BEGIN")
    inside = decrypt(begin + armour, Tsk.from_bytes(SECRET.encode()).decryptor()).bytes
    assert inside is not None
    return message_from_bytes(octets, policy=policy.SMTP), message_from_bytes(inside, policy=policy.SMTP)


@pytest.mark.parametrize("more", [{}, {"waiver": "failed_open"}, {"waiver": "delayed"}])
async def test_a_sealed_mail_asks_for_answers_at_an_address_of_ours(more: dict[str, Any]) -> None:
    """A mail program that shows the inner fields answers to those, any other to the outer ones (RFC 9788)."""
    outside, inside = await _read({**PROVEN, **more})

    assert outside["Reply-To"] == ADDRESS
    assert inside["Reply-To"] == f'"tickets@bank.example via Clarion" <{ADDRESS}>'
    assert inside["Clarion-Reply-To"] == "Tickets <tickets@bank.example>"
    assert f"Reply-To: {ADDRESS}" in inside.get_all("HP-Outer", [])
    assert b"bank.example" not in outside.as_bytes()


@pytest.mark.parametrize(
    "facts",
    [
        {"waiver": "digest"},
        {**PROVEN, "waiver": "notice", "notice": "asked"},
        {"authentication": {"outcome": "unknown"}},
    ],
)
async def test_what_nobody_is_to_answer_carries_none(facts: dict[str, Any]) -> None:
    """A digest has many senders, a notice none but ourselves."""
    outside, inside = await _read(facts)

    assert outside["Reply-To"] is None
    assert inside["Reply-To"] == "Tickets <tickets@bank.example>"


async def test_open_mail_asks_for_answers_where_its_sender_does() -> None:
    """It is unchanged below the trace fields, and its signature holds."""
    octets, is_sealed = await _travelling(PROVEN, is_open=True)

    assert not is_sealed
    assert octets.endswith(MAIL)
    assert b"reply+" not in octets


@pytest.mark.parametrize(("kind", "automatic"), [("answer", None), ("asked", "auto-generated")])
async def test_an_answer_that_is_passed_on_does_not_look_like_a_machines(kind: str, automatic: str | None) -> None:
    """A ticket system throws away what a machine seems to have written (RFC 3834)."""
    outside, _ = await _read({"waiver": "notice", "notice": kind})

    assert outside["Auto-Submitted"] == automatic
