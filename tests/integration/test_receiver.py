"""The demo's receiver as a real process: what it answered 250 for is in the Maildir, also after kill -9."""

import asyncio
import mailbox
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import aiosmtplib
import pytest

MAIL = b"Message-ID: <%d@x>\r\nSubject: x\r\n\r\n" + b"y" * 5000 + b"\r\n.dot \xff\r\n"


class Receiver:
    """The process on a Maildir that outlives it; each start takes a free port."""

    def __init__(self, maildir: Path) -> None:
        self.maildir = maildir
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> int:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "serving.receiver", "--port", "0", "--maildir", str(self.maildir)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        return int(self.process.stdout.readline().rpartition(":")[2])

    def kept(self) -> list[bytes]:
        return [path.read_bytes() for path in (self.maildir / "new").iterdir()]


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    receiver = Receiver(tmp_path / "maildir")
    yield receiver
    if receiver.process and receiver.process.poll() is None:
        receiver.process.kill()
        receiver.process.communicate()


async def send(port: int, mail: bytes, *recipients: str) -> int:
    async with aiosmtplib.SMTP(hostname="127.0.0.1", port=port, local_hostname="x", timeout=10) as smtp:
        await smtp.mail("clarion@clarion.example")
        for recipient in recipients:
            await smtp.rcpt(recipient)
        return (await smtp.data(mail)).code


async def test_a_mail_is_kept_octet_for_octet_below_its_trace_once_for_each_recipient(receiver: Receiver) -> None:
    """The demo's driver counts from here; a sealed mail must open, a signed one verify. Its lines may be long."""
    await send(receiver.start(), MAIL % 1, "ada@receiver.example", "bob@receiver.example")

    kept = receiver.kept()
    messages = list(mailbox.Maildir(receiver.maildir))
    assert [mail.partition(b"X-Envelope-From: clarion@clarion.example\r\n")[2] for mail in kept] == [MAIL % 1] * 2
    assert {message["X-Envelope-To"] for message in messages} == {"ada@receiver.example", "bob@receiver.example"}
    assert {message["Message-ID"] for message in messages} == {"<1@x>"}


async def test_what_was_answered_is_there_after_kill_9(receiver: Receiver) -> None:
    """A 250 means on disk: the demo's `unaccounted` rests on it."""
    port = receiver.start()
    sending = [asyncio.create_task(send(port, MAIL % number, "ada@receiver.example")) for number in range(60)]
    await asyncio.wait(sending, return_when=asyncio.FIRST_COMPLETED)
    assert receiver.process is not None
    receiver.process.kill()
    codes = await asyncio.gather(*sending, return_exceptions=True)

    answered = {b"<%d@x>" % number for number, code in enumerate(codes) if code == 250}
    kept = {mail.partition(b"Message-ID: ")[2].partition(b"\r\n")[0] for mail in receiver.kept()}
    assert 0 < len(answered) < 60
    assert answered <= kept
    assert all(mail.endswith(b".dot \xff\r\n") for mail in receiver.kept())


async def test_it_goes_on_in_the_same_maildir(receiver: Receiver) -> None:
    """A restarted receiver must neither lose nor overwrite."""
    await send(receiver.start(), MAIL % 1, "ada@receiver.example")
    assert receiver.process is not None
    receiver.process.kill()
    receiver.process.communicate()

    await send(receiver.start(), MAIL % 2, "ada@receiver.example")

    assert len(receiver.kept()) == 2


async def test_it_ends_cleanly_on_sigterm_and_says_nothing_about_anybody(receiver: Receiver) -> None:
    """Ctrl-C leaves nothing behind, and no log holds an address."""
    await send(receiver.start(), MAIL % 1, "ada@receiver.example")
    assert receiver.process is not None
    receiver.process.terminate()

    out, err = receiver.process.communicate(timeout=10)

    assert receiver.process.returncode == 0
    assert "receiver.example" not in out + err


async def test_a_mail_over_the_limit_is_refused_and_the_next_one_taken(receiver: Receiver) -> None:
    """The limit is said in EHLO and kept."""
    port = receiver.start()
    with pytest.raises(aiosmtplib.SMTPDataError) as refused:
        await send(port, b"Subject: x\r\n\r\n" + b"y" * 75 * 1000 * 500 + b"\r\n", "ada@receiver.example")

    code = await send(port, MAIL % 2, "ada@receiver.example")

    assert refused.value.code in (500, 552)
    assert code == 250
    assert len(receiver.kept()) == 1
