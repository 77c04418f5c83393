"""Hostile relayed mail: whatever comes, a verdict comes, soon, and it is never `authenticated`."""

import asyncio
import time
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.authentication.mail_finding import Method, Result
from serving.authentication.mail_results import results_field
from serving.authentication.relayed import Standing, Verdict, authenticate
from serving.trace import Trace, without_forged
from tests.unit.zones import MAIL, NOW, RSA, Zones

MEBIBYTE = 1 << 20
NAMES: Mapping[str, Mapping[str, list[str]]] = RSA.key("example.com") | {
    "_dmarc.example.com": {"TXT": ["v=DMARC1; p=none"]}
}
SIGNED = RSA.sign(MAIL, "example.com")
HEADER, BODY = SIGNED.split(b"\r\n\r\n", 1)
SCRAPS = [
    b"DKIM-Signature: ", b"ARC-Seal: ", b"ARC-Message-Signature: ", b"ARC-Authentication-Results: ", b"From: ",
    b"Authentication-Results: ", b"v=1; ", b"a=rsa-sha256; ", b"a=ed25519-sha256; ", b"d=example.com; ", b"s=s1; ",
    b"h=from:to; ", b"bh=; ", b"b=", b"AAAA", b"i=1; ", b"i=@x; ", b"cv=none; ", b"cv=pass; ", b"l=5; ", b"x=1; ",
    b"c=relaxed/simple; ", b"dmarc=pass header.from=example.com", b"ops@example.com", b"\r\n", b"\r\n ", b"\n", b"\r",
    b"\0", b"\xff", b";", b"=", b"(", b'"', b"<", b"\t",
]  # fmt: skip


async def _judge(raw: bytes) -> Verdict:
    trace = Trace("192.0.2.1", "x", "a@example.com")
    return await authenticate(raw, trace, Zones(NAMES), now=NOW, trusted_sealers=["example.com"], patience=5)


@settings(max_examples=200, deadline=2000)
@given(st.one_of(st.binary(max_size=500), st.lists(st.sampled_from(SCRAPS), max_size=60).map(b"".join)))
def test_any_octets_get_a_verdict(raw: bytes) -> None:
    """An exception would send the mail round all attempts and into the dead."""
    for mail in (raw, b"From: ops@example.com\r\n" + raw, HEADER + b"\r\n" + raw + b"\r\n\r\n" + BODY):
        verdict = asyncio.run(_judge(without_forged(mail, "clarion.example")))

        assert verdict.standing is Standing.UNKNOWN or verdict.findings
        assert results_field(verdict.findings, "clarion.example").count(b"\r\n") == len(verdict.findings) + 1


@settings(max_examples=200, deadline=2000)
@given(st.lists(st.sampled_from(SCRAPS), max_size=60).map(b"".join))
def test_no_soup_of_fields_is_authenticated(soup: bytes) -> None:
    """Without the key no arrangement of tags proves anything."""
    verdict = asyncio.run(_judge(b"From: ops@example.com\r\n" + soup + b"\r\n\r\n" + BODY))

    assert verdict.standing is not Standing.AUTHENTICATED


@settings(max_examples=200, deadline=2000)
@given(st.text(max_size=60), st.text(max_size=60), st.text(max_size=60), st.text(max_size=200))
def test_any_trace_and_record_get_a_verdict(client: str, helo: str, mail_from: str, record: str) -> None:
    """What strangers say in SMTP and in their zones is as hostile as their mail."""
    text = record.encode("ascii", "replace").decode()
    zones = Zones({"example.com": {"TXT": [f"v=spf1 {text}"]}, "_dmarc.example.com": {"TXT": [f"v=DMARC1; {text}"]}})

    for trace in (Trace(client, helo, mail_from), Trace("192.0.2.1", helo, f"{mail_from}@example.com")):
        verdict = asyncio.run(authenticate(MAIL, trace, zones, now=NOW, patience=5))

        assert len([each for each in verdict.findings if each.method is Method.SPF]) == 1


def _long_chain() -> bytes:
    field = b"ARC-Seal: i=%d; a=rsa-sha256; cv=pass; d=example.com; s=s1; b=AAAA\r\n"
    return b"".join(field % number for number in range(1, 51)) + SIGNED


@pytest.mark.parametrize(
    "raw",
    [
        HEADER + b"\r\n\r\n" + b" " * (25 * MEBIBYTE),
        HEADER + b"\r\n\r\n" + b"\r\n" * (12 * MEBIBYTE),
        HEADER + b"\r\n\r\n" + b"\r\n" * (12 * MEBIBYTE) + b"x",
        HEADER + b"\r\n\r\n" + b"a \t" * (8 * MEBIBYTE),
        HEADER + b"\r\n\r\n" + b"\r" * (25 * MEBIBYTE) + b"\r\n",
        SIGNED * 200,
        b"DKIM-Signature: v=1; b=" + b"\r\n " * 300_000 + b"\r\n" + SIGNED,
        b"DKIM-Signature: v=1; a=rsa-sha256; d=example.com; s=s1; h=from; bh=AA; b=A\r\n" * 10_000 + SIGNED,
        b"X: y\r\n" * 100_000 + SIGNED,
        b"X: " + b" \t" * 400_000 + b"\r\n" + SIGNED,
        b"DKIM-Signature: h=" + b"from:" * 1500 + b"\r\n" + b"X: y\r\n" * 1900 + SIGNED,
        b"Authentication-Results: " + b"(" * 900_000 + b"\r\n" + SIGNED,
        _long_chain(),
    ],
    ids=[
        "blanks",
        "empty lines",
        "empty lines and x",
        "blanks between",
        "CR",
        "many mails",
        "blanks in b=",
        "signatures",
        "fields",
        "blanks in a field",
        "h=",
        "comments",
        "chain",
    ],
)
async def test_the_time_is_bounded_by_the_size(raw: bytes) -> None:
    """The readers of mail have taken quadratic time over blanks and hours over keys; the largest mail takes seconds."""
    start = time.process_time()

    verdict = await _judge(without_forged(raw, "clarion.example"))

    assert verdict.findings
    assert time.process_time() - start < 10


async def test_a_body_that_is_too_large_is_not_read() -> None:
    """The intake takes 25 MiB; whatever came by another way costs no more."""
    verdict = await _judge(HEADER + b"\r\n\r\n" + b"x" * (26 * MEBIBYTE))

    assert [each.result for each in verdict.findings if each.method is Method.DKIM] == [Result.POLICY]
