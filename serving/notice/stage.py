"""The stage that writes our own mails about a notification: who is to pay is asked, who sent it is told that nobody
paid, and both sides that it cannot be sealed.

It holds the content key, as the digest writer does, because addresses lie sealed. What it writes is a notification of
its own: the store makes it in one transaction, once for each kind or once a day, so that a crash on either side asks
nobody twice.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from serving import money
from serving.errors import BrokerUnavailable, Refused, Temporary
from serving.identifiers import format_id
from serving.mail import split
from serving.notice.answers import UNREADABLE, Answers, Keys
from serving.notice.letter import About, Request, write_held, write_keyless, write_lapse, write_request
from serving.origin import is_answer, is_writable, sender_of
from serving.pipeline import Asked, Expired, NotPassedOn, PassedOn, Stage, Told
from serving.sealing import LookupKey, UnsealingKey
from serving.stage import MAX_FAILURES, Work, failures_at
from serving.web.token import SHOWN_AFTERWARDS, Links

LOOK_AGAIN = 5.0
"""Seconds until the wallet is looked into once more: money may have come while the request was written."""


class Store(Protocol):
    """What the notice writer asks of the broker."""

    async def query(self, name: str, /, **parameters: Any) -> list[dict[str, Any]]: ...

    async def execute(self, name: str, /, **parameters: Any) -> dict[str, Any]: ...


@dataclass(frozen=True, slots=True)
class Post:
    """How our mails look from outside: whose they are, and where the pay page is (`…/pay`)."""

    mail_from: str
    pay_url: str
    links: Links


class Notice:
    """Writes the request for payment, the notice that it was not paid, and what is said where a key is missing; and
    passes on what recipients answer."""

    def __init__(
        self, client: Store, content: UnsealingKey, lookup: LookupKey, post: Post, clock: Callable[[], float]
    ) -> None:
        self._client = client
        self._content = content
        self._lookup = lookup
        self._post = post
        self._clock = clock
        self._answers = Answers(client, Keys(content, lookup), post.mail_from, clock, self._write)

    async def handle(self, work: Work) -> Asked | Expired | Told | PassedOn | NotPassedOn:
        """PassedOn or NotPassedOn for a recipient's answer; Expired where payment said that the time is over, Told
        where it cannot be sealed, else Asked.

        Raises:
            Unsealable: the address or the body is sealed for another key or was altered.
        """
        try:
            return await (self._answers.handle(work) if "answer" in work.facts else self._handle(work))
        except (BrokerUnavailable, Refused, Temporary):
            raise
        except Exception:
            if failures_at(Stage.NOTICE, work.facts) < MAX_FAILURES - 1:
                raise
            # A letter that cannot be written must not decide what becomes of the message.
            if "answer" in work.facts:
                return NotPassedOn(UNREADABLE, None)
            if _is_keyless(work):
                return Told((), self._clock() + LOOK_AGAIN)
            return Expired(None) if work.facts.get("lapsed") else Asked(None, self._clock() + LOOK_AGAIN)

    async def _handle(self, work: Work) -> Asked | Expired | Told:
        lapsed = work.facts.get("lapsed")
        if _is_keyless(work):
            told = (await self._tell_recipient(work), await self._tell_held(work))
            return Told(tuple(notice for notice in told if notice is not None), self._clock() + LOOK_AGAIN)
        if not lapsed:
            return Asked(await self._ask(work), self._clock() + LOOK_AGAIN)
        balances = await self._client.query("balance", account=lapsed["account"])
        if balances and balances[0]["balance"] >= lapsed["amount"]:  # money came while it was given up
            return Asked(None, self._clock())
        return Expired(await self._tell(work))

    async def _ask(self, work: Work) -> int:
        rows = await self._client.query("principal", id=work.principal)
        address = self._content.unseal(work.address).decode()
        letter = await asyncio.to_thread(self._request, work, address, rows[0]["name"] if rows else "Somebody")
        is_open = work.facts.get("envelope", {}).get("form") == "open"  # as the message itself travels
        return await self._write(work, "asked", work.recipient, address, letter, is_open=is_open)

    async def _tell(self, work: Work) -> int | None:
        sender, message_id = await asyncio.to_thread(self._origin, work.body)
        if not sender:
            return None
        letter = write_lapse(About(format_id(work.id), message_id), self._post.mail_from, sender, self._now())
        return await self._write(work, "expired", self._lookup.address(sender), sender, letter, is_open=True)

    async def _tell_recipient(self, work: Work) -> int | None:
        """Once a day, and nobody whom nobody registered: strangers get no mail because somebody names them."""
        if not await self._client.query("recipient", lookup=work.recipient.hex()):
            return None
        address = self._content.unseal(work.address).decode()
        letter, today = write_keyless(self._post.mail_from, address, self._now()), f"{self._now():%Y-%m-%d}"
        return await self._write(work, "keyless", work.recipient, address, letter, is_open=True, once=today)

    async def _tell_held(self, work: Work) -> int | None:
        """A sender that is proven, once a day for each recipient; what others wrote in somebody's name is no reason to
        write to them."""
        if work.facts.get("authentication", {}).get("outcome") != "authenticated":
            return None
        sender, message_id = await asyncio.to_thread(self._origin, work.body)
        if not sender:
            return None
        about = About(format_id(work.id), message_id)
        letter = write_held(about, str(work.facts["held"]), self._post.mail_from, sender, self._now())
        once = f"{work.recipient.hex()[:16]}:{self._now():%Y-%m-%d}"
        return await self._write(work, "held", self._lookup.address(sender), sender, letter, is_open=True, once=once)

    async def _write(
        self,
        work: Work,
        kind: str,
        recipient: bytes,
        address: str,
        letter: bytes,
        *,
        is_open: bool,
        once: str = "",
    ) -> int:
        """Both are sealed anew: a copy of the address might lie under a key that goes meanwhile."""
        seal = self._content.sealing_key.seal
        body = await asyncio.to_thread(seal, letter)
        written = await self._client.execute(
            "write_notice",
            about=str(work.id),
            kind=kind,
            recipient=recipient.hex(),
            address=seal(address.encode()).hex(),
            body=body.hex(),
            is_open=is_open,
            once=once,
        )
        return int(written["id"])

    def _request(self, work: Work, address: str, sender: str) -> bytes:
        due = work.facts["due"]
        link = f"{self._post.pay_url}/{self._post.links.pay.make(work.id, due['until'] + SHOWN_AFTERWARDS)}"
        token = self._post.links.statement.make(money.wallet_of(work.recipient), self._clock())
        statement = f"{self._post.pay_url}/statement/{token}"
        request = Request(sender, due["amount"], due["currency"], due["until"], link, statement)
        return write_request(request, self._post.mail_from, address, self._now())

    def _origin(self, body: bytes) -> tuple[str, str]:
        """The address that the message names as its sender's, and its Message-ID; empty where it names none, and where
        nobody is to be written to."""
        octets = self._content.unseal(body)
        mail, sender = split(octets), sender_of(octets)
        if mail is None or is_answer(mail) or not is_writable(sender, self._post.mail_from):
            return "", ""
        return sender, mail.message_id

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock(), UTC)


def _is_keyless(work: Work) -> bool:
    """Whether encryption sent it; payment's facts come after."""
    return "held" in work.facts and not {"told", "due", "lapsed"} & work.facts.keys()
