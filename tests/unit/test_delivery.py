"""What delivery decides without a network: when to try again, what a reply means, what an envelope holds."""

import json
from random import Random

import pytest
from nacl.public import PrivateKey

from serving.delivery.parcel import open_parcel
from serving.delivery.replies import LONGEST, clean, is_permanent
from serving.delivery.routes import Smarthost
from serving.delivery.schedule import PATIENT
from serving.delivery.stage import Delivery
from serving.errors import Unsealable
from serving.pipeline import Undeliverable
from serving.sealing import UnsealingKey
from tests.unit import works


def envelope(mail: bytes = b"Subject: x\r\n\r\nx\r\n", **fields: str) -> bytes:
    head = {"mail_from": "a@sender.example", "rcpt_to": "b@receiver.example", "message_id": "<1@x>"} | fields
    return json.dumps(head).encode() + b"\n" + mail


@pytest.mark.parametrize(("attempt", "seconds"), [(1, 60), (2, 90), (3, 135), (8, 1025.16), (11, 3000), (10_000, 3000)])
def test_the_wait_grows_by_half_up_to_an_hour(attempt: int, seconds: float) -> None:
    """The stated schedule, 60 s × 1.5ⁿ ± 20 %, and no overflow however long it takes."""
    delays = [PATIENT.delay(attempt, Random(seed)) for seed in range(200)]  # noqa: S311

    assert 0.8 * seconds - 1 <= min(delays) < max(delays) <= 1.2 * seconds + 1
    assert max(delays) <= 3600
    assert max(delays) - min(delays) > 0.3 * seconds


@pytest.mark.parametrize(
    ("code", "words", "permanent"),
    [
        (421, "4.3.2 going down", False),
        (450, "4.2.0 greylisted", False),
        (452, "4.5.3 too many recipients", False),
        (503, "5.5.1 need EHLO first", False),
        (530, "5.7.0 authentication required", False),
        (550, "5.1.1 unknown", True),
        (551, "5.1.6 try elsewhere", True),
        (552, "5.2.2 mailbox full", True),
        (552, "5.5.3 no more", False),
        (552, "Too many recipients", False),
        (554, "5.7.1 no", True),
        (556, "5.1.10 takes no mail", True),
        (250, "", False),
    ],
)
def test_only_a_refusal_of_the_mail_itself_is_for_good(code: int, words: str, permanent: bool) -> None:
    """A wrong login (530) is our set-up: bouncing all mail for it would lose it. 552 once said what 452 does now."""
    assert is_permanent(code, words) is permanent


@pytest.mark.parametrize(
    ("reply", "cleaned"),
    [
        ("5.1.1 <ada@lab.example>: no such user", "5.1.1 <address>: no such user"),
        ('5.1.1 "ada l"@lab.example unknown', "5.1.1 <address> unknown"),
        ("mailbox ada is full,\n ask ada%40lab.example", "mailbox <address> is full, ask <address>"),
        ("2.0.0 Kept as adagio\x07 ü", "2.0.0 Kept as adagio? ?"),
    ],
)
def test_a_reply_is_kept_without_addresses(reply: str, cleaned: str) -> None:
    """Replies go to the history and to logs, where no address may stand."""
    assert clean(reply, "ada@lab.example") == cleaned


def test_a_hostile_reply_is_cut_and_costs_no_time() -> None:
    """A receiver chooses its replies; 32 KiB without a space must not hold the stage."""
    text = clean("5.0.0 " + "x" * 32_000 + " y@z.example " * 100)

    assert len(text) <= LONGEST
    assert "@" not in text


def test_an_envelope_holds_its_mail_octet_for_octet() -> None:
    """Nothing between encryption and the wire may touch the mail."""
    parcel = open_parcel(envelope(b"A: b\r\n\r\n{\n\x00\xff"))

    assert parcel.mail == b"A: b\r\n\r\n{\n\x00\xff"
    assert (parcel.mail_from, parcel.rcpt_to, parcel.message_id) == ("a@sender.example", "b@receiver.example", "<1@x>")


@pytest.mark.parametrize(
    "octets", [b"", b"{}\nx", b"[1]\nx", b'{"mail_from":1,"rcpt_to":2,"message_id":3}\nx', b"\xff"]
)
def test_what_is_no_envelope_is_said_to_be_none(octets: bytes) -> None:
    """Stages of different versions must not send half of something."""
    with pytest.raises(Unsealable):
        open_parcel(octets)


@pytest.mark.parametrize(
    ("fields", "mail", "eight_bit", "international"),
    [
        ({}, b"Subject: x\r\n\r\nplain\r\n", False, False),
        ({}, b"Subject: x\r\n\r\n\xfc\r\n", True, False),
        ({}, "Subject: ü\r\n\r\nplain\r\n".encode(), True, True),
        ({}, b"Subject: \xfc\r\n\r\nplain\r\n", True, False),
        ({"rcpt_to": "jürgen@receiver.example"}, b"\r\nx\r\n", False, True),
        ({"rcpt_to": "b@bücher.example"}, b"\r\nx\r\n", False, False),
    ],
)
def test_extensions_are_needed_only_by_what_needs_them(
    fields: dict[str, str], mail: bytes, eight_bit: bool, international: bool
) -> None:
    """Asking for SMTPUTF8 without need makes servers that lack it refuse."""
    parcel = open_parcel(envelope(mail, **fields))

    assert (parcel.is_eight_bit, parcel.is_international) == (eight_bit, international)


@pytest.mark.parametrize(("until", "is_over"), [(999.0, True), (1_001.0, False), (0.0, False)])
async def test_what_its_hold_did_not_outlive_is_not_delivered(until: float, is_over: bool) -> None:
    """Goods shipped on a hold that has expired are goods that nobody pays for."""
    key = UnsealingKey(bytes(PrivateKey.generate()))
    nobody = Smarthost("127.0.0.1", 9, "clarion.example")
    delivery = Delivery(key, nobody, expiry=60.0, random=Random(1), clock=lambda: 1_000.0)  # noqa: S311
    held = {"amount": 5, "currency": "EUR", "account": "wallet:ab", "until": until}
    expired = works.work(facts={"hold": held}, body=b"what is not looked at any more")

    if not is_over:
        with pytest.raises(Unsealable):
            await delivery.handle(expired)
        return
    assert await delivery.handle(expired) == Undeliverable("the hold for it expired before the receiver had it")
