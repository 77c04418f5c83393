"""Who hands in mail by SMTP: by key, by network, and for whom."""

import base64

import pytest

from serving.authentication.api_keys import new_key
from serving.errors import ConfigurationError
from serving.gateway.limits import FAILURES
from serving.intake.callers import read_networks
from serving.queue.client import Client
from tests.intakes import MAIL, Intake, MakeIntake, plain

ADA, BEN, CAM = "ada@example.net", "ben@example.net", "cam@example.net"
HERE = {"127.0.0.0/8": "site"}


class TestCallers:
    async def test_who_does_not_log_in_is_told_to(self, intake: Intake) -> None:
        """An open relay would be found within hours."""
        async with intake.talk() as talk:
            await talk.say("EHLO x")
            await talk.say("MAIL FROM:<ops@example.org>")

            assert await talk.say(f"RCPT TO:<{ADA}>") == "530 5.7.0 Log in with an API key first (AUTH)"
            assert await talk.say("DATA") == "503 5.5.1 MAIL and RCPT first"

    async def test_every_way_to_log_in_works(self, intake: Intake) -> None:
        """Programs know one of them, seldom all."""
        user, password = plain(intake.key), base64_of(intake.key)
        replies = []
        for first, *more in (
            [f"AUTH PLAIN {user}"],
            ["AUTH PLAIN", user],
            ["auth login", base64_of("anything"), password],
            [f"AUTH LOGIN {base64_of('x')}", password],
        ):
            async with intake.talk() as talk:
                await talk.say("EHLO x")
                reply = await talk.say(first)
                for line in more:
                    assert reply.startswith("334")
                    reply = await talk.say(line)
                replies.append(reply)

        assert replies == ["235 2.7.0 Logged in"] * 4

    @pytest.mark.parametrize(
        ("words", "reply"),
        [
            (["AUTH PLAIN *"], "501 5.7.0"),
            (["AUTH PLAIN", "*"], "501 5.7.0"),
            (["AUTH PLAIN !!"], "501 5.5.2"),
            (["AUTH PLAIN ="], "501 5.5.2"),
            (["AUTH PLAIN AGEAYg=="], "535 5.7.8"),
            (["AUTH CRAM-MD5"], "504 5.5.4"),
            (["AUTH"], "504 5.5.4"),
            (["MAIL FROM:<a@b.example>", "AUTH LOGIN"], "503 5.5.1"),
        ],
    )
    async def test_what_is_no_login_is_said(self, intake: Intake, words: list[str], reply: str) -> None:
        """With the codes of RFC 4954."""
        async with intake.talk() as talk:
            await talk.say("EHLO x")
            for word in words:
                answer = await talk.say(word)

            assert answer.startswith(reply)

    async def test_a_guesser_is_sent_away_and_a_valid_key_still_passes(self, intake: Intake) -> None:
        """A hospital behind one address must not lose its alarms to a neighbour's old script."""
        replies = []
        for _ in range(FAILURES // 3 + 2):
            async with intake.talk() as talk:
                await talk.say("EHLO x")
                replies += [await talk.say(f"AUTH PLAIN {plain(new_key().key)}") for _ in range(3)]
        async with intake.talk() as talk:
            good = await talk.log_in(intake.key)

        assert [reply[:9] for reply in replies[:3]] == ["535 5.7.8", "535 5.7.8", "421 4.7.0"]
        assert replies[-2].startswith("454 4.7.0 Too many wrong keys")
        assert good.startswith("235")

    async def test_a_key_that_is_revoked_meanwhile_sends_nothing_more(
        self, make_intake: MakeIntake, client: Client
    ) -> None:
        """A connection may stay open for hours."""
        now = [1e9]
        intake = await make_intake(clock=lambda: now[0])
        async with intake.talk() as talk:
            await talk.log_in(intake.key)
            begun = await talk.begin(ADA)
            await client.execute("revoke_principal", id="ops")
            now[0] += 4.0
            await talk.send(MAIL + b".\r\n")
            reply = await talk.reply()

        assert begun.startswith("354")
        assert reply.startswith("535 5.7.8")

    async def test_a_network_s_systems_need_no_login(self, make_intake: MakeIntake) -> None:
        """Printers and old appliances have no place for a key."""
        intake = await make_intake(intake_networks={"127.0.0.0/8": "ops", "127.0.0.2/32": "nobody"})
        async with intake.talk() as talk:
            await talk.say("EHLO x")
            reply = await talk.mail(ADA)
        (lease,) = await intake.stored(1)

        assert reply.startswith("250 2.0.0 accepted")
        assert lease.principal == "ops"
        assert b"with ESMTP; " in intake.opened(lease)

    async def test_the_narrowest_network_counts(self) -> None:
        """0.0.0.0/0 is for the world, and our own systems are no strangers."""
        networks = read_networks({"0.0.0.0/0": "world", "10.0.0.0/8": "own"})

        assert [id_ for _, id_ in networks] == ["own", "world"]
        with pytest.raises(ConfigurationError, match="CLARION_INTAKE_NETWORKS"):
            read_networks({"10.0.0.1/8": "own"})

    async def test_strangers_write_to_the_enrolled_alone(self, make_intake: MakeIntake) -> None:
        """A mail exchanger for some is not a relay to all."""
        intake = await make_intake(intake_networks=HERE)
        await intake.registrar.principal("site", "Site", [], {"relays": True})
        await intake.registrar.recipient(ADA, None, {}, {})
        async with intake.talk() as talk:
            await talk.say("EHLO x")
            await talk.say("MAIL FROM:<stranger@example.com>")
            enrolled, other = await talk.say(f"RCPT TO:<{ADA}>"), await talk.say(f"RCPT TO:<{BEN}>")
        async with intake.talk() as talk:
            await talk.log_in(intake.key)
            logged_in = await talk.mail(BEN)

        assert enrolled.startswith("250")
        assert other.startswith("550 5.7.1")
        assert logged_in.startswith("250")

    async def test_over_its_quota_a_sender_waits(self, make_intake: MakeIntake) -> None:
        """One loop that went wild must not take the service from the others."""
        intake = await make_intake(rate=0.001, burst=2)
        async with intake.talk() as talk:
            await talk.log_in(intake.key)
            replies = [await talk.mail(ADA) for _ in range(2)] + [await talk.say("MAIL FROM:<a@b.example>")]

        assert [reply[:9] for reply in replies] == ["250 2.0.0", "250 2.0.0", "450 4.7.1"]

    async def test_the_key_s_use_is_noted(self, intake: Intake, client: Client) -> None:
        """Who rotates keys asks which are still in use."""
        async with intake.talk() as talk:
            await talk.log_in(intake.key)
        (before,) = await client.query("principals")
        await intake.uses.write()
        (after,) = await client.query("principals")

        assert before["used_at"] is None
        assert after["used_at"] is not None


def base64_of(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
