"""Foreign SMTP clients hand mail to the intake: swaks says what it is told to say, smtp-source sends a lot."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from serving.authentication.api_keys import new_key
from serving.envelope import Request, SmtpEnvelope, envelope_of
from serving.queue.client import Client
from tests.intakes import Intake, MakeIntake, intakes, self_signed

ADA = "ada@example.net"
PATIENCE = 60.0
MAILS, CONNECTIONS = 600, 40


@pytest.fixture
async def make_intake(client: Client, tmp_path: Path) -> AsyncIterator[MakeIntake]:
    async with intakes(client, tmp_path) as make:
        yield make


@pytest.fixture
async def tls(make_intake: MakeIntake, tmp_path: Path) -> Intake:
    certificate, key = self_signed(tmp_path)
    made: Intake = await make_intake(intake_certificate=certificate, intake_key=key)
    return made


async def run(program: str, *arguments: str) -> tuple[int, str]:
    """The exit status, and what it said."""
    process = await asyncio.create_subprocess_exec(
        program, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await asyncio.wait_for(process.communicate(), PATIENCE)
    return process.returncode or 0, output.decode(errors="replace")


async def swaks(intake: Intake, *more: str) -> tuple[int, str]:
    """A mail of ops to Ada."""
    server = ("--server", "127.0.0.1", "--port", str(intake.port))
    return await run("swaks", *server, "--from", "ops@example.org", "--to", ADA, *more)


def login(key: str, how: str) -> tuple[str, ...]:
    return ("--auth", how, "--auth-user", "ops", "--auth-password", key)


class TestSwaks:
    @pytest.mark.parametrize("how", ["PLAIN", "LOGIN"])
    @pytest.mark.parametrize("encryption", [(), ("--tls",)])
    async def test_it_logs_in_and_its_mail_is_kept(self, tls: Intake, how: str, encryption: tuple[str, ...]) -> None:
        """Both mechanisms, with and without TLS."""
        status, said = await swaks(tls, *login(tls.key, how), *encryption)
        assert status == 0, said
        (lease,) = await tls.stored(1)

        assert f"250 2.0.0 accepted as {tls.message(lease)}" in said
        assert (b"with ESMTPSA" if encryption else b"with ESMTPA") in tls.opened(lease)

    async def test_a_wrong_key_is_said(self, tls: Intake) -> None:
        """By the code that every mail program explains to its user."""
        status, said = await swaks(tls, *login(new_key().key, "PLAIN"))

        assert status == 28, said
        assert "535 5.7.8" in said

    async def test_without_login_there_is_no_recipient(self, tls: Intake) -> None:
        """24 is swaks for: no recipient was taken."""
        status, said = await swaks(tls)

        assert status == 24, said
        assert "530 5.7.0" in said

    async def test_elsewhere_it_finds_no_way_to_log_in_without_tls(
        self, make_intake: MakeIntake, tmp_path: Path
    ) -> None:
        """So it does not send the key."""
        certificate, key = self_signed(tmp_path)
        parts = {"is_near": lambda _: False}
        intake = await make_intake(parts=parts, intake_certificate=certificate, intake_key=key)
        open_, open_said = await swaks(intake, *login(intake.key, "PLAIN"))
        closed, closed_said = await swaks(intake, *login(intake.key, "PLAIN"), "--tls")

        assert (open_, closed) == (28, 0), open_said + closed_said
        assert "AUTH PLAIN " not in open_said.replace("AUTH PLAIN LOGIN", "")

    async def test_its_wishes_for_reports_are_taken(self, tls: Intake) -> None:
        """DSN parameters, which aiosmtpd itself would refuse. swaks closes each with a bracket of its own."""
        status, said = await swaks(
            *(tls, *login(tls.key, "PLAIN")),
            *("--from", "ops@example.org> RET=HDRS ENVID=QQ314", "--to", f"{ADA}> NOTIFY=SUCCESS ORCPT=rfc822;a@b.c"),
        )
        assert status == 0, said
        (lease,) = await tls.stored(1)

        assert envelope_of(tls.opened(lease), ADA) == SmtpEnvelope(
            "ops@example.org", "QQ314>", "headers", Request(("success",), "rfc822;a@b.c>")
        )

    async def test_pipelined_it_is_answered_in_order(self, tls: Intake) -> None:
        """Three recipients in one breath."""
        many = ",".join(f"{name}@example.net" for name in ("a", "b", "c"))
        status, said = await swaks(tls, *login(tls.key, "PLAIN"), "--pipeline", "--to", many)

        assert status == 0, said
        assert await tls.count() == 3


async def test_every_mail_of_many_connections_is_in_the_store(make_intake: MakeIntake) -> None:
    """smtp-source counts what was answered 250, and the store counts for itself."""
    intake = await make_intake(intake_networks={"127.0.0.0/8": "ops"})
    load = ("-s", str(CONNECTIONS), "-m", str(MAILS), "-l", "4096", "-f", "ops@example.org", "-t", ADA)
    status, said = await run("smtp-source", *load, f"inet:127.0.0.1:{intake.port}")

    assert status == 0, said
    assert await intake.count() == MAILS
