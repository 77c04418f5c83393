"""Delivery against a real SMTP server in process, well and ill: what it says becomes the right outcome, once."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from random import Random
from typing import Any

import pytest
from nacl.public import PrivateKey

from serving.delivery.routes import Smarthost
from serving.delivery.schedule import Schedule
from serving.delivery.stage import Delivery
from serving.errors import Refused, Temporary
from serving.pipeline import Sent, Undeliverable
from serving.sealing import UnsealingKey
from serving.stage import Work
from tests.integration.receivers import Fault, Receiver, dawdle, drop, listening, say

KEY = UnsealingKey(bytes(PrivateKey.generate()))
MAIL = b"Message-ID: <7@clarion.invalid>\r\nSubject: alarm\r\n\r\n.dot\r\nend\r\n"


@pytest.fixture(params=[False, True], ids=["", "pipelining"])
async def receiver(request: pytest.FixtureRequest) -> AsyncIterator[Receiver]:
    async with listening(Receiver(pipelines=request.param)) as receiver:
        yield receiver


class History:
    """Takes the notes of a notification, in the receiver's own list of events."""

    def __init__(self, events: list[str], *, refuse: bool = False) -> None:
        self.facts: dict[str, Any] = {}
        self._events = events
        self._refuse = refuse

    async def note(self, kind: str, facts: Mapping[str, Any]) -> None:
        if self._refuse:
            raise Refused("lease_lost")
        self._events.append(kind)
        self.facts |= facts


def work(history: History, *, attempt: int = 1, mail: bytes = MAIL, rcpt_to: str = "bob@receiver.example") -> Work:
    head = {"mail_from": "clarion@clarion.example", "rcpt_to": rcpt_to, "message_id": "<7@clarion.invalid>"}
    return Work(
        id=7,
        message_id=1,
        ordinal=0,
        attempt=attempt,
        recipient=b"\x01" * 32,
        address=b"",
        principal="p",
        facts=history.facts,
        body=KEY.sealing_key.seal(json.dumps(head).encode() + b"\n" + mail),
        accepted_at=0.0,
        note=history.note,
    )


def delivery(port: int, *, clock: Callable[[], float] = lambda: 1000.0) -> Delivery:
    return Delivery(
        KEY,
        Smarthost("127.0.0.1", port, "clarion.example"),
        expiry=3600.0,
        random=Random(1),  # noqa: S311
        schedule=Schedule(first=10.0, jitter=0.0),
        timeout=1.0,
        data_timeout=1.0,
        clock=clock,
    )


async def test_the_mail_arrives_octet_for_octet_and_the_receivers_words_come_back(receiver: Receiver) -> None:
    """The receipt is what the sender is shown and what the payment stands on."""
    history = History(receiver.events)

    outcome = await delivery(receiver.port).handle(work(history))

    assert isinstance(outcome, Sent)
    assert (outcome.receipt.code, outcome.receipt.text) == (250, "2.0.0 kept for <address>")
    assert outcome.receipt.message_id == "<7@clarion.invalid>"
    assert [envelope.content for envelope in receiver.kept] == [MAIL]
    assert receiver.kept[0].rcpt_tos == ["bob@receiver.example"]


async def test_sending_is_committed_after_the_receiver_agreed_and_before_the_content(receiver: Receiver) -> None:
    """After a crash the history tells whether the receiver may have the mail."""
    history = History(receiver.events)

    await delivery(receiver.port).handle(work(history))

    assert receiver.events == ["rcpt", "sending", "data"]
    assert history.facts["sending"] == {"attempt": 1, "at": 1000.0}


async def test_a_worker_that_lost_its_lease_sends_nothing(receiver: Receiver) -> None:
    """Somebody else has the notification by now; two would send it."""
    with pytest.raises(Refused):
        await delivery(receiver.port).handle(work(History(receiver.events, refuse=True)))

    assert receiver.events == ["rcpt"]


@pytest.mark.parametrize("moment", ["at_rcpt", "at_data"])
@pytest.mark.parametrize("reply", ["550 5.1.1 <bob@receiver.example> unknown", "552 5.2.2 bob is full"])
async def test_a_permanent_refusal_ends_it_with_the_receivers_words(
    receiver: Receiver, moment: str, reply: str
) -> None:
    """The sender learns why, without anybody's address in our books."""
    getattr(receiver, moment).append(say(reply))

    outcome = await delivery(receiver.port).handle(work(History(receiver.events)))

    assert isinstance(outcome, Undeliverable)
    assert outcome.reply.startswith(reply[:9])
    assert "bob" not in outcome.reply
    assert ("sending" in receiver.events) is (moment == "at_data")


@pytest.mark.parametrize(
    ("at_rcpt", "at_data"),
    [
        ([say("450 4.2.0 greylisted")], []),
        ([say("421 4.3.2 going down")], []),
        ([drop], []),
        ([dawdle], []),
        ([], [say("451 4.3.0 later")]),
        ([], [drop]),
        ([], [dawdle]),
    ],
)
async def test_whatever_passes_is_tried_again_and_then_arrives_as_the_same_mail(
    receiver: Receiver, at_rcpt: list[Fault], at_data: list[Fault]
) -> None:
    """Greylisting, restarts, slow servers and lost replies must not lose a mail, nor make it look like another."""
    receiver.at_rcpt, receiver.at_data = [*at_rcpt], [*at_data]
    stage, history = delivery(receiver.port), History(receiver.events)
    with pytest.raises(Temporary) as raised:
        await stage.handle(work(history))

    outcome = await stage.handle(work(history, attempt=2))

    assert raised.value.retry_after == 10.0
    assert isinstance(outcome, Sent)
    assert {envelope.content for envelope in receiver.kept} == {MAIL}


async def test_the_next_mail_goes_over_the_same_connection_also_after_a_refusal(receiver: Receiver) -> None:
    """A connection a mail costs time, and receivers count them."""
    stage, history = delivery(receiver.port), History(receiver.events)
    await stage.handle(work(history))
    receiver.at_rcpt = [say("550 5.1.1 unknown")]
    await stage.handle(work(history))

    await stage.handle(work(history))

    assert len(receiver.sessions) == 1
    assert len(receiver.kept) == 2


async def test_a_kept_connection_that_the_receiver_has_closed_costs_no_attempt(receiver: Receiver) -> None:
    """Receivers close idle connections; that is no reason to wait a minute."""
    stage, history = delivery(receiver.port), History(receiver.events)
    await stage.handle(work(history))
    assert receiver.servers[0].transport is not None
    receiver.servers[0].transport.close()

    outcome = await stage.handle(work(history))

    assert isinstance(outcome, Sent)
    assert len(receiver.sessions) == 2


async def test_many_at_once_arrive_once_each(receiver: Receiver) -> None:
    """The stage loop handles several notifications at a time over one `Delivery`."""
    stage = delivery(receiver.port)
    mails = [b"Message-ID: <%d@x>\r\n\r\nx\r\n" % number for number in range(20)]

    outcomes = await asyncio.gather(*(stage.handle(work(History(receiver.events), mail=mail)) for mail in mails))

    assert all(isinstance(outcome, Sent) for outcome in outcomes)
    assert sorted(envelope.content or b"" for envelope in receiver.kept) == sorted(mails)


async def test_a_receiver_that_is_down_is_waited_for(receiver: Receiver) -> None:
    """The SMTP server down: accepted mail waits and goes out later, and the reason names the server."""
    async with listening(Receiver()) as gone:
        port = gone.port

    with pytest.raises(Temporary, match=f"127.0.0.1:{port} does not serve us.*; .*CLARION_SMTP_HOST") as waiting:
        await delivery(port).handle(work(History(receiver.events)))

    assert waiting.value.is_outage


async def test_a_server_that_greets_with_a_refusal_is_waited_for() -> None:
    """A 554 greeting refuses us, not the mail: nothing may bounce for it."""

    async def refuse(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"554 5.3.2 not today\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]

    with pytest.raises(Temporary, match=r"554 5\.3\.2 not today"):
        await delivery(port).handle(work(History([])))

    server.close()


async def test_time_is_over_an_expiry_after_the_first_failure_and_not_before(receiver: Receiver) -> None:
    """A mail that waited long for a key or for money still gets its full time, and no mail is tried for ever."""
    now = [500_000.0]
    receiver.at_rcpt = [say("450 4.2.0 busy")] * 3
    stage, history = delivery(receiver.port, clock=lambda: now[0]), History(receiver.events)
    with pytest.raises(Temporary):
        await stage.handle(work(history))
    now[0] += 3595.0
    with pytest.raises(Temporary) as late:
        await stage.handle(work(history, attempt=2))

    now[0] += 5.0
    outcome = await stage.handle(work(history, attempt=3))

    assert late.value.retry_after == 5.0
    assert outcome == Undeliverable("tried for 3600 s; last: 450 4.2.0 busy")


async def test_an_international_address_needs_a_server_that_takes_it(receiver: Receiver) -> None:
    """SMTPUTF8 is used where it is needed and offered; where it is not offered the sender is told at once."""
    there = await delivery(receiver.port).handle(work(History(receiver.events), rcpt_to="jürgen@receiver.example"))
    async with listening(Receiver(), utf8=False) as old:
        elsewhere = await delivery(old.port).handle(work(History(old.events), rcpt_to="jürgen@receiver.example"))

    assert isinstance(there, Sent)
    assert receiver.kept[0].smtp_utf8
    assert isinstance(elsewhere, Undeliverable)
    assert elsewhere.reply.startswith("553 5.6.7")
    assert old.events == []


async def test_eight_bit_mail_says_so_and_seven_bit_mail_does_not(receiver: Receiver) -> None:
    """8BITMIME only where it is needed (RFC 6152)."""
    stage = delivery(receiver.port)
    await stage.handle(work(History(receiver.events), mail=b"Subject: x\r\n\r\n\xc3\xbc\r\n"))

    await stage.handle(work(History(receiver.events)))

    assert ["BODY=8BITMIME" in envelope.mail_options for envelope in receiver.kept] == [True, False]
    assert not any(envelope.smtp_utf8 for envelope in receiver.kept)


async def test_a_mail_beyond_the_receivers_limit_is_not_sent_at_all(receiver: Receiver) -> None:
    """The receiver has said its limit in EHLO; 25 MiB need not cross the wire to be refused."""
    async with listening(Receiver(), size=100) as small:
        outcome = await delivery(small.port).handle(work(History(small.events), mail=MAIL * 10))

    assert isinstance(outcome, Undeliverable)
    assert outcome.reply.startswith("552 5.3.4")
    assert receiver.events == []


@pytest.mark.parametrize(
    "address",
    ["bob\r\nRSET@x.example", "bob> SIZE=1 <x@y.example", "a b@x.example", "\udce9@x.example", '"a\\\rb"@x.example'],
)
async def test_an_address_that_would_break_the_dialogue_is_refused(receiver: Receiver, address: str) -> None:
    """SMTP command injection by an address (RFC 5321 4.1.2)."""
    outcome = await delivery(receiver.port).handle(work(History(receiver.events), rcpt_to=address))

    assert isinstance(outcome, Undeliverable)
    assert outcome.reply.startswith("501 5.1.3")
    assert "data" not in receiver.events
