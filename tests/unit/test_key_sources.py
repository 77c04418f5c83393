"""Where certificates came from, and that none takes the place of one from a better source."""

import base64
from collections.abc import Sequence
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pysequoia import Cert

from serving.encryption.autocrypt import learned, read_field
from serving.encryption.bundle import Block, blocks, bundle
from serving.encryption.certificates import Unusable, read_certificate
from serving.encryption.sources import Source, found, origin_of, with_fetched
from tests.unit.certificates import ANN, CERTIFICATE, NOW, binary, crowded, fresh, lasting, revoked, signing_only

KEY = binary(CERTIFICATE)


def armoured(octets: bytes) -> Block:
    """As a program writes it that marks nothing."""
    return Block("openpgp", str(Cert.from_bytes(octets)).strip().encode())


UPLOADED = Block("openpgp", CERTIFICATE.strip().encode())
SMIME = Block("smime", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----")
LATER = NOW + timedelta(hours=1)


def field(key: bytes = KEY, address: str = ANN, attributes: str = "") -> bytes:
    return f"addr={address}; {attributes}keydata={base64.b64encode(key).decode()}".encode()


def certificate(octets: bytes) -> Cert:
    read = read_certificate(octets, ANN, NOW)
    assert isinstance(read, Cert)
    return read


def block(octets: bytes, source: Source) -> Block:
    return found(certificate(octets), source, NOW)


def fingerprints(held: Sequence[Block] | Unusable) -> list[str]:
    assert not isinstance(held, Unusable)
    return [Cert.from_bytes(each.octets).fingerprint for each in held]


@pytest.mark.parametrize("source", [Source.WKD, Source.AUTOCRYPT])
def test_the_source_is_kept_with_the_certificate(source: Source) -> None:
    """Through the bundle's text, which is all that the store has."""
    (kept,) = blocks(bundle([block(KEY, source)]).encode())

    assert origin_of(kept).source is source
    assert origin_of(kept).since == NOW.replace(microsecond=0)
    assert isinstance(kept.read(ANN, NOW), Cert)


@pytest.mark.parametrize("brought", [UPLOADED, SMIME, armoured(KEY)])
def test_what_has_no_mark_was_brought(brought: Block) -> None:
    """Certificates of before, and those that programs write with comments of their own."""
    assert origin_of(brought).source is Source.UPLOADED


def test_a_published_certificate_takes_the_place_of_found_ones_alone() -> None:
    """The owner's S/MIME certificate and what they brought and let expire stay."""
    old, new, expired = (
        fresh(),
        certificate(fresh()),
        Block("openpgp", str(Cert.from_bytes(lasting(1))).strip().encode()),
    )
    held = [expired, SMIME, block(old, Source.AUTOCRYPT), block(fresh(), Source.WKD)]
    kept = with_fetched(held, new, ANN, LATER)

    assert not isinstance(kept, Unusable)
    assert [each.method for each in kept] == ["openpgp", "openpgp", "smime"]
    assert fingerprints(kept[:2]) == [new.fingerprint, Cert.from_bytes(KEY).fingerprint]
    assert [origin_of(each).source for each in kept] == [Source.WKD, Source.UPLOADED, Source.UPLOADED]


def test_a_usable_certificate_that_was_brought_stays_unless_told_otherwise() -> None:
    """A web server's word must not quietly overrule the owner's."""
    new = certificate(fresh())
    refused = with_fetched([UPLOADED, SMIME], new, ANN, NOW)
    told = with_fetched([UPLOADED, SMIME], new, ANN, NOW, replace=True)

    assert isinstance(refused, Unusable)
    assert "--replace" in refused.reason
    assert not isinstance(told, Unusable)
    assert fingerprints(told[:1]) == [new.fingerprint]
    assert told[1:] == [SMIME]


@pytest.mark.parametrize("replace", [False, True])
def test_what_its_owner_revoked_is_not_revived_by_who_publishes_it(replace: bool) -> None:
    """A directory that lags behind, or lies, still serves the certificate without its revocation."""
    kept = with_fetched([armoured(revoked())], certificate(KEY), ANN, NOW, replace=replace)

    assert isinstance(kept, Unusable)
    assert "revoked" in kept.reason


def test_what_was_added_to_the_same_certificate_is_taken() -> None:
    """Most people add a key to their certificate, or prolong it, instead of making another."""
    old = armoured(signing_only())
    kept = with_fetched([old], certificate(KEY), ANN, LATER)

    assert isinstance(old.read(ANN, NOW), Unusable)
    assert not isinstance(kept, Unusable)
    assert [type(each.read(ANN, LATER)) for each in kept] == [Cert]


def test_a_field_says_a_key() -> None:
    """Folded and spaced as mail programs do."""
    folded = field(attributes="prefer-encrypt=mutual; _mine=1; ").replace(b"keydata=", b"keydata=\r\n ")
    read = read_field(folded[:-20] + b"\r\n\t" + folded[-20:], "Ann@HOME.example")

    assert read == read_field(field(attributes="prefer-encrypt=never; "), ANN) == KEY


INVALID = {
    "not understood": field(attributes="type=1; "),
    "not for the address": field(address="eve@home.example"),
    "larger than 10 KiB": field(key=b"x" * 8_000),
    "malformed": b"addr=ann@home.example",
    "malformed ": b"keydata=AAAA",
    "malformed  ": b"keydata=AAAA; addr=ann@home.example",
    "malformed   ": field(attributes="addr=ann@home.example; "),
    "malformed    ": b"addr=ann@home.example; keydata=!!!!",
    "malformed     ": b"",
    "malformed      ": field() + b"\xff",
}


@pytest.mark.parametrize("reason", INVALID)
def test_an_invalid_field_is_told_and_teaches_nothing(reason: str) -> None:
    """Autocrypt Level 1, "The Autocrypt Header"."""
    read = read_field(INVALID[reason], ANN)

    assert isinstance(read, Unusable)
    assert reason.strip() in read.reason
    assert "example" not in read.reason
    assert learned("", INVALID[reason], ANN, NOW) is None


def test_a_mail_teaches_a_certificate_where_none_is_known() -> None:
    """The first mail of somebody who brought nothing."""
    text = learned("", field(), ANN, NOW)

    assert text is not None
    (kept,) = blocks(text.encode())
    assert origin_of(kept).source is Source.AUTOCRYPT
    assert isinstance(kept.read(ANN, NOW), Cert)


@pytest.mark.parametrize(
    "held",
    [
        bundle([UPLOADED]),
        bundle([SMIME]),
        bundle([block(KEY, Source.WKD)]),
        bundle([block(KEY, Source.AUTOCRYPT), SMIME]),
        bundle([armoured(revoked())]),
        "what nobody can read",
    ],
    ids=["uploaded", "smime", "wkd", "learned and brought", "uploaded and revoked", "unreadable"],
)
def test_a_mail_teaches_nothing_where_something_better_is_known(held: str) -> None:
    """Else whoever forges one mail reads all later ones, as soon as the owner's own certificate has lapsed."""
    assert learned(held, field(fresh()), ANN, LATER) is None


def test_a_later_mail_changes_what_an_earlier_one_taught() -> None:
    """People change their mail program; an old mail that arrives late changes nothing."""
    first = learned("", field(), ANN, NOW) or ""
    key = fresh()
    second = learned(first, field(key), ANN, LATER)

    assert second is not None
    assert fingerprints(blocks(second.encode())) == [Cert.from_bytes(key).fingerprint]
    assert learned(first, field(key), ANN, NOW - timedelta(hours=1)) is None


def test_the_same_announcement_changes_nothing() -> None:
    """It comes with every mail; the store is not written for each."""
    first = learned("", field(), ANN, NOW) or ""

    assert first
    assert learned(first, field(), ANN, LATER) is None


@pytest.mark.parametrize(
    "key",
    [revoked(), lasting(1), signing_only(), fresh("eve@home.example"), b"none", b"", crowded([None] * 17)],
    ids=["revoked", "expired", "signing only", "for another address", "none", "empty", "too many keys"],
)
def test_an_announced_key_that_cannot_be_used_teaches_nothing(key: bytes) -> None:
    """A learned certificate that holds mail is worse than none: mail could have gone open by policy."""
    assert learned("", field(key), ANN, LATER) is None


def test_a_revocation_of_what_was_learned_is_not_undone_by_the_next_mail() -> None:
    """The mail that was sent before it arrives after it."""
    held = bundle([found(Cert.from_bytes(revoked()), Source.AUTOCRYPT, NOW)])

    assert learned(held, field(), ANN, LATER) is None


@given(st.binary(max_size=400))
def test_hostile_fields_are_invalid_and_nothing_worse(value: bytes) -> None:
    """Anybody can write anything into a header."""
    for hostile in (value, b"addr=ann@home.example;" + value, b"addr=ann@home.example; keydata=" + value):
        assert isinstance(read_field(hostile, ANN), bytes | Unusable)
        assert learned("", hostile, ANN, NOW) is None
