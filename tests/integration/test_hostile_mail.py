"""Malformed and hostile mail from other projects' test suites: none of it stops us, and all of it can leave again."""

import tarfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from serving.authentication.mail_sender import sender_domain
from serving.digest.letter import Cover, read_entry, write_letter
from serving.encryption.outside import Outside
from serving.encryption.relayed import relay
from serving.encryption.sealed import payload
from serving.mail import fits_smtp, split, with_crlf
from serving.pipeline import Unverified

OUTSIDE = Outside("0000000000007", "clarion@gate.example", "ann@home.example", datetime.fromtimestamp(1e9, UTC))

pytestmark = pytest.mark.real_mail


def _samples(real_mail: Path) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(real_mail / "hostile" / "hostile_mail_samples.tar.gz") as archive:
        for member in archive:
            file = archive.extractfile(member)
            if file is not None:
                yield member.name, file.read()


def test_every_hostile_sample_can_leave_open_and_sealed(real_mail: Path) -> None:
    """Nothing accepted is lost because a parser did not like it."""
    names = []
    for name, raw in _samples(real_mail):
        names.append(name)

        assert fits_smtp(relay(raw, OUTSIDE)), name
        assert split(payload(raw, OUTSIDE.header)) is not None, name

    assert len(names) == 829


def test_every_hostile_sample_that_smtp_carries_is_relayed_unchanged(real_mail: Path) -> None:
    """A signature over it must still verify."""
    carried = {name: with_crlf(raw) for name, raw in _samples(real_mail) if split(raw) and raw[:5] != b"From "}
    fit = {name: raw for name, raw in carried.items() if fits_smtp(raw) and b"\r\n\r\n" in raw}

    assert len(fit) > 600
    assert [name for name, raw in fit.items() if not relay(raw, OUTSIDE).endswith(b"\r\n" + raw)] == []


def test_every_hostile_sample_has_one_domain_or_a_reason(real_mail: Path) -> None:
    """Authentication ends in an outcome, never in an exception."""
    judged = [sender_domain(raw) for _, raw in _samples(real_mail)]

    assert sum(isinstance(domain, str) for domain in judged) > 600
    assert all(domain.reason for domain in judged if isinstance(domain, Unverified))


def test_every_hostile_sample_fits_into_a_digest(real_mail: Path) -> None:
    """Unverified mail goes to the digest, so the digest sees the worst of it."""
    entries = [read_entry(raw, 1e9, is_verified=False) for _, raw in _samples(real_mail)]

    assert fits_smtp(write_letter(entries, Cover("clarion@gate.example", "ann@home.example", OUTSIDE.date.timestamp())))
