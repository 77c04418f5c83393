"""What the demo delivers, read by a program nobody here wrote."""

import email
import json
import subprocess
import sys
from collections.abc import Iterator
from email.message import Message
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

NOTICES = ("Held, not delivered yet: it cannot be sealed", "A message for you is held")


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """A demo that has run. Its path is short: gpg's socket lies below it."""
    with TemporaryDirectory(prefix="clarion-") as folder:
        command = [sys.executable, "-m", "serving.demo", "--home", folder, "--json"]
        run = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        assert run.returncode == 0, run.stderr[-2000:]
        assert json.loads(run.stdout)["delivered"] > 0
        yield Path(folder)
        subprocess.run(["gpgconf", "--homedir", f"{folder}/gpg", "--kill", "all"], check=False)


@pytest.fixture(scope="module")
def gpg(home: Path) -> list[str]:
    """gpg with the recipients' secret keys and the gateway's certificate."""
    folder = home / "gpg"
    folder.mkdir(mode=0o700)
    command = ["gpg", "--homedir", str(folder), "--batch", "--quiet", "--trust-model", "always"]
    keys = [*sorted((home / "recipients").glob("*.asc")), home / "keys" / "signing.public"]
    subprocess.run([*command, "--import", *map(str, keys)], check=True, capture_output=True)
    return command


def delivered(home: Path) -> list[Message]:
    """The mails in the receiver's Maildir."""
    return [email.message_from_bytes(file.read_bytes()) for file in sorted((home / "maildir" / "new").iterdir())]


def octets(mail: Message) -> bytes:
    """The OpenPGP message (RFC 3156 section 4: the second part)."""
    part = list(mail.walk())[2]
    content = part.get_payload(decode=True)
    assert isinstance(content, bytes)
    return content


@pytest.mark.timeout(400)
def test_gpg_decrypts_every_sealed_mail_and_finds_the_gateways_signature(home: Path, gpg: list[str]) -> None:
    """A mail that its recipient cannot open was not delivered."""
    sealed = [mail for mail in delivered(home) if mail.get_content_type() == "multipart/encrypted"]
    opened = [
        subprocess.run(
            [*gpg, "--status-fd", "2", "--decrypt"], input=octets(mail),
            capture_output=True, check=False,
        )
        for mail in sealed
    ]  # fmt: skip

    assert sealed
    assert [run.returncode for run in opened] == [0] * len(sealed)
    assert all(b"GOODSIG" in run.stderr for run in opened)
    assert all(email.message_from_bytes(run.stdout)["From"] for run in opened)


def test_nothing_but_what_a_policy_opens_arrives_open(home: Path) -> None:
    """One recipient of the sample has a written policy; everybody else's mail must be sealed. Notices of a missing key
    may be open, for they hold nothing of a mail."""
    open_mails = [mail for mail in delivered(home) if mail.get_content_type() != "multipart/encrypted"]
    notices = [mail for mail in open_mails if mail["Subject"] in NOTICES]
    posted = {str(mail["Subject"]) for mail in open_mails if mail not in notices}

    assert {mail["Delivered-To"] for mail in open_mails if mail not in notices} <= {"oncall@northlight.example"}
    assert {str(mail["From"]) for mail in notices} == {"Clarion <clarion@clarion.invalid>"}
    assert not [subject for subject in posted for mail in notices if subject in str(mail.get_payload())]
