"""Our opener of OpenPGP mail: the signed payload whole, for the one whom it is sealed to, or nothing."""

import sys
from functools import cache
from pathlib import Path

import pytest
from pysequoia import Cert, CipherSuite, Profile, Tsk, encrypt

from serving.encryption.certificates import generate_test_key
from serving.encryption.opening import LARGEST, open_sealed
from serving.encryption.sealed import enclose, payload
from serving.encryption.signing import create_signing_key, load_signing_key
from serving.errors import Unsealable
from tests.unit.ciphertexts import packets
from tests.unit.tampered_pgp import GATEWAY, mail
from tests.unit.test_smime import MAIL, OUTER, OUTSIDE, SHAPES, shape

KINDS = {
    "Curve25519, version 4": (Profile.RFC4880, CipherSuite.Cv25519),
    "RSA 3072, version 4": (Profile.RFC4880, CipherSuite.RSA3k),
    "NIST P-256, version 4": (Profile.RFC4880, CipherSuite.P256),
    "Curve25519, version 6": (Profile.RFC9580, CipherSuite.Cv25519),
    "NIST P-256, version 6": (Profile.RFC9580, CipherSuite.P256),
    "Curve448, version 6": (Profile.RFC9580, CipherSuite.Cv448),
}
TRUSTED = GATEWAY.extract_certificate()


@cache
def ann(kind: str) -> Tsk:
    """Ann with a key of that kind, the same one whenever it is asked for."""
    if kind == "as gpg makes it":
        return Tsk.from_bytes(generate_test_key("ann@home.example", "Ann")[1].encode())
    profile, suite = KINDS[kind]
    return Tsk.generate("Ann <ann@home.example>", profile=profile, cipher_suite=suite)


def sealed(raw: bytes, key: Tsk, signer: Tsk | None = GATEWAY) -> bytes:
    """The mail as it travels to the key's owner."""
    return enclose(raw, OUTSIDE, key.extract_certificate(), signer)


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("kind", [*KINDS, "as gpg makes it"])
def test_every_shape_opens_with_every_kind_of_key(kind: str, name: str) -> None:
    """People bring the keys that they have, those of RFC 9580 among them, which gpg and Debian's sq do not know."""
    raw = shape(name)

    assert open_sealed(sealed(raw, ann(kind)), ann(kind), TRUSTED) == payload(raw, OUTER)


def test_ten_megabytes_open() -> None:
    """The limits of time and memory must not shut out a large mail."""
    raw = b"From: a@b.example\r\nSubject: large\r\n\r\n" + b"0123456789abcdef\r\n" * 555_555
    key = ann("Curve25519, version 6")

    assert open_sealed(sealed(raw, key), key, TRUSTED) == payload(raw, OUTER)


@pytest.mark.parametrize("kind", KINDS)
def test_a_mail_to_several_opens_for_each_of_them(kind: str) -> None:
    """A message holds a session key for each recipient; PySequoia alone gives up at another's RSA key before ours."""
    people = [Tsk.generate("Bob", cipher_suite=CipherSuite.RSA2k), ann(kind)]
    recipients = [key.extract_certificate() for key in people]
    for order in (recipients, recipients[::-1]):
        message = encrypt(MAIL, recipients=order, signer=GATEWAY.signer())

        assert [open_sealed(message, key, TRUSTED) for key in people] == [MAIL] * 2


def test_only_the_recipients_key_opens_it() -> None:
    """Another key under the same name is another's."""
    with pytest.raises(Unsealable):
        open_sealed(sealed(MAIL, ann("as gpg makes it")), ann("Curve25519, version 4"), TRUSTED)


@pytest.mark.parametrize("signer", [Tsk.generate("Clarion <clarion@gate.example>"), None])
def test_only_what_the_trusted_one_signed_opens(signer: Tsk | None) -> None:
    """Anybody can seal to a certificate, under the gateway's name too."""
    key = ann("Curve25519, version 4")

    with pytest.raises(Unsealable):
        open_sealed(sealed(MAIL, key, signer), key, TRUSTED)


def test_the_key_that_the_gateway_makes_is_the_one_to_trust(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What recipients are given is `signing.public`."""
    folder, key = tmp_path_factory.mktemp("keys"), ann("Curve25519, version 4")
    create_signing_key(folder, OUTSIDE.mail_from)
    trusted = Cert.from_bytes((folder / "signing.public").read_bytes())

    assert open_sealed(sealed(MAIL, key, load_signing_key(folder)), key, trusted) == payload(MAIL, OUTER)


def test_it_opens_wherever_we_were_imported_from(monkeypatch: pytest.MonkeyPatch) -> None:
    """Installed for editing we are not on the path, and a process that does not start looks like an altered mail."""
    key, root = ann("Curve25519, version 4"), Path(__file__).parents[2]
    monkeypatch.chdir("/")
    monkeypatch.setattr(sys, "path", ["", *(each for each in sys.path if each and Path(each).resolve() != root)])

    assert open_sealed(sealed(MAIL, key), key, TRUSTED) == payload(MAIL, OUTER)


def test_a_mail_that_is_not_one_armoured_message_is_refused_alike() -> None:
    """What else arrives under that name is no reason for another error."""
    key = ann("Curve25519, version 4")
    text = sealed(MAIL, key)
    message = b"".join(packets(text[text.index(b"-----BEGIN") : text.index(b"\r\n--clarion", text.index(b"-----END"))]))
    others = (b"", MAIL, b"\xff" * 99, message, text[:-60], text + text, text.replace(b"MESSAGE", b"SIGNATURE"))
    reasons = set()
    for other in (*others, mail(message) + bytes(LARGEST), b"-----BEGIN PGP MESSAGE-----" * 1_000_000):
        with pytest.raises(Unsealable) as refusal:
            open_sealed(other, key, TRUSTED)
        reasons.add(f"{refusal.value!r} {refusal.value.__cause__!r}")

    assert open_sealed(mail(message), key, TRUSTED) == payload(MAIL, OUTER)
    assert len(reasons) == 1
