"""Our own mails about a notification: they ask or tell what is needed, and hold nothing of the message."""

import email
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTPUTF8
from typing import Any

import pytest
from nacl.public import PrivateKey

from serving.errors import Unsealable
from serving.notice.letter import Request, write_request
from serving.notice.stage import LOOK_AGAIN, Notice, Post
from serving.pipeline import Asked, Expired
from serving.sealing import LookupKey, UnsealingKey
from serving.stage import Work
from serving.web.desk import BadToken
from serving.web.token import STATEMENT_FOR, Links
from tests.unit import works

NOW = 1_795_600_000.0
UNTIL = NOW + 3_600.0

LAPSED = {"amount": 5, "currency": "EUR", "account": "wallet:ab"}
CONTENT = UnsealingKey(bytes(PrivateKey.generate()))
LOOKUP = LookupKey(b"l" * 32)
LINKS = Links(LOOKUP.derive("pay"))
MAIL = (
    b"From: Ward 7 <ward7@hospital.example>\r\nTo: ada@home.example\r\nSubject: Lab value 7.9\r\n"
    b"Message-ID: <lab-1@hospital.example>\r\n\r\nPotassium 7.9, call at once.\r\n"
)
SAID = ("Potassium", "Lab value", "call at once")
"""What the mail says, in words that no token, id or boundary of a notice can hold by chance."""


@dataclass
class Store:
    """Who sends, and the notices that were written, by what they are about and kind."""

    name: str | None = "Hospital <b>"
    balance: int = 4
    is_enrolled: bool = True
    written: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)

    async def query(self, name: str, /, **_: Any) -> list[dict[str, Any]]:
        if name == "balance":
            return [{"balance": self.balance}]
        if name == "recipient":
            return [{}] if self.is_enrolled else []
        assert name == "principal"
        return [] if self.name is None else [{"name": self.name}]

    async def execute(self, name: str, /, **parameters: Any) -> dict[str, Any]:
        assert name == "write_notice"
        self.written.setdefault((parameters["about"], parameters["kind"]), parameters)
        return {"id": "99"}

    @property
    def letter(self) -> EmailMessage:
        """The only one, opened."""
        (parameters,) = self.written.values()
        octets = CONTENT.unseal(bytes.fromhex(parameters["body"]))
        return email.message_from_bytes(octets, policy=SMTPUTF8)


@pytest.fixture
def store() -> Store:
    return Store()


def notice(store: Store) -> Notice:
    post = Post("clarion@gate.example", "https://gate.example/pay", LINKS)
    return Notice(store, CONTENT, LOOKUP, post, lambda: NOW)


def work(mail: bytes = MAIL, **facts: Any) -> Work:
    seal = CONTENT.sealing_key.seal
    facts = {"due": {"amount": 5, "currency": "EUR", "until": UNTIL}, **facts}
    return works.work(principal="p", facts=facts, body=seal(mail), address=seal(b"ada@home.example"))


def text_of(letter: EmailMessage) -> str:
    return "".join(str(part.get_content()) for part in letter.walk() if part.get_content_maintype() == "text")


async def test_the_payer_is_told_who_writes_how_much_and_until_when(store: Store) -> None:
    """All that somebody needs to decide, with a link that opens this notification's page until its time is over."""
    outcome = await notice(store).handle(work())
    letter = store.letter
    token = text_of(letter).partition("https://gate.example/pay/")[2].split()[0]

    assert outcome == Asked(99, NOW + LOOK_AGAIN)
    assert letter["To"] == "ada@home.example"
    assert "Hospital <b> has written something urgent" in text_of(letter)
    assert "€0.05" in letter["Subject"]
    assert "2026-11-25 10:46 UTC" in text_of(letter)
    assert LINKS.pay.read(token, UNTIL + 86_400.0) == 7


async def test_a_request_is_addressed_under_the_key_of_its_day(store: Store) -> None:
    """A copy of the message's sealed address could come under an old key just when that is retired."""
    asked = work()
    await notice(store).handle(asked)
    (written,) = store.written.values()

    assert written["address"] != asked.address.hex()
    assert CONTENT.unseal(bytes.fromhex(written["address"])) == b"ada@home.example"


async def test_the_payer_gets_a_link_to_the_statement_that_the_link_to_pay_is_not(store: Store) -> None:
    """The other one may be forwarded, for somebody else to pay."""
    asked = work()
    await notice(store).handle(asked)
    token = text_of(store.letter).partition("https://gate.example/pay/statement/")[2].split()[0]

    assert LINKS.statement.read(token, NOW) == f"wallet:{asked.recipient.hex()}"
    with pytest.raises(BadToken, match="forged"):
        LINKS.pay.read(token, NOW)
    with pytest.raises(BadToken, match="expired"):
        LINKS.statement.read(token, NOW + STATEMENT_FOR + 1)


async def test_the_request_shows_its_link_as_a_qr_code(store: Store) -> None:
    """Who reads on a computer pays with the phone in the hand."""
    await notice(store).handle(work())
    (picture,) = [part for part in store.letter.walk() if part.get_content_type() == "image/png"]

    assert picture.get_content().startswith(b"\x89PNG")
    assert f"cid:{str(picture['Content-ID'])[1:-1]}" in text_of(store.letter)


@pytest.mark.parametrize("facts", [{}, {"lapsed": LAPSED}])
async def test_nothing_of_the_message_is_in_a_notice(store: Store, facts: dict[str, Any]) -> None:
    """The subject of a lab value is a lab value."""
    await notice(store).handle(work(**facts))
    words = store.letter.as_string() + text_of(store.letter)

    assert not [said for said in SAID if said in words]
    assert ("ada@home.example" in words) == (not facts)


async def test_the_senders_name_is_no_markup(store: Store) -> None:
    """A principal's name is chosen by whoever registers it."""
    await notice(store).handle(work())
    (html,) = [part for part in store.letter.walk() if part.get_content_type() == "text/html"]

    assert "Hospital &lt;b&gt;" in html.get_content()
    assert "Hospital <b>" not in html.get_content()


async def test_the_sender_is_told_what_nobody_paid_for(store: Store) -> None:
    """By its own Message-ID, as a reply that no other machine answers."""
    outcome = await notice(store).handle(work(lapsed=LAPSED))
    (written,) = store.written.values()

    assert outcome == Expired(99)
    assert written["recipient"] == LOOKUP.address("ward7@hospital.example").hex()
    assert CONTENT.unseal(bytes.fromhex(written["address"])) == b"ward7@hospital.example"
    assert store.letter["In-Reply-To"] == "<lab-1@hospital.example>"
    assert store.letter["Auto-Submitted"] == "auto-replied"


@pytest.mark.parametrize(
    "mail",
    [
        b"",
        b"Subject: no sender\r\n\r\nx\r\n",
        b"From: nobody\r\n\r\nx\r\n",
        b"From: " + b"x" * 4000 + b"@bank.example\r\n\r\nx\r\n",
    ],
)
async def test_a_message_that_names_no_sender_expires_all_the_same(store: Store, mail: bytes) -> None:
    """Nobody can be told; it must not be tried for ever."""
    assert await notice(store).handle(work(mail, lapsed=LAPSED)) == Expired(None)
    assert store.written == {}


def test_a_letter_is_made_of_what_mail_is_made_of() -> None:
    """CRLF and nothing that a mail server would have to mend; Message-ID is given where it leaves."""
    request = Request(
        "Ümlaut 🏥", 5, "EUR", UNTIL, "https://gate.example/pay/x", "https://gate.example/pay/statement/x"
    )
    letter = write_request(request, "clarion@gate.example", "ada@home.example", datetime.fromtimestamp(NOW, UTC))

    assert letter.replace(b"\r\n", b"").count(b"\n") == 0
    assert b"Message-ID" not in letter.partition(b"\r\n\r\n")[0]


@pytest.mark.parametrize(
    ("token", "now", "reason"),
    [
        (LINKS.pay.make(7, UNTIL), UNTIL + 1, "expired"),
        (Links(b"another key").pay.make(7, UNTIL), NOW, "forged"),
        (LINKS.pay.make(7, UNTIL)[:-1], NOW, "forged"),
        ("", NOW, "forged"),
        ("é", NOW, "forged"),
    ],
)
def test_a_token_that_is_not_ours_or_too_old_opens_nothing(token: str, now: float, reason: str) -> None:
    """The link is all that stands between the internet and somebody's wallet."""
    with pytest.raises(BadToken) as bad:
        LINKS.pay.read(token, now)

    assert bad.value.reason == reason


async def test_money_that_came_while_it_was_given_up_lets_it_go_on(store: Store) -> None:
    """The payer did what was asked: to expire what is paid for would be the worst of answers."""
    store.balance = 5

    assert await notice(store).handle(work(lapsed=LAPSED)) == Asked(None, NOW)
    assert store.written == {}


@pytest.mark.parametrize(("form", "is_open"), [("open", True), ("sealed", False)])
async def test_a_request_travels_as_the_message_does(store: Store, form: str, is_open: bool) -> None:
    """Where the sender's policy lets the message go open, to a stranger without a key, the request must reach them."""
    await notice(store).handle(work(envelope={"form": form}))
    (written,) = store.written.values()

    assert written["is_open"] is is_open


@pytest.mark.parametrize(
    ("facts", "outcome"), [({}, Asked(None, NOW + LOOK_AGAIN)), ({"lapsed": LAPSED}, Expired(None))]
)
async def test_a_letter_that_cannot_be_written_does_not_decide_what_becomes_of_the_message(
    store: Store, facts: dict[str, Any], outcome: Asked | Expired
) -> None:
    """It fails seven times, as anything may; the eighth would have been the message's end."""
    failing = replace(work(**facts, failed=["notice", 6]), address=b"no sealed address", body=b"no sealed body")
    with pytest.raises(Unsealable):
        await notice(store).handle(failing)

    assert await notice(store).handle(replace(failing, facts={**failing.facts, "failed": ["notice", 7]})) == outcome
