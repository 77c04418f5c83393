"""Where a key is missing both sides are told: once a day, without a word of the message, and never in a circle."""

import email
from dataclasses import replace
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTPUTF8
from typing import Any

import pytest

from serving.notice.stage import LOOK_AGAIN
from serving.pipeline import Asked, Told
from serving.stage import Work
from tests.unit.test_notice import CONTENT, LAPSED, MAIL, NOW, UNTIL, Store, notice, text_of, work

PROVEN = {"outcome": "authenticated"}


@pytest.fixture
def store() -> Store:
    return Store()


def keyless(**facts: Any) -> Work:
    """What encryption sends: nothing was asked of anybody yet."""
    proven = {"held": "the recipient has no certificate", "authentication": PROVEN}
    asked = work()
    return replace(asked, facts={**proven, **facts})


def letters(store: Store) -> dict[str, EmailMessage]:
    """What was written, opened, by its kind."""
    return {
        kind: email.message_from_bytes(CONTENT.unseal(bytes.fromhex(written["body"])), policy=SMTPUTF8)
        for (_, kind), written in store.written.items()
    }


async def test_where_a_key_is_missing_both_sides_are_told_and_it_is_looked_into_again(store: Store) -> None:
    """Held mail of which nobody knows is lost mail."""
    outcome = await notice(store).handle(keyless())
    to_recipient, to_sender = letters(store)["keyless"], letters(store)["held"]

    assert outcome == Told((99, 99), NOW + LOOK_AGAIN)
    assert (to_recipient["To"], to_sender["To"]) == ("ada@home.example", "ward7@hospital.example")
    assert "OpenPGP or S/MIME certificate" in text_of(to_recipient)
    assert "it cannot be sealed: the recipient has no certificate." in text_of(to_sender)
    assert to_sender["In-Reply-To"] == "<lab-1@hospital.example>"
    assert all(written["is_open"] for written in store.written.values())


async def test_a_notice_that_travels_open_names_nobody_and_nothing(store: Store) -> None:
    """Neither who wrote nor what: not even that it is from a hospital."""
    await notice(store).handle(keyless())
    to_recipient, to_sender = letters(store)["keyless"].as_string(), letters(store)["held"].as_string()

    assert not [word for word in ("Potassium", "Lab value", "ospital", "ward7", "lab-1") if word in to_recipient]
    assert not [word for word in ("Potassium", "Lab value", "ada@home") if word in to_sender]


async def test_both_are_told_once_a_day_however_much_is_held(store: Store) -> None:
    """The broker knows the day's notice: the recipient's by the day, the sender's by the day and the recipient."""
    await notice(store).handle(keyless())
    once = {kind: written["once"] for (_, kind), written in store.written.items()}

    today = f"{datetime.fromtimestamp(NOW, UTC):%Y-%m-%d}"
    assert once == {"keyless": today, "held": f"{keyless().recipient.hex()[:16]}:{today}"}


@pytest.mark.parametrize(
    ("enrolled", "facts", "kinds"),
    [
        (False, {}, ["held"]),
        (True, {"authentication": {"outcome": "unknown"}}, ["keyless"]),
        (True, {"authentication": {}, "waiver": "digest"}, ["keyless"]),
    ],
)
async def test_nobody_gets_mail_because_somebody_names_them(
    store: Store, enrolled: bool, facts: dict[str, Any], kinds: list[str]
) -> None:
    """Strangers as recipients, and senders whom nothing proves: both would be mail to the forger's victims."""
    store.is_enrolled = enrolled
    await notice(store).handle(keyless(**facts))

    assert [kind for _, kind in store.written] == kinds


async def test_what_waits_for_money_is_asked_for_although_it_was_held_before(store: Store) -> None:
    """Its key came, then its price was due: the fact that it was held is history."""
    due: dict[str, Any] = {
        "due": {"amount": 5, "currency": "EUR", "until": UNTIL},
        "held": "the recipient has no certificate",
    }

    assert await notice(store).handle(work(**due)) == Asked(99, NOW + LOOK_AGAIN)


async def test_a_notice_of_a_missing_key_that_cannot_be_written_holds_the_mail_all_the_same(store: Store) -> None:
    """The eighth failure would have been the message's end."""
    failing = replace(keyless(failed=["notice", 7]), address=b"no sealed address")

    assert await notice(store).handle(failing) == Told((), NOW + LOOK_AGAIN)


@pytest.mark.parametrize(
    "field",
    [
        b"Auto-Submitted: auto-replied (vacation)",
        b"Return-Path: <>",
        b"List-Id: <x.lists.example>",
        b"Precedence: bulk",
        b"Clarion-Notification: 0000000000007",
    ],
)
@pytest.mark.parametrize("facts", [{"lapsed": LAPSED}, {"held": "no key", "authentication": PROVEN}])
async def test_no_notice_answers_what_could_answer_it_again(store: Store, field: bytes, facts: dict[str, Any]) -> None:
    """Two services that write to each other about each other's notices would never end."""
    asked = work(field + b"\r\n" + MAIL)
    await notice(store).handle(replace(asked, facts=facts))

    assert not {"held", "expired"} & {kind for _, kind in store.written}


@pytest.mark.parametrize("sender", [b"clarion@gate.example", b"Clarion <CLARION@gate.example>"])
async def test_nobody_writes_to_our_own_address(store: Store, sender: bytes) -> None:
    """It would come back in at the door."""
    asked = work(MAIL.replace(b"Ward 7 <ward7@hospital.example>", sender))
    await notice(store).handle(replace(asked, facts={"held": "no key", "authentication": PROVEN}))

    assert [kind for _, kind in store.written] == ["keyless"]


async def test_an_alert_is_generated_and_its_sender_is_told(store: Store) -> None:
    """Most senders are machines, and say so."""
    asked = work(b"Auto-Submitted: auto-generated\r\n" + MAIL)
    await notice(store).handle(replace(asked, facts={"held": "no key", "authentication": PROVEN}))

    assert {kind for _, kind in store.written} == {"keyless", "held"}
