"""GnuPG, which nobody here wrote, reads what we seal and refuses what was altered."""

import mailbox
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from pysequoia import Cert, Tsk, decrypt

from serving.answering import answered_through
from serving.encryption.certificates import generate_test_key
from serving.encryption.outside import Outside
from serving.encryption.sealed import enclose

SAMPLE = Path(__file__).parents[2] / "data" / "sample" / "mailbox.mbox"
ADDRESS = "ada@home.example"
OUTSIDE = Outside("0000000000007", "clarion@gate.example", ADDRESS, datetime(2026, 11, 2, tzinfo=UTC))


class Recipient:
    """Somebody who reads mail with gpg and a keyring of their own."""

    def __init__(self, home: Path) -> None:
        certificate, secret = generate_test_key(ADDRESS, "Ada Ökafor")
        self.certificate = Cert.from_bytes(certificate.encode())
        self._secret = Tsk.from_bytes(secret.encode())
        self._command = ("gpg", "--homedir", str(home), "--batch", "--quiet", "--no-tty")
        self._run("--import", stdin=secret.encode()).check_returncode()

    def decrypt(self, armour: bytes) -> subprocess.CompletedProcess[bytes]:
        """What gpg says to these octets, and what it lets out."""
        return self._run("--decrypt", stdin=armour)

    def decrypt_with_sequoia(self, armour: bytes) -> bytes | None:
        """What the library that sealed it makes of it."""
        return decrypt(armour, self._secret.decryptor()).bytes

    def leave(self) -> None:
        """Ends the agent that gpg has started."""
        subprocess.run(("gpgconf", "--homedir", self._command[2], "--kill", "all"), check=True, timeout=20)

    def _run(self, *arguments: str, stdin: bytes) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run([*self._command, *arguments], input=stdin, capture_output=True, check=False, timeout=60)


@pytest.fixture(scope="module")
def recipient() -> Iterator[Recipient]:
    """A recipient; the keyring's path is short because gpg-agent listens on a socket in it."""
    with TemporaryDirectory(prefix="gpg-") as folder:
        reader = Recipient(Path(folder))
        yield reader
        reader.leave()


def raw_mails() -> list[bytes]:
    """Every mail of the sample, the broken ones included."""
    box = mailbox.mbox(SAMPLE, create=False)
    return [box.get_bytes(key) for key in box.iterkeys()]


def sealed(raw: bytes, recipient: Recipient, outside: Outside = OUTSIDE) -> bytes:
    """The armoured OpenPGP message in our PGP/MIME mail."""
    mail = message_from_bytes(enclose(raw, outside, recipient.certificate, None), policy=policy.default)
    assert isinstance(mail, EmailMessage)
    armour = list(mail.iter_parts())[1].get_content()
    assert isinstance(armour, bytes)
    return armour


def test_gpg_reads_every_mail_of_the_sample_octet_for_octet(recipient: Recipient) -> None:
    """A mail that only our own library opens is no use to anybody."""
    armours = [sealed(raw, recipient) for raw in raw_mails()]
    answers = [(recipient.decrypt(armour), recipient.decrypt_with_sequoia(armour)) for armour in armours]

    assert len(answers) >= 50
    assert [answer.stderr for answer, _ in answers if answer.returncode != 0] == []
    assert [plain for answer, plain in answers if answer.stdout != plain] == []


def test_gpg_refuses_what_was_altered(recipient: Recipient) -> None:
    """Ciphertext that can be changed unseen lets an attacker write into a sealed mail (EFAIL)."""
    lines = sealed(raw_mails()[0], recipient).splitlines()
    altered = [b"\n".join([*lines[:row], lines[row].swapcase(), *lines[row + 1 :], b""]) for row in range(3, 9)]
    answers = [recipient.decrypt(armour) for armour in altered]

    assert [answer.stdout for answer in answers if answer.returncode == 0] == []


def test_where_answers_go_is_read_inside_what_gpg_decrypts(recipient: Recipient) -> None:
    """A mail program that goes by the protected header (RFC 9788) answers to what stands there."""
    ours = "reply+7-abcdefghijklmnop@gate.example"
    raw = b"From: Ops <ops@bank.example>\r\nReply-To: tickets@bank.example\r\nSubject: disk full\r\n\r\n97 %\r\n"
    armour = sealed(answered_through(raw, ours, "tickets@bank.example"), recipient, replace(OUTSIDE, reply_to=ours))
    inside = message_from_bytes(recipient.decrypt(armour).stdout, policy=policy.default)

    assert inside["Reply-To"].addresses[0].addr_spec == ours
    assert inside["Reply-To"].addresses[0].display_name == "tickets@bank.example via Clarion"
    assert inside["Clarion-Reply-To"] == "tickets@bank.example"
    assert f"Reply-To: {ours}" in inside.get_all("HP-Outer", [])
