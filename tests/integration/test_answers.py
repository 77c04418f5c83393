"""Who answers a sealed mail with the mail program's Reply has seen it, and the answer reaches the sender."""

from collections.abc import AsyncIterator, Awaitable, Callable
from email import message_from_bytes, policy
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import parseaddr
from pathlib import Path
from typing import Any

import pytest

from serving.delivery.parcel import Parcel
from serving.identifiers import format_id
from serving.queue.client import Client
from serving.queue.store.answers import MOST_IN_A_DAY
from serving.return_addresses import ReturnAddresses
from serving.sealing import LookupKey
from tests.integration.answering import ADA, OURS, WARD, House

Eventually = Callable[..., Awaitable[None]]


@pytest.fixture
async def house(client: Client, tmp_path: Path) -> AsyncIterator[House]:
    built = House(client, tmp_path)
    await built.enroll()
    async with built.open():
        yield built


def read(octets: bytes) -> EmailMessage:
    mail = message_from_bytes(octets, policy=policy.SMTP)
    assert isinstance(mail, EmailMessage)
    return mail


def reply(to: str, in_reply_to: str, text: str = "On my way.\n\n> Potassium 7.9.\n", **fields: str) -> EmailMessage:
    """As a mail program composes it."""
    mail = EmailMessage(policy=policy.SMTP)
    mail["From"], mail["To"], mail["Subject"] = Address("Ada Lovelace", addr_spec=ADA), to, "Re: Lab value 7.9"
    mail["Message-ID"], mail["Date"] = "<answer-1@home.example>", "Sun, 29 Nov 2026 10:05:00 +0000"
    mail["In-Reply-To"] = mail["References"] = in_reply_to
    mail["Bcc"] = "notes@home.example"
    for name, value in fields.items():
        del mail[name.replace("_", "-")]
        mail[name.replace("_", "-")] = value
    mail.set_content(text)
    return mail


async def delivered(house: House, eventually: Eventually, count: int) -> Parcel:
    await eventually(lambda: len(house.sent) >= count)
    return house.sent[count - 1]


async def test_an_answer_acknowledges_and_reaches_the_sender_in_its_own_thread(
    house: House, eventually: Eventually
) -> None:
    """The whole way: sealed mail, Reply in the mail program, SMTP to us, history, and a mail that the ticket knows."""
    id_ = await house.accept()
    parcel = await delivered(house, eventually, 1)
    outer, inner, before = read(parcel.mail), read(house.read(parcel)), await house.counted()
    shown, to = parseaddr(str(inner["Reply-To"]))
    response = await house.answer(reply(to, str(outer["Message-ID"])), to)
    told = await house.kinds(id_)
    after = await house.counted()
    passed = await delivered(house, eventually, 2)
    mail = read(passed.mail)

    assert response.code == 250
    assert outer["Reply-To"] == to == house.addresses.make("reply", id_)
    assert shown == f"{WARD} via Clarion"
    assert inner["Subject"] == "Lab value 7.9"
    assert told[-2:] == ["answered", "acknowledged"]
    assert {name for name in after if after[name] > before.get(name, 0)} != set()
    assert passed.rcpt_to == WARD
    assert (mail["From"], mail["Reply-To"], mail["To"]) == (f"Ada Lovelace via Clarion <{OURS}>", ADA, WARD)
    assert (mail["In-Reply-To"], mail["References"]) == ("<lab-1@hospital.example>",) * 2
    assert (mail["Message-ID"], mail["Subject"]) == ("<answer-1@home.example>", "Re: Lab value 7.9")
    assert mail.get_content() == "On my way.\r\n\r\n> Potassium 7.9.\r\n"
    assert mail["Auto-Submitted"] is None
    assert b"reply+" not in passed.mail
    assert b"notes@home.example" not in passed.mail


async def test_an_answer_that_comes_twice_is_one(house: House, eventually: Eventually) -> None:
    """A server that has lost our 250 sends it again, over another way and later."""
    id_ = await house.accept()
    await delivered(house, eventually, 1)
    to = house.addresses.make("reply", id_)
    answer = reply(to, "<x@gate.example>").as_bytes(policy=policy.SMTP)
    codes = [(await house.answer(octets, to)).code for octets in (answer, b"Received: by relay.example\r\n" + answer)]
    await delivered(house, eventually, 2)
    other = await house.answer(reply(to, "<x@gate.example>", "And now I am there.\n"), to)
    await delivered(house, eventually, 3)

    assert codes == [250, 250]
    assert other.code == 250
    assert (await house.kinds(id_)).count("answered") == 2
    assert (await house.kinds(id_)).count("acknowledged") == 1
    assert len(house.sent) == 3


@pytest.mark.parametrize(
    "fields",
    [
        {"Auto_Submitted": "auto-replied (vacation)"},
        {"Precedence": "bulk"},
        {"X_Autoreply": "yes"},
        {"Subject": "Automatische Antwort: Lab value"},
    ],
)
async def test_a_vacation_notice_acknowledges_nothing(
    house: House, eventually: Eventually, fields: dict[str, str]
) -> None:
    """An alarm that a machine has acknowledged is one that nobody has seen."""
    id_ = await house.accept()
    await delivered(house, eventually, 1)
    to = house.addresses.make("reply", id_)
    response = await house.answer(reply(to, "<x@gate.example>", **fields), to)

    assert response.code == 250
    assert not {"answered", "acknowledged"} & set(await house.kinds(id_))


async def test_a_bounce_at_the_address_for_answers_is_taken_and_nothing_comes_of_it(
    house: House, eventually: Eventually
) -> None:
    """RFC 5321 section 4.5.5: what answers it would begin a loop."""
    id_ = await house.accept()
    await delivered(house, eventually, 1)
    to = house.addresses.make("reply", id_)
    response = await house.answer(reply(to, "<x@gate.example>"), to, mail_from="")

    assert response.code == 250
    assert not {"answered", "acknowledged"} & set(await house.kinds(id_))


async def test_who_is_not_the_recipient_acknowledges_nothing(house: House) -> None:
    """Whoever was forwarded the mail has its address too; MAIL FROM proves nothing, nor does a second From."""
    id_ = await house.accept()
    to = house.addresses.make("reply", id_)
    foreign = await house.answer(reply(to, "<x@gate.example>", From="Eve <eve@evil.example>"), to)
    doubled = await house.answer(b"From: eve@evil.example\r\n" + reply(to, "<x@gate.example>").as_bytes(), to)
    both = await house.answer(reply(to, "<x@gate.example>", From=f"{ADA}, eve@evil.example"), to)

    assert (foreign.code, foreign.message[:5]) == (550, "5.7.1")
    assert "answer from the address that got it" in foreign.message
    assert (doubled.code, both.code) == (550, 550)
    assert not {"answered", "acknowledged"} & set(await house.kinds(id_))


async def test_what_strangers_write_is_refused_before_the_broker_has_to_read_it(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """25 MiB of nobody's, as often as somebody likes, would take seconds from everybody's alarms."""
    id_ = await house.accept()
    to = house.addresses.make("reply", id_)
    asked: list[str] = []
    execute = Client.execute

    async def listen(self: Client, name: str, /, **parameters: Any) -> dict[str, Any]:
        asked.append(name)
        return await execute(self, name, **parameters)

    monkeypatch.setattr(Client, "execute", listen)
    foreign = await house.answer(reply(to, "<x@gate.example>", From="Eve <eve@home.example>"), to)

    assert (foreign.code, foreign.message[:5]) == (550, "5.7.1")
    assert "answer" not in asked


async def test_an_address_that_we_have_not_given_out_takes_nothing(house: House) -> None:
    """Ids can be counted up; the proof beside them cannot."""
    id_ = await house.accept()
    forged = ReturnAddresses(LookupKey(b"other" * 8).derive("return"), "gate.example").make("reply", id_)
    responses = [
        await house.answer(reply(to, "<x@gate.example>"), to)
        for to in (forged, house.addresses.make("reply", 12345), "reply+x@gate.example")
    ]

    assert [response.code for response in responses] == [550, 550, 550]


async def test_what_is_no_mail_or_goes_in_circles_is_refused(house: House) -> None:
    """Bounded, and with the codes that mail people expect."""
    id_ = await house.accept()
    to = house.addresses.make("reply", id_)
    answer = reply(to, "<x@gate.example>").as_bytes(policy=policy.SMTP)
    large = b"".join(b"X-Filler: %s\r\n" % (b"x" * 900) for _ in range(1_200))
    circle = b"Received: from a by b; Sun, 29 Nov 2026 10:00:00 +0000\r\n" * 60
    responses = [await house.answer(octets + answer, to) for octets in (large, circle)]

    assert [response.code for response in responses] == [550, 554]
    assert not {"answered", "acknowledged"} & set(await house.kinds(id_))


async def test_nobody_writes_more_than_so_many_answers_a_day(house: House) -> None:
    """The address stands outside the sealed mail: whoever reads it on its way must not flood the sender."""
    id_ = await house.accept()
    to = house.addresses.make("reply", id_)
    codes = [
        (await house.answer(reply(to, "<x@gate.example>", f"This is {number}.\n"), to)).code
        for number in range(MOST_IN_A_DAY + 1)
    ]

    assert codes == [250] * MOST_IN_A_DAY + [450]
    assert (await house.kinds(id_)).count("answered") == MOST_IN_A_DAY


async def test_an_answer_to_one_of_our_own_mails_has_no_address(house: House, eventually: Eventually) -> None:
    """What passes an answer on asks for none itself: it would go round."""
    id_ = await house.accept()
    await delivered(house, eventually, 1)
    to = house.addresses.make("reply", id_)
    await house.answer(reply(to, f"<{format_id(id_)}@gate.example>"), to)
    await delivered(house, eventually, 2)
    (child,) = [
        event["detail"]["answer"]
        for event in await house.client.query("events", id=str(id_))
        if event["kind"] == "answered"
    ]
    forward = (await house.facts(child))["passed_on"]
    responses = [
        await house.answer(reply("x@gate.example", "<x@gate.example>"), house.addresses.make("reply", int(each)))
        for each in (child, forward)
    ]

    assert [response.code for response in responses] == [550, 550]
    assert (await house.facts(child))["state"] == "delivered"


async def test_who_is_enrolled_with_a_certificate_gets_answers_sealed(house: House, eventually: Eventually) -> None:
    """A sender that has a key need not read in the open what people say; and no machine seems to have written it."""
    await house.enroll(WARD)
    id_ = await house.accept()
    await delivered(house, eventually, 1)
    to = house.addresses.make("reply", id_)
    await house.answer(reply(to, "<x@gate.example>"), to)
    passed = await delivered(house, eventually, 2)
    outer, inner = read(passed.mail), read(house.read(passed))

    assert outer.get_content_type() == "multipart/encrypted"
    assert (outer["Auto-Submitted"], outer["Reply-To"]) == (None, None)
    assert (inner["From"], inner["Reply-To"]) == (f"Ada Lovelace via Clarion <{OURS}>", ADA)
