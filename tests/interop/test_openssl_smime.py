"""OpenSSL, which nobody here wrote, opens and verifies what we seal; we open what it seals; it made all the keys."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from serving.encryption.certificates import Unusable
from serving.encryption.outside import Outside
from serving.encryption.sealed import payload
from serving.encryption.smime import enclose, open_sealed
from serving.encryption.smime_certificates import read_smime_certificate
from serving.encryption.smime_signing import Signer, create_smime_signing_key, load_smime_signing_key
from serving.errors import Unsealable
from tests.unit.test_smime import MAIL, SHAPES, shape

ADDRESS = "ann@home.example"
NOW = datetime.now(UTC) + timedelta(minutes=30)  # after the keys are made
OUTSIDE = Outside("0000000000007", "clarion@gate.example", ADDRESS, NOW)
OUTER = (*OUTSIDE.header, ("Subject", "[...]"))
NAMED = f"subjectAltName=email:{ADDRESS}"
USAGE = "keyUsage=critical,digitalSignature,keyEncipherment"
SIZES = ("2048", "3072", "4096")
RSA_2048 = ("-newkey", "rsa:2048")


def run(*arguments: str | Path, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """What openssl answers."""
    command = ["openssl", *map(str, arguments)]
    return subprocess.run(command, input=stdin, capture_output=True, check=False, timeout=100)


def openssl(*arguments: str | Path, stdin: bytes = b"") -> bytes:
    """What openssl writes, where it must succeed."""
    done = run(*arguments, stdin=stdin)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return done.stdout


class Person:
    """Somebody whose key and certificate OpenSSL has made, of the kind that its arguments say."""

    def __init__(self, stem: Path, algorithm: tuple[str, ...], *extensions: str) -> None:
        self.key_file, self.file = stem.with_suffix(".key"), stem.with_suffix(".pem")
        added = [part for extension in extensions for part in ("-addext", extension)]
        made = ("-keyout", self.key_file, "-out", self.file)
        openssl("req", "-x509", "-nodes", "-days", "30", "-subj", f"/CN={stem.name}", *algorithm, *added, *made)

    def judged(self, at: datetime = NOW) -> x509.Certificate | Unusable:
        """Their certificate, as we judge it."""
        return read_smime_certificate(self.file.read_bytes(), ADDRESS, at)

    @property
    def certificate(self) -> x509.Certificate:
        """It, where it must be usable."""
        certificate = self.judged()
        assert isinstance(certificate, x509.Certificate), certificate
        return certificate

    @property
    def key(self) -> rsa.RSAPrivateKey:
        """Their private key."""
        key = load_pem_private_key(self.key_file.read_bytes(), None)
        assert isinstance(key, rsa.RSAPrivateKey)
        return key


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """Where the keys lie; a missing openssl is a failure."""
    if shutil.which("openssl") is None:
        pytest.fail("no openssl; run tests/interop/install.sh")
    with TemporaryDirectory(prefix="openssl-") as name:
        yield Path(name)


@pytest.fixture(scope="module")
def gateway(folder: Path) -> Signer:
    """The gateway's own key, whose certificate lies in the folder as `smime.public`."""
    create_smime_signing_key(folder, OUTSIDE.mail_from, NOW)
    signer = load_smime_signing_key(folder)
    assert signer is not None
    return signer


@pytest.fixture(scope="module")
def ann(folder: Path) -> Callable[[str], Person]:
    """Ann with an RSA key of so many bits, the same one whenever it is asked for."""
    return cache(lambda bits: Person(folder / f"ann-{bits}", ("-newkey", f"rsa:{bits}"), NAMED, USAGE))


@pytest.fixture(scope="module")
def sender(folder: Path) -> Person:
    """Somebody else who signs with OpenSSL."""
    return Person(folder / "sender", RSA_2048, NAMED)


def decrypted(mail: bytes, person: Person) -> bytes:
    """What openssl finds in the envelope."""
    return openssl("cms", "-decrypt", "-recip", person.file, "-inkey", person.key_file, stdin=mail)


def verified(entity: bytes, trusted: Path) -> subprocess.CompletedProcess[bytes]:
    """What openssl says to the signature, where it trusts one certificate alone, and what it lets out."""
    return run("cms", "-verify", "-CAfile", trusted, "-no-CApath", "-no-CAstore", stdin=entity)


def sealed_by_openssl(content: bytes, cipher: str, sender: Person, *recipients: Person) -> bytes:
    """A mail that openssl has signed, the content inside, and enveloped."""
    opaque = ("-nodetach", "-binary", "-signer", sender.file, "-inkey", sender.key_file)
    signed = openssl("cms", "-sign", *opaque, stdin=content)
    return openssl("cms", "-encrypt", cipher, *(each.file for each in recipients), stdin=signed)


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("bits", SIZES)
def test_openssl_opens_and_verifies_every_shape_octet_for_octet(
    folder: Path, gateway: Signer, ann: Callable[[str], Person], bits: str, name: str
) -> None:
    """A mail that only our own library opens is no use to anybody."""
    raw = shape(name)
    mail = enclose(raw, OUTSIDE, ann(bits).certificate, gateway)
    answer = verified(decrypted(mail, ann(bits)), folder / "smime.public")

    assert answer.returncode == 0, answer.stderr
    assert answer.stdout == payload(raw, OUTER)


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("bits", SIZES)
@pytest.mark.parametrize("cipher", ["-aes-128-cbc", "-aes-256-cbc"])
def test_we_open_and_verify_every_shape_of_openssl_octet_for_octet(
    ann: Callable[[str], Person], sender: Person, cipher: str, bits: str, name: str
) -> None:
    """A form that nobody else writes would be no S/MIME."""
    content = payload(shape(name), OUTER)
    mail = sealed_by_openssl(content, cipher, sender, ann(bits))

    assert open_sealed(mail, ann(bits).key, ann(bits).certificate, sender.certificate) == content


def test_we_open_what_openssl_sealed_to_several(ann: Callable[[str], Person], sender: Person) -> None:
    """Mail programs seal to the sender as well, so that they can read what they sent."""
    mail = sealed_by_openssl(MAIL, "-aes-256-cbc", sender, ann("2048"), sender, ann("3072"))

    for each in (ann("2048"), ann("3072"), sender):
        assert open_sealed(mail, each.key, each.certificate, sender.certificate) == MAIL
    with pytest.raises(Unsealable):
        open_sealed(mail, ann("4096").key, ann("4096").certificate, sender.certificate)


def test_openssl_does_not_believe_another_signer(ann: Callable[[str], Person], sender: Person, gateway: Signer) -> None:
    """The signature is worth something only if somebody else's is told apart, by openssl and by us."""
    ours = enclose(MAIL, OUTSIDE, ann("2048").certificate, gateway)
    theirs = sealed_by_openssl(MAIL, "-aes-256-cbc", sender, ann("2048"))

    assert verified(decrypted(ours, ann("2048")), sender.file).returncode != 0
    with pytest.raises(Unsealable):
        open_sealed(theirs, ann("2048").key, ann("2048").certificate, gateway.certificate)


def test_openssl_finds_the_signature_broken_where_a_block_was_exchanged(
    folder: Path, ann: Callable[[str], Person], gateway: Signer
) -> None:
    """Openssl decrypts what was altered (EFAIL); that it is no longer signed is all that a reader can go by."""
    head, _, body = enclose(MAIL, OUTSIDE, ann("2048").certificate, gateway).partition(b"\r\n\r\n")
    lines = body.split(b"\r\n")
    lines[40], lines[44] = lines[44], lines[40]
    person, mail = ann("2048"), head + b"\r\n\r\n" + b"\r\n".join(lines)
    entity = run("cms", "-decrypt", "-recip", person.file, "-inkey", person.key_file, stdin=mail).stdout

    assert verified(entity, folder / "smime.public").returncode != 0


@pytest.mark.parametrize(
    ("algorithm", "extensions", "reason"),
    [
        (RSA_2048, (NAMED,), None),
        (("-newkey", "rsa:1024"), (NAMED,), "the certificate's encryption key is weaker than RSA with 2048 bits"),
        (("-newkey", "rsa-pss"), (NAMED,), "the certificate's encryption key is of an unsupported kind"),
        (("-newkey", "ed25519"), (NAMED,), "the certificate's encryption key is of an unsupported kind"),
        (
            ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            (NAMED, "keyUsage=keyAgreement"),
            "the certificate's encryption key is of an unsupported kind",
        ),
        (RSA_2048, ("subjectAltName=email:eve@home.example",), "the recipient's address is not in the certificate"),
        (RSA_2048, (NAMED, "keyUsage=digitalSignature"), "the certificate is an authority's, not a person's"),
        (RSA_2048, (NAMED, "extendedKeyUsage=serverAuth"), "the certificate is not for mail"),
    ],
)
def test_certificates_that_openssl_made_are_judged_as_what_they_are(
    folder: Path, algorithm: tuple[str, ...], extensions: tuple[str, ...], reason: str | None
) -> None:
    """People bring what their tools make; OpenSSL makes every self-signed certificate an authority's."""
    judged = Person(folder / "judged", algorithm, *extensions).judged()

    assert (judged.reason if isinstance(judged, Unusable) else None) == reason


def test_a_certificate_of_openssl_is_usable_in_its_time_alone(ann: Callable[[str], Person]) -> None:
    """Held mail is the price of a certificate that is refused too early."""
    early, late = (ann("2048").judged(NOW + timedelta(days=days)) for days in (-1, 31))

    assert isinstance(ann("2048").judged(NOW + timedelta(days=29)), x509.Certificate)
    assert early == Unusable("the certificate is not valid yet")
    assert late == Unusable("the certificate is expired")
