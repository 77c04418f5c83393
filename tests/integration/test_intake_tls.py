"""TLS on the way in: what was said before the handshake is forgotten, and elsewhere no key goes without it."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from serving.errors import ConfigurationError
from serving.intake.server import read_tls
from tests.intakes import Dialogue, Intake, MakeIntake, answers, plain, self_signed

ADA = "ada@example.net"
Eventually = Callable[..., Awaitable[None]]


class TestTls:
    @pytest.fixture
    async def tls(self, make_intake: MakeIntake, tmp_path: Path) -> Intake:
        certificate, key = self_signed(tmp_path)
        made: Intake = await make_intake(intake_certificate=certificate, intake_key=key)
        return made

    async def encrypt(self, talk: Dialogue) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        await asyncio.wait_for(talk.writer.start_tls(context), 10.0)

    async def test_mail_comes_over_tls(self, tls: Intake) -> None:
        """And its trace says so; after the handshake all begins anew."""
        async with tls.talk() as talk:
            before = await talk.log_in(tls.key)
            started = await talk.say("STARTTLS")
            await self.encrypt(talk)
            forgotten = await talk.say("MAIL FROM:<a@b.example>")
            offered = await talk.say("EHLO client.example")
            after = await talk.log_in(tls.key)
            kept = await talk.mail(ADA)
            again = await talk.say("STARTTLS")
        (lease,) = await tls.stored(1)

        assert (before[:3], started[:3], after[:3], kept[:3]) == ("235", "220", "235", "250")
        assert forgotten.startswith("503 5.5.1")
        assert "STARTTLS" not in offered
        assert "AUTH PLAIN LOGIN" in offered
        assert again.startswith("503 5.5.1")
        assert b"with ESMTPSA; " in tls.opened(lease)

    async def test_what_is_sent_before_the_handshake_is_never_read_after_it(self, tls: Intake) -> None:
        """Somebody on the way could put commands there that count as encrypted (CVE-2011-0411)."""
        async with tls.talk() as talk:
            await talk.say("EHLO x")
            await talk.send(b"STARTTLS\r\nEHLO injected\r\nNOOP\r\n")
            assert (await talk.reply()).startswith("220")
            await self.encrypt(talk)
            first = await talk.say("MAIL FROM:<a@b.example>")

        assert first == "503 5.5.1 Say EHLO first"

    async def test_a_handshake_that_fails_ends_the_connection(self, tls: Intake, eventually: Eventually) -> None:
        """And nothing else."""
        async with tls.talk() as talk:
            await talk.say("STARTTLS")
            await talk.send(b"this is no TLS\r\n" * 10)
            while await asyncio.wait_for(talk.reader.read(4096), 10.0):
                pass
        await eventually(lambda: answers(tls))

    async def test_elsewhere_a_key_needs_tls(self, make_intake: MakeIntake, tmp_path: Path) -> None:
        """A key that was sent in the clear belongs to whoever listened."""
        certificate, key = self_signed(tmp_path)
        far = {"is_near": lambda _: False}
        tls = await make_intake(parts=far, intake_certificate=certificate, intake_key=key)
        async with tls.talk() as talk:
            offered, refused = await talk.say("EHLO x"), await talk.say(f"AUTH PLAIN {plain(tls.key)}")
            await talk.say("STARTTLS")
            await self.encrypt(talk)
            logged_in = await talk.log_in(tls.key)

        assert "AUTH" not in offered
        assert refused.startswith("538 5.7.11")
        assert logged_in.startswith("235")


def test_half_a_certificate_is_none(tmp_path: Path) -> None:
    """Without STARTTLS keys would go in the clear while the operator thinks otherwise."""
    with pytest.raises(ConfigurationError, match="belong together"):
        read_tls(tmp_path / "a", None)
    with pytest.raises(ConfigurationError, match="cannot be used"):
        read_tls(tmp_path / "a", tmp_path / "b")
