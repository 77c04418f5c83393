"""The sealed form: only the recipient reads it, and reads the mail that came."""

from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

import pytest
from pysequoia import Cert, Decrypted, Tsk, decrypt
from pysequoia.packet import PacketPile

from serving.encryption.certificates import generate_test_key
from serving.encryption.outside import Outside
from serving.encryption.sealed import enclose
from serving.encryption.signing import create_signing_key, load_signing_key
from serving.errors import ConfigurationError
from serving.mail import fits_smtp

OUTSIDE = Outside("0000000000007", "clarion@gate.example", "ann@home.example", datetime.fromtimestamp(1e9, UTC))
CERTIFICATE, SECRET = generate_test_key("ann@home.example", "Ann Ünicode")
MAIL = (
    b"Received: from a by b; Mon, 2 Nov 2026 10:00:00 +0000\r\nFrom: Ops <ops@bank.example>\r\n"
    b"To: ann@home.example,\r\n  bob@home.example\r\nBcc: carol@home.example\r\nHP-Outer: Subject: forged\r\n"
    b"Subject: disk full on db1\r\nMessage-ID: <1@bank.example>\r\n\r\nsecret-canary: 97 %\r\n"
)


def _sealed(raw: bytes, signer: Tsk | None = None) -> bytes:
    return enclose(raw, OUTSIDE, Cert.from_bytes(CERTIFICATE.encode()), signer)


def _armour(mail: bytes) -> bytes:
    message = message_from_bytes(mail, policy=policy.SMTP)
    assert isinstance(message, EmailMessage)
    control, data = message.iter_parts()
    assert control.get_content_type() == "application/pgp-encrypted"
    assert control.get_content() == b"Version: 1\r\n"
    armour = data.get_content()
    assert isinstance(armour, bytes)
    return armour


def _opened(ciphertext: bytes, *certificates: Cert) -> Decrypted:
    store = (lambda _: list(certificates)) if certificates else None  # with a store, an unsigned message does not open
    return decrypt(ciphertext, Tsk.from_bytes(SECRET.encode()).decryptor(), store)


def _inner(mail: bytes) -> bytes:
    plaintext = _opened(_armour(mail)).bytes
    assert plaintext is not None
    return plaintext


def _shape(name: str) -> bytes:
    message = EmailMessage(policy=policy.SMTP)
    message["From"], message["To"], message["Subject"] = "ops@bank.example", "ann@home.example", f"Größe {name}"
    message.set_content("Grüße, Ann\n")
    if name != "text":
        message.add_alternative("<p>Grüße, <b>Ann</b></p>\n", subtype="html")
    if name == "attachment":
        message.add_attachment(bytes(range(256)) * 40, maintype="application", subtype="pdf", filename="Größe.pdf")
    return message.as_bytes()


def test_the_original_lies_inside_with_its_header_protected() -> None:
    """RFC 9788: the real fields are marked as protected, beside a copy of what stood outside."""
    inner = message_from_bytes(_inner(_sealed(MAIL)), policy=policy.SMTP)

    assert inner["Subject"] == "disk full on db1"
    assert inner["From"] == "Ops <ops@bank.example>"
    assert inner["Message-ID"] == "<1@bank.example>"
    assert inner["Content-Type"].params["hp"] == "cipher"
    assert inner["MIME-Version"] == "1.0"
    assert inner.get_payload() == "secret-canary: 97 %\r\n"


def test_the_copies_of_the_outside_are_ours_alone() -> None:
    """A sender that writes HP-Outer itself could make a mail program believe a forged outside."""
    inner = message_from_bytes(_inner(_sealed(MAIL)), policy=policy.SMTP)

    assert [str(copy) for copy in inner.get_all("HP-Outer", [])] == [
        "From: Clarion <clarion@gate.example>",
        "To: ann@home.example",
        "Date: Sun, 09 Sep 2001 01:46:40 +0000",
        "Message-ID: <0000000000007@gate.example>",
        "Clarion-Notification: 0000000000007",
        "Auto-Submitted: auto-generated",
        "Subject: [...]",
    ]


def test_nobody_learns_who_was_copied_blindly() -> None:
    """Bcc names recipients that this one must not see."""
    assert b"carol" not in _inner(_sealed(MAIL))


@pytest.mark.parametrize("name", ["text", "alternative", "attachment"])
def test_text_html_and_attachments_come_out_as_they_went_in(name: str) -> None:
    """The original entity is carried whole, not rebuilt."""
    raw = _shape(name)

    assert _inner(_sealed(raw)).partition(b"\r\n\r\n")[2] == raw.partition(b"\r\n\r\n")[2]


def test_a_binary_part_keeps_its_line_feeds() -> None:
    """Line ends in binary content are data; making them CRLF would break it."""
    raw = b"From: a@b.example\nContent-Type: image/x\nContent-Transfer-Encoding: binary\n\n\x89PNG\r\n\x1a\n\0"

    assert _inner(_sealed(raw)).endswith(b"\r\n\r\n\x89PNG\r\n\x1a\n\0")


def test_what_travels_is_seven_bit_with_short_lines() -> None:
    """Every SMTP server carries it, whatever the original held."""
    for raw in (MAIL, _shape("attachment"), b"From: a@b.example\n\n\xff\0" + b"x" * 5000):
        mail = _sealed(raw)

        assert mail.isascii()
        assert fits_smtp(mail)


def test_an_altered_ciphertext_never_decrypts() -> None:
    """EFAIL: no altered octet may yield plaintext."""
    octets = b"".join(bytes(packet) for packet in PacketPile.from_bytes(_armour(_sealed(MAIL))))
    for position in range(len(octets) - 400, len(octets), 11):
        altered = bytearray(octets)
        altered[position] ^= 0x40

        with pytest.raises(RuntimeError):
            _opened(bytes(altered))


def test_the_gateway_signs_what_it_seals_when_it_has_a_key(tmp_path: Path) -> None:
    """The recipient learns that the mail passed the gateway and nobody else wrote it."""
    create_signing_key(tmp_path, "clarion@gate.example")
    certificate = Cert.from_bytes((tmp_path / "signing.public").read_bytes())
    opened = _opened(_armour(_sealed(MAIL, load_signing_key(tmp_path))), certificate)

    assert opened.valid_sigs[0].certificate == certificate.fingerprint
    assert b"PRIVATE KEY" not in (tmp_path / "signing.public").read_bytes()
    assert (tmp_path / "signing.private").stat().st_mode & 0o777 == 0o600


def test_a_signing_key_is_never_overwritten(tmp_path: Path) -> None:
    """Recipients have stored its certificate; a new one would look like an impostor."""
    create_signing_key(tmp_path, "clarion@gate.example")

    with pytest.raises(ConfigurationError, match="nothing was overwritten"):
        create_signing_key(tmp_path, "clarion@gate.example")


def test_without_a_signing_key_the_gateway_does_not_sign_and_a_damaged_one_is_told(tmp_path: Path) -> None:
    """Signing is a choice; a damaged key is not the same as none."""
    assert load_signing_key(tmp_path) is None

    (tmp_path / "signing.private").write_text("nonsense")
    with pytest.raises(ConfigurationError, match="damaged"):
        load_signing_key(tmp_path)
