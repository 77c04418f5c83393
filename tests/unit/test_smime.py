"""The S/MIME form: only the recipient reads it, and reads the mail that came, signed by the gateway."""

import multiprocessing
import resource
import time
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from serving.encryption.outside import Outside
from serving.encryption.sealed import payload
from serving.encryption.smime import enclose, open_sealed
from serving.errors import Unsealable
from serving.mail import fits_smtp
from tests.unit.test_smime_certificates import ADDRESS, ANN, KEY, Spec, issue
from tests.unit.test_smime_signing import gateway

CERTIFICATE = issue(ANN)
OUTSIDE = Outside("0000000000007", "clarion@gate.example", ADDRESS, datetime.fromtimestamp(1e9, UTC))
OUTER = (*OUTSIDE.header, ("Subject", "[...]"))
MAIL = (
    b"Received: from a by b; Mon, 2 Nov 2026 10:00:00 +0000\r\nFrom: Ops <ops@bank.example>\r\n"
    b"To: ann@home.example,\r\n  bob@home.example\r\nBcc: carol@home.example\r\nHP-Outer: Subject: forged\r\n"
    b"Subject: disk full on db1\r\nMessage-ID: <1@bank.example>\r\n\r\nsecret-canary: 97 %\r\n"
)
SHAPES = ("text", "alternative", "attachment", "forwarded", "8bit")
_UTF8 = policy.SMTPUTF8.clone(cte_type="8bit")


def shape(name: str) -> bytes:
    """A mail of each kind that people send; "8bit" is UTF-8 everywhere, its header and file name included."""
    is_8bit = name == "8bit"
    message = EmailMessage(policy=_UTF8 if is_8bit else policy.SMTP)
    message["From"], message["To"], message["Subject"] = "Ops Ä. <ops@bank.example>", ADDRESS, f"Größe {name}"
    message.set_content("Grüße, Ann. €\n.\n--\nFrom here on\n", cte="8bit" if is_8bit else None)
    if name in ("alternative", "attachment"):
        message.add_alternative("<p>Grüße, <b>Ann</b></p>\n", subtype="html")
    if name in ("attachment", "8bit"):
        message.add_attachment(bytes(range(256)) * 400, maintype="application", subtype="pdf", filename="Größe.pdf")
    if name == "forwarded":
        message.add_attachment(message_from_bytes(MAIL, policy=policy.SMTP))
    return message.as_bytes()


def sealed(raw: bytes) -> bytes:
    """The mail as it travels to Ann."""
    return enclose(raw, OUTSIDE, CERTIFICATE, gateway())


def opened(mail: bytes) -> bytes:
    """What Ann reads, if she trusts the gateway alone."""
    return open_sealed(mail, KEY, CERTIFICATE, gateway().certificate)


def test_the_original_lies_inside_with_its_header_protected() -> None:
    """RFC 9788: the real fields are marked as protected, beside a copy of what stood outside, and Bcc is left out."""
    inner = message_from_bytes(opened(sealed(MAIL)), policy=policy.SMTP)

    assert inner["Subject"] == "disk full on db1"
    assert inner["Content-Type"].params["hp"] == "cipher"
    assert inner.get_payload() == "secret-canary: 97 %\r\n"
    assert [str(copy) for copy in inner.get_all("HP-Outer", [])] == [f"{name}: {value}" for name, value in OUTER]
    assert inner["Bcc"] is None


@pytest.mark.parametrize("name", SHAPES)
def test_every_shape_comes_out_as_it_went_in(name: str) -> None:
    """The original entity is carried whole, not rebuilt: text, HTML, attachments, forwarded mail, UTF-8 everywhere."""
    raw = shape(name)
    plain = opened(sealed(raw))

    assert plain == payload(raw, OUTER)
    assert plain.partition(b"\r\n\r\n")[2] == raw.partition(b"\r\n\r\n")[2]
    assert message_from_bytes(plain, policy=policy.SMTP)["Subject"] == f"Größe {name}"


@pytest.mark.parametrize("raw", [b"", b"no header", b"\0\r\n\xff"])
def test_octets_that_are_no_mail_arrive_whole_as_an_attachment(raw: bytes) -> None:
    """Nothing that was accepted may be lost for its form."""
    inner = message_from_bytes(opened(sealed(raw)), policy=policy.SMTP)
    assert isinstance(inner, EmailMessage)
    (attachment,) = inner.iter_attachments()

    assert attachment.get_content() == raw


def test_a_binary_part_keeps_its_line_feeds() -> None:
    """Line ends in binary content are data; making them CRLF would break it."""
    raw = b"From: a@b.example\nContent-Type: image/x\nContent-Transfer-Encoding: binary\n\n\x89PNG\r\n\x1a\n\0"

    assert opened(sealed(raw)).endswith(b"\r\n\r\n\x89PNG\r\n\x1a\n\0")


@pytest.mark.parametrize("raw", [MAIL, shape("8bit"), b"From: a@b.example\n\n\xff\0" + b"x" * 5000])
def test_what_travels_is_seven_bit_with_short_lines(raw: bytes) -> None:
    """Every SMTP server carries it, whatever the original held."""
    mail = sealed(raw)
    body = mail.partition(b"\r\n\r\n")[2]

    assert mail.isascii()
    assert fits_smtp(mail)
    assert max(map(len, body.split(b"\r\n"))) == 76


def test_the_outside_tells_only_that_there_is_mail() -> None:
    """Everybody on the way reads it."""
    mail = sealed(MAIL)
    outside = message_from_bytes(mail, policy=policy.SMTP)

    assert outside["Subject"] == "[...]"
    assert outside["Content-Type"].content_type == "application/pkcs7-mime"
    assert outside["Content-Type"].params["smime-type"] == "enveloped-data"
    assert not any(word in mail for word in (b"disk", b"bank", b"canary", b"carol"))
    assert [name for name in outside if name not in dict(OUTER)] == [
        "MIME-Version",
        "Content-Disposition",
        "Content-Type",
        "Content-Transfer-Encoding",
    ]


def test_one_mail_is_never_sealed_to_the_same_octets_twice() -> None:
    """Who sees two sealed mails must not learn whether they are one."""
    assert sealed(MAIL).partition(b"\r\n\r\n")[2][:600] != sealed(MAIL).partition(b"\r\n\r\n")[2][:600]


def test_only_the_recipients_key_opens_it() -> None:
    """Another key under the same name is another's."""
    other = rsa.generate_private_key(65_537, 2048)

    with pytest.raises(Unsealable):
        open_sealed(sealed(MAIL), other, CERTIFICATE, gateway().certificate)
    with pytest.raises(Unsealable):
        open_sealed(sealed(MAIL), other, issue(Spec(other)), gateway().certificate)


def test_only_the_expected_signer_opens_it() -> None:
    """Anybody can seal to a certificate."""
    with pytest.raises(Unsealable):
        open_sealed(sealed(MAIL), KEY, CERTIFICATE, CERTIFICATE)


def test_ten_megabytes_are_sealed_and_opened_in_bounded_time_and_memory() -> None:
    """One large mail must not stop a stage's others, nor end its process."""
    gateway()
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        seconds, octets = pool.submit(_measure).result(timeout=100)

    assert seconds < 20
    assert octets < 20 * 10_000_000


def _measure() -> tuple[float, int]:
    """Seconds and further resident octets that a mail of 10 MB takes, both ways, in a process of its own."""
    raw = b"From: a@b.example\r\nSubject: large\r\n\r\n" + b"0123456789abcdef\r\n" * 555_555
    opened(sealed(MAIL))
    before, start = _resident(), time.perf_counter()
    assert opened(sealed(raw)).endswith(raw[-1000:])
    return time.perf_counter() - start, _resident() - before


def _resident() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
