"""GnuPG's own keys: we seal to those that can be sealed to, tell apart those that cannot, and gpg reads the mail."""

import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from pysequoia import Cert, Tsk

from serving.encryption.certificates import Unusable, read_certificate
from serving.encryption.outside import Outside
from serving.encryption.sealed import enclose
from serving.encryption.signing import create_signing_key, load_signing_key

ADDRESS = "ann@home.example"
NOW = datetime.now(UTC)
LONG_AGO = "20200101T000000"
OUTSIDE = Outside("0000000000007", "clarion@gate.example", ADDRESS, NOW)
MAIL = b"From: ops@bank.example\r\nSubject: disk\r\n\r\n97 %\r\n"


class Keyring:
    """A gpg home of its own, under a short path because gpg-agent listens on a socket in it."""

    def __init__(self, home: Path) -> None:
        self._home = home

    def run(self, *arguments: str, stdin: bytes = b"", at: str | None = None) -> bytes:
        """gpg's output; `at` is the time that gpg shall believe in."""
        gpg = ["gpg", "--homedir", str(self._home), "--no-tty", "--quiet", "--pinentry-mode", "loopback"]
        time = [] if at is None else ["--faked-system-time", at]
        command = [*gpg, "--passphrase", "", *time, *arguments]
        done = subprocess.run(command, input=stdin, capture_output=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr.decode(errors="replace")
        return done.stdout

    def generate(self, algorithm: str, usage: str = "default", expires: str = "never", at: str | None = None) -> str:
        """A new key's fingerprint."""
        self.run("--batch", "--quick-generate-key", f"Ann <{ADDRESS}>", algorithm, usage, expires, at=at)
        return self.fingerprints()[0]

    def fingerprints(self) -> list[str]:
        """Those of the primary key and of each subkey."""
        lines = self.run("--batch", "--with-colons", "--list-keys").decode().splitlines()
        return [line.split(":")[9] for line in lines if line.startswith("fpr:")]

    def certificate(self) -> bytes:
        """What Ann would upload."""
        return self.run("--batch", "--armor", "--export", ADDRESS)

    def leave(self) -> None:
        """End the agent that gpg has started."""
        subprocess.run(["gpgconf", "--homedir", str(self._home), "--kill", "all"], check=True, timeout=20)

    def revocation(self, fingerprint: str) -> bytes:
        """The certificate that gpg prepares with each key, armed."""
        text = (self._home / "openpgp-revocs.d" / f"{fingerprint}.rev").read_bytes()
        return text.replace(b":-----BEGIN", b"-----BEGIN")


@pytest.fixture
def keyring() -> Iterator[Keyring]:
    """An empty keyring."""
    if shutil.which("gpg") is None:
        pytest.skip("no gpg; run tests/interop/install.sh")
    with TemporaryDirectory(prefix="gpg-") as folder:
        ring = Keyring(Path(folder))
        yield ring
        ring.leave()


def _usable(keyring: Keyring) -> Cert:
    certificate = read_certificate(keyring.certificate(), ADDRESS, NOW)
    assert isinstance(certificate, Cert), certificate
    return certificate


def _reason(keyring: Keyring) -> str:
    judged = read_certificate(keyring.certificate(), ADDRESS, NOW)
    assert isinstance(judged, Unusable)
    return judged.reason


def _armour(raw: bytes, certificate: Cert, signer: Tsk | None = None) -> bytes:
    mail = message_from_bytes(enclose(raw, OUTSIDE, certificate, signer), policy=policy.SMTP)
    assert isinstance(mail, EmailMessage)
    armour = list(mail.iter_parts())[1].get_content()
    assert isinstance(armour, bytes)
    return armour


def _shape(name: str) -> bytes:
    message = EmailMessage(policy=policy.SMTP)
    message["From"], message["To"], message["Subject"] = "ops@bank.example", ADDRESS, f"Größe {name}"
    message.set_content("Grüße, Ann. €\n", cte="8bit" if name == "8bit" else None)
    if name in ("alternative", "attachment"):
        message.add_alternative("<p>Grüße, <b>Ann</b></p>\n", subtype="html")
    if name == "attachment":
        message.add_attachment(bytes(range(256)) * 400, maintype="application", subtype="pdf", filename="Größe.pdf")
    if name == "forwarded":
        message.add_attachment(message_from_bytes(MAIL, policy=policy.SMTP))
    return message.as_bytes()


@pytest.mark.parametrize(
    ("algorithm", "usage", "subkey"),
    [
        ("future-default", "default", None),
        ("rsa2048", "default", "rsa2048"),
        ("rsa4096", "default", "rsa3072"),
        ("nistp256", "default", "nistp256"),
        ("rsa3072", "sign,encrypt", None),
    ],
)
def test_gpg_reads_what_is_sealed_to_a_key_that_gpg_made(
    keyring: Keyring, algorithm: str, usage: str, subkey: str | None
) -> None:
    """People bring the keys that they have, those that encrypt with the primary key among them."""
    fingerprint = keyring.generate(algorithm, usage)
    if subkey is not None:
        keyring.run("--batch", "--quick-add-key", fingerprint, subkey, "encr", "never")
    plain = keyring.run("--batch", "--decrypt", stdin=_armour(MAIL, _usable(keyring)))

    assert plain.endswith(b"\r\n\r\n97 %\r\n")


@pytest.mark.parametrize("name", ["text", "8bit", "alternative", "attachment", "forwarded"])
def test_gpg_gives_back_every_mime_shape_octet_for_octet(keyring: Keyring, name: str) -> None:
    """Text, HTML, attachments and forwarded mail arrive as they were sent."""
    keyring.generate("future-default")
    raw = _shape(name)
    plain = keyring.run("--batch", "--decrypt", stdin=_armour(raw, _usable(keyring)))

    assert plain.partition(b"\r\n\r\n")[2] == raw.partition(b"\r\n\r\n")[2]
    assert message_from_bytes(plain, policy=policy.SMTP)["Subject"] == f"Größe {name}"


def test_gpg_verifies_the_gateways_signature(keyring: Keyring, tmp_path: Path) -> None:
    """A signature that only our own library verifies proves nothing to a recipient."""
    keyring.generate("future-default")
    certificate = _usable(keyring)
    create_signing_key(tmp_path, "clarion@gate.example")
    keyring.run("--batch", "--import", stdin=(tmp_path / "signing.public").read_bytes())
    armour = _armour(MAIL, certificate, load_signing_key(tmp_path))
    status = keyring.run("--batch", "--status-fd", "1", "--decrypt", stdin=armour)

    assert b"[GNUPG:] GOODSIG" in status
    assert b"Clarion <clarion@gate.example>" in status


def test_an_expired_key_of_gpg_is_told(keyring: Keyring) -> None:
    """The owner has to extend it; until then the mail is held."""
    keyring.generate("future-default", expires="1y", at=LONG_AGO)

    assert _reason(keyring) == "the certificate is expired"


def test_a_revoked_key_of_gpg_is_told(keyring: Keyring) -> None:
    """Its owner has said that somebody else may read it."""
    fingerprint = keyring.generate("future-default")
    keyring.run("--batch", "--import", stdin=keyring.revocation(fingerprint))

    assert _reason(keyring) == "the certificate is revoked"


def test_a_key_of_gpg_that_only_signs_is_told(keyring: Keyring) -> None:
    """Nothing can be sealed to it."""
    keyring.generate("ed25519", "sign")

    assert _reason(keyring) == "the certificate cannot encrypt"


def test_a_kind_of_key_that_only_gpg_knows_is_told(keyring: Keyring) -> None:
    """An encryption that raises would send the mail into the dead instead of holding it."""
    fingerprint = keyring.generate("ed25519", "sign")
    keyring.run("--batch", "--quick-add-key", fingerprint, "brainpoolP256r1", "encr", "never")
    unsupported = _reason(keyring)
    keyring.run("--batch", "--quick-add-key", fingerprint, "cv25519", "encr", "never")

    assert unsupported == "the certificate's encryption key is of an unsupported kind"
    assert keyring.run("--batch", "--decrypt", stdin=_armour(MAIL, _usable(keyring)))


def test_an_expired_encryption_subkey_is_told_and_a_new_one_is_used_alone(keyring: Keyring) -> None:
    """Subkeys are rotated under one certificate; the old one must not be sealed to beside the new one."""
    fingerprint = keyring.generate("ed25519", "sign", at=LONG_AGO)
    keyring.run("--batch", "--quick-add-key", fingerprint, "cv25519", "encr", "1y", at=LONG_AGO)
    expired = _reason(keyring)
    keyring.run("--batch", "--quick-add-key", fingerprint, "cv25519", "encr", "never")
    armour = _armour(MAIL, _usable(keyring))
    packets = keyring.run("--batch", "--list-packets", stdin=armour).decode()

    assert expired == "the certificate's encryption key is expired"
    assert packets.count(":pubkey enc packet:") == 1
    assert keyring.fingerprints()[2][-16:] in packets


def test_a_revoked_encryption_subkey_is_told(keyring: Keyring) -> None:
    """A lost laptop revokes its subkey, not the whole identity."""
    fingerprint = keyring.generate("future-default")
    answers = b"key 1\nrevkey\ny\n0\n\ny\nsave\n"
    keyring.run("--command-fd", "0", "--edit-key", fingerprint, stdin=answers)

    assert _reason(keyring) == "the certificate's encryption key is revoked"


def test_a_key_about_to_expire_is_usable_until_it_does(keyring: Keyring) -> None:
    """Held mail is the price of a certificate that is refused too early."""
    keyring.generate("future-default", expires="10d")
    octets = keyring.certificate()

    assert isinstance(read_certificate(octets, ADDRESS, NOW + timedelta(days=9)), Cert)
    assert isinstance(read_certificate(octets, ADDRESS, NOW + timedelta(days=11)), Unusable)
