"""The stage that passes answers on: to whoever sent what they answer, or back to their writer with the reason."""

from dataclasses import dataclass, field, replace
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

import pytest
from nacl.public import PrivateKey

from serving.errors import BrokerUnavailable, Unsealable
from serving.notice.answers import GONE, NOBODY, UNREADABLE
from serving.notice.stage import Notice, Post
from serving.pipeline import NotPassedOn, PassedOn
from serving.sealing import LookupKey, UnsealingKey
from serving.stage import Work
from serving.web.token import Links
from tests.unit import works

NOW = 1_795_600_000.0
CONTENT = UnsealingKey(bytes(PrivateKey.generate()))
LOOKUP = LookupKey(b"l" * 32)
MAIL = (
    b"Return-Path: <bounces@hospital.example>\r\nReceived: from a ([192.0.2.1])\r\n\tby gate.example (Clarion); now\r\n"
    b"From: Ward 7 <ward7@hospital.example>\r\nTo: ada@home.example\r\nSubject: Lab value 7.9\r\n"
    b"Message-ID: <lab-1@hospital.example>\r\n\r\nPotassium 7.9, call at once.\r\n"
)
ANSWER = b"From: ada@home.example\r\nMessage-ID: <a@home.example>\r\nSubject: Re: [...]\r\n\r\nOn my way.\r\n"


@dataclass
class Store:
    """Notification 3, of message 4, and what is written."""

    body: bytes | None = MAIL
    facts: dict[str, Any] = field(default_factory=lambda: {"authentication": {"outcome": "authenticated"}})
    written: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    is_away: bool = False

    async def query(self, name: str, /, **parameters: Any) -> list[dict[str, Any]]:
        if self.is_away:
            raise BrokerUnavailable("away")
        if name == "notification":
            return [{"message": "4", "facts": self.facts}] if parameters == {"id": "3"} else []
        assert (name, parameters) == ("body", {"message": "4"})
        return [{"body": "" if self.body is None else CONTENT.sealing_key.seal(self.body).hex()}]

    async def execute(self, name: str, /, **parameters: Any) -> dict[str, Any]:
        assert name == "write_notice"
        self.written.setdefault((parameters["about"], parameters["kind"]), parameters)
        return {"id": "99"}

    @property
    def letter(self) -> tuple[str, EmailMessage]:
        """To whom the only one goes, and what it says."""
        (parameters,) = self.written.values()
        assert parameters["is_open"] is True
        address = CONTENT.unseal(bytes.fromhex(parameters["address"])).decode()
        assert parameters["recipient"] == LOOKUP.address(address).hex()
        mail = message_from_bytes(CONTENT.unseal(bytes.fromhex(parameters["body"])), policy=policy.SMTPUTF8)
        assert isinstance(mail, EmailMessage)
        return address, mail


def notice(store: Store) -> Notice:
    return Notice(store, CONTENT, LOOKUP, Post("clarion@gate.example", "", Links(b"k")), lambda: NOW)


def work(answer: bytes = ANSWER, **facts: Any) -> Work:
    seal = CONTENT.sealing_key.seal
    address = seal(b"ada@home.example")
    recipient = LOOKUP.address("ada@home.example")
    return works.work(
        principal="", recipient=recipient, facts={"answer": "3", **facts}, body=seal(answer), address=address
    )


async def test_an_answer_goes_to_the_sender_once() -> None:
    """A crash behind the commit sends the stage here again, with the same work."""
    store = Store()
    outcomes = [await notice(store).handle(work()) for _ in range(2)]
    to, mail = store.letter

    assert outcomes == [PassedOn(99)] * 2
    assert to == mail["To"] == "ward7@hospital.example"
    assert mail["In-Reply-To"] == "<lab-1@hospital.example>"
    assert mail.get_content().strip() == "On my way."


@pytest.mark.parametrize(
    ("store", "reason"),
    [
        (Store(body=None), GONE),
        (Store(body=b"Subject: nobody\r\n\r\nx\r\n"), NOBODY),
        (Store(facts={}), NOBODY),
    ],
)
async def test_an_answer_to_nobody_comes_back_with_the_reason(store: Store, reason: str) -> None:
    """It was taken with 250: whoever wrote it must not believe that it was read."""
    outcome = await notice(store).handle(work())
    to, mail = store.letter

    assert outcome == NotPassedOn(reason, 99)
    assert to == mail["To"] == "ada@home.example"
    assert reason in mail.get_content()
    assert (mail["Auto-Submitted"], mail["In-Reply-To"]) == ("auto-replied", "<a@home.example>")
    assert "Lab value" not in mail.as_string()
    assert "On my way" not in mail.as_string()


async def test_what_is_no_mail_comes_back_too() -> None:
    """The intake takes none, but whoever passes on decides for itself."""
    store = Store()

    assert await notice(store).handle(work(b"no mail")) == NotPassedOn(UNREADABLE, 99)
    assert store.letter[0] == "ada@home.example"


async def test_an_answer_that_never_opens_ends_at_the_eighth_try() -> None:
    """Before, the key may still come; then the event says so, and no letter of payment is written by mistake."""
    store = Store()
    broken = replace(work(), body=b"no sealed body")
    with pytest.raises(Unsealable):
        await notice(store).handle(broken)
    last = replace(broken, facts={**broken.facts, "failed": ["notice", 7]})

    assert await notice(store).handle(last) == NotPassedOn(UNREADABLE, None)
    assert store.written == {}


async def test_an_answer_waits_for_the_broker() -> None:
    """That it is away says nothing of the answer, at whatever try."""
    with pytest.raises(BrokerUnavailable):
        await notice(Store(is_away=True)).handle(work(failed=["notice", 7]))
