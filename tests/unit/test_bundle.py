"""A recipient may have certificates of two kinds: they are kept in one text, and the right one is found in it."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from pysequoia import Cert

from serving.encryption.bundle import LARGEST_BUNDLE, MOST_CERTIFICATES, Block, blocks, bundle, choose
from serving.encryption.certificates import Unusable, generate_test_key
from serving.values import Method
from tests.unit.test_smime_certificates import ADDRESS, KEY, Spec, issue

NOW = datetime.now(UTC)
OPENPGP = generate_test_key(ADDRESS, "Ann Ünicode")[0].encode()
SMIME = issue(Spec(KEY)).public_bytes(Encoding.PEM)
EXPIRED = issue(Spec(KEY, until=timedelta(hours=-1))).public_bytes(Encoding.PEM)


def methods(octets: bytes) -> list[Method]:
    return [block.method for block in blocks(octets)]


@pytest.mark.parametrize(
    ("octets", "found"),
    [
        (OPENPGP, ["openpgp"]),
        (SMIME, ["smime"]),
        (SMIME + OPENPGP, ["smime", "openpgp"]),
        (b"Bag Attributes\r\n  friendlyName: Ann\r\n" + SMIME.replace(b"\n", b"\r\n") + EXPIRED, ["smime", "smime"]),
        (issue(Spec(KEY)).public_bytes(Encoding.DER), ["smime"]),
        (bytes(Cert.from_bytes(OPENPGP)), ["openpgp"]),
        (b"", []),
        (b"-----BEGIN CERTIFICATE-----\nand no end", []),
        (b"-----BEGIN CERTIFICATE-----\n-----END PGP PUBLIC KEY BLOCK-----", []),
        (OPENPGP * (LARGEST_BUNDLE // len(OPENPGP) + 1), []),
        (SMIME * 100, ["smime"] * MOST_CERTIFICATES),
    ],
)
def test_every_certificate_that_somebody_brings_is_found(octets: bytes, found: list[Method]) -> None:
    """As text or binary, one or many, with what other programs write around them."""
    assert methods(octets) == found


def test_what_was_found_is_kept_as_it_came_and_once() -> None:
    """A second upload of the same certificate is no second one."""
    kept = bundle([*blocks(SMIME), *blocks(OPENPGP), *blocks(SMIME)])

    assert methods(kept.encode()) == ["smime", "openpgp"]
    assert blocks(kept.encode()) == [*blocks(SMIME), *blocks(OPENPGP)]
    assert bundle([]) == "\n"


@pytest.mark.parametrize(
    ("octets", "wanted", "kind"),
    [
        (SMIME + OPENPGP, ("openpgp", "smime"), Cert),
        (SMIME + OPENPGP, ("smime", "openpgp"), x509.Certificate),
        (SMIME, ("openpgp", "smime"), x509.Certificate),
        (EXPIRED + OPENPGP, ("smime", "openpgp"), Cert),
        (EXPIRED + SMIME, ("smime", "openpgp"), x509.Certificate),
    ],
)
def test_what_is_wished_comes_first_and_what_is_usable_before_nothing(
    octets: bytes, wanted: tuple[Method, ...], kind: type
) -> None:
    """A certificate that expired must not hold mail that another one could seal."""
    assert isinstance(choose(octets, ADDRESS, NOW, wanted), kind)


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        (EXPIRED, "the certificate is expired"),
        (b"-----BEGIN CERTIFICATE-----\nbm9uZQ==\n-----END CERTIFICATE-----", "the certificate is unreadable"),
        (b"none", "the certificate is unreadable"),
        (b"\xff" * 4_000_000, "the certificate is unreadable"),
        (generate_test_key("bob@home.example", "Bob")[0].encode(), "the recipient's address is not in the certificate"),
    ],
)
def test_where_nothing_can_be_sealed_to_the_reason_is_the_certificates(octets: bytes, reason: str) -> None:
    """Its owner is told what to mend."""
    assert choose(octets, ADDRESS, NOW) == Unusable(reason)


def test_a_block_of_neither_kind_of_text_stays_itself() -> None:
    """What is kept is read back octet for octet."""
    assert blocks(Block("openpgp", OPENPGP.strip()).octets) == [Block("openpgp", OPENPGP.strip())]
