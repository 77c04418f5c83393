"""Mail to addresses of our own, and mail that the broker does not take now."""

import asyncio

import pytest

from serving.errors import BrokerUnavailable, Refused
from serving.intake.acceptance import Acceptance
from serving.intake.replies import Refusal
from serving.queue.client import Accepted, Client, Submission
from serving.return_addresses import Returned
from serving.trace import Trace, stamped
from tests.conftest import BrokerProcess
from tests.intakes import MAIL, Intake, MakeIntake

ADA, BEN, CAM = "ada@example.net", "ben@example.net", "cam@example.net"
HERE = {"127.0.0.0/8": "site"}


class Mailbox:
    """Takes what comes to addresses of our own."""

    def __init__(self) -> None:
        self.returned: list[tuple[Returned, bytes]] = []
        self.error: Exception | None = None

    async def __call__(self, returned: Returned, mail: bytes) -> None:
        if self.error is not None:
            raise self.error
        self.returned.append((returned, mail))


class TestReturned:
    async def test_a_report_comes_from_anybody_to_an_address_that_we_gave_out(self, make_intake: MakeIntake) -> None:
        """Receivers that report know no key of ours."""
        mailbox = Mailbox()
        intake = await make_intake(returned=mailbox)
        async with intake.talk() as talk:
            await talk.say("EHLO mx.example")
            reply = await talk.mail(intake.parts.addresses.make("bounce", 77), sender="")
        ((returned, mail),) = mailbox.returned

        assert reply == "250 2.0.0 accepted"
        assert returned == Returned("bounce", 77)
        assert stamped(mail) == Trace("127.0.0.1", "mx.example", "")
        assert mail.endswith(b"\r\n" + MAIL)
        assert await intake.count() == 0

    async def test_an_address_that_we_did_not_give_out_takes_nothing(self, make_intake: MakeIntake) -> None:
        """Whoever could forge one could mark a mail as bounced."""
        intake = await make_intake(returned=Mailbox())
        address = intake.parts.addresses.make("reply", 77)
        async with intake.talk() as talk:
            await talk.log_in(intake.key)
            await talk.say("MAIL FROM:<>")
            forged = await talk.say(f"RCPT TO:<{address.replace('+', '+1')}>")

        assert forged.startswith("550 5.1.1")

    async def test_without_a_reader_they_take_nothing(self, intake: Intake) -> None:
        """A mail that nobody reads must not be answered 250."""
        async with intake.talk() as talk:
            await talk.say("EHLO x")
            await talk.say("MAIL FROM:<>")

            assert (await talk.say(f"RCPT TO:<{intake.parts.addresses.make('reply', 1)}>")).startswith("550 5.1.1")

    async def test_one_of_them_at_a_time(self, make_intake: MakeIntake) -> None:
        """Each 250 is about one thing that was done."""
        intake = await make_intake(returned=Mailbox())
        ours = [intake.parts.addresses.make("bounce", number) for number in (1, 2)]
        async with intake.talk() as talk:
            await talk.log_in(intake.key)
            replies = []
            for pair in ((ours[0], ours[1]), (ours[0], ADA), (ADA, ours[0])):
                await talk.say("RSET")
                await talk.say("MAIL FROM:<>")
                replies += [await talk.say(f"RCPT TO:<{address}>") for address in pair]

        assert [reply[:9] for reply in replies] == ["250 2.1.5", "452 4.5.3"] * 3

    @pytest.mark.parametrize(
        ("error", "reply"),
        [
            (ValueError("x"), "451 4.3.0"),
            (Refusal("550 5.7.1 No"), "550 5.7.1 No"),
            (BrokerUnavailable("x"), "451 4.3.0 The queue"),
            (Refused("storage"), "452 4.3.1"),
        ],
    )
    async def test_what_its_reader_raises_is_answered(
        self, make_intake: MakeIntake, error: Exception, reply: str
    ) -> None:
        """It comes again, unless the reader does not want it."""
        mailbox = Mailbox()
        mailbox.error = error
        intake = await make_intake(returned=mailbox)
        async with intake.talk() as talk:
            await talk.say("EHLO x")

            assert (await talk.mail(intake.parts.addresses.make("reply", 1))).startswith(reply)


class Failing:
    """A broker that does not take mail."""

    def __init__(self, error: Exception | None) -> None:
        self._error = error

    async def accept(self, _: Submission) -> Accepted:
        if self._error is None:
            await asyncio.Event().wait()
        raise self._error or AssertionError


class TestTrouble:
    @pytest.mark.parametrize(
        ("error", "reply"),
        [
            (BrokerUnavailable("x"), "451 4.3.0 The queue does not answer"),
            (Refused("storage"), "452 4.3.1"),
            (Refused("too_large"), "552 5.3.4"),
            (Refused("denied"), "451 4.3.0"),
            (None, "451 4.3.0 It is not known"),
        ],
    )
    async def test_a_mail_that_is_not_kept_comes_again(
        self, make_intake: MakeIntake, error: Exception | None, reply: str
    ) -> None:
        """4yz, so that the sender's server keeps it meanwhile."""
        intake = await make_intake()
        keys = intake.registrar
        failing = Acceptance(Failing(error), keys.content, keys.lookup, "gate.example", lambda: 0.0, patience=0.05)
        intake = await make_intake(parts={"acceptance": failing})
        async with intake.talk() as talk:
            await talk.log_in(intake.key)

            assert (await talk.mail(ADA)).startswith(reply)
            assert (await talk.say("NOOP")).startswith("250")

    async def test_while_the_broker_is_away_the_sender_is_told(self, intake: Intake, broker: BrokerProcess) -> None:
        """And afterwards it goes on without a restart."""
        async with intake.talk() as talk:
            await talk.log_in(intake.key)
            broker.stop()
            away = await talk.mail(ADA)
            broker.start()
            await Client.connect(broker.socket)
            back = await talk.mail(ADA)

        assert away.startswith("451 4.3.0")
        assert back.startswith("250")
