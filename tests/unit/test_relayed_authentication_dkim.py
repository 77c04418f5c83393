"""DKIM of relayed mail: what proves its domain, and everything that only looks as if it did."""

import base64
from collections.abc import Mapping
from dataclasses import replace
from random import Random

import dkim  # type: ignore[import-untyped]
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.authentication.mail_body import Body, canonical
from serving.authentication.mail_dkim import MOST_SIGNATURES, check_dkim
from serving.authentication.mail_finding import Finding, Method, Result
from serving.mail import split
from tests.unit.zones import ED25519, MAIL, NOW, RSA, Signer, Zones, rsa_signer

DINNER = """\
From: Joe SixPack <joe@football.example.com>
To: Suzie Q <suzie@shopping.example.net>
Subject: Is dinner ready?
Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)
Message-ID: <20030712040037.46341.5F8J@football.example.com>

Hi.

We lost the game. Are you hungry yet?

Joe.
"""
RFC_6376 = """\
DKIM-Signature: v=1; a=rsa-sha256; s=brisbane; d=example.com;
      c=simple/simple; q=dns/txt; i=joe@football.example.com;
      h=Received : From : To : Subject : Date : Message-ID;
      bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
      b=AuUoFEfDxTDkHlLXSZEpZj79LICEps6eda7W3deTVFOk4yAUoqOB
      4nujc7YopdG5dWLSdNg6xNAZpOPr+kHxt1IrE+NahM6L/LbvaHut
      KVdkLLkpVaVVQPzeRDI009SO2Il5Lu7rDNH6mZckBdrIx0orEtZV
      4bmp/YzhwvcubU4=;
Received: from client1.football.example.com  [192.0.2.1]
      by submitserver.example.com with SUBMISSION;
      Fri, 11 Jul 2003 21:01:54 -0700 (PDT)
"""
RFC_8463 = """\
DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;
 d=football.example.com; i=@football.example.com;
 q=dns/txt; s=brisbane; t=1528637909; h=from : to :
 subject : date : message-id : from : subject : date;
 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
 b=/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11Bus
 Fa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==
DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed;
 d=football.example.com; i=@football.example.com;
 q=dns/txt; s=test; t=1528637909; h=from : to : subject :
 date : message-id : from : subject : date;
 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
 b=F45dVWDfMbQDGHJFlXUNB2HKfbCeLRyhDXgFpEL8GwpsRe0IeIixNTe3
 DhCVlUrSjV4BwcVcOF6+FF3Zo9Rpo1tFOeS9mPYQTnGdaSGsgeefOsk2Jz
 dA+L10TeYt9BgDfQNZtKdN1WO//KgIqXP7OdEFE4LjFYNcUxZQ4FADY+8=
"""
RFC_KEYS = {
    "brisbane._domainkey.example.com": "v=DKIM1; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDwIRP/UC3SBsEmGqZ9ZJW3/DkMoGe"
    "LnQg1fWn7/zYtIxN2SnFCjxOCKG9v3b4jYfcTNh5ijSsq631uBItLa7od+v/RtdC2UzJ1lWT947qR+Rcac2gbto/NMqJ0fzfVjH4OuKhitdY9tf6mc"
    "wGjaNBcWToIMmPSPDdQPNUYckcQ2QIDAQAB",
    "brisbane._domainkey.football.example.com": "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=",
    "test._domainkey.football.example.com": "v=DKIM1; k=rsa; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6"
    "NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQiY/J16JYi0Qvx/byYzCNb3W91y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9"
    "PzoxZyVYLzBfO2EeC3Ip3G+2kryOTIKT+l/K4w3QIDAQAB",
}
KEYS = RSA.key("example.com") | ED25519.key("example.com", "e1")
STRANGER = rsa_signer(1024)
BARE = b"DKIM-Signature: v=1; a=rsa-sha256; d=example.com; s=s1; bh=AAAA; b=AAAA; h="


async def findings(raw: bytes, names: Mapping[str, Mapping[str, list[str]]] = KEYS) -> tuple[Finding, ...]:
    mail = split(raw)
    assert mail is not None
    return await check_dkim(mail.fields, Body(mail.body), "example.com", Zones(names), NOW)


async def finding(raw: bytes, names: Mapping[str, Mapping[str, list[str]]] = KEYS) -> Finding:
    (found,) = await findings(raw, names)
    return found


@pytest.mark.parametrize(
    ("fields", "domains"),
    [(RFC_6376, ["example.com"]), (RFC_8463, ["football.example.com"] * 2)],
    ids=["RFC 6376, appendix A", "RFC 8463, appendix A"],
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
async def test_the_rfcs_own_signed_mail_passes(fields: str, domains: list[str], end: str) -> None:
    """Published signatures under published keys: whoever verifies them reads the same standard as we do."""
    raw = (fields + DINNER).replace("\n", end).encode()

    found = await findings(raw, {name: {"TXT": [record]} for name, record in RFC_KEYS.items()})

    assert [(each.result, each.domain) for each in found] == [(Result.PASS, domain) for domain in domains]


@pytest.mark.parametrize("way", [b"simple", b"relaxed"])
@pytest.mark.parametrize(("signer", "selector"), [(RSA, "s1"), (ED25519, "e1")], ids=["RSA", "Ed25519"])
async def test_a_signature_passes_under_its_key(signer: Signer, selector: str, way: bytes) -> None:
    """Both algorithms and both canonicalizations are in use."""
    raw = signer.sign(MAIL, "example.com", selector=selector, canonicalize=(way, way))

    found = await finding(raw)
    assert replace(found, signed=()) == Finding(Method.DKIM, Result.PASS, "", "example.com", selector)
    assert {b"from", b"subject"} <= {*found.signed}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("signer", "selector"), [(RSA, "s1"), (ED25519, "e1")], ids=["RSA", "Ed25519"])
async def test_a_mail_altered_in_one_octet_does_not_pass(signer: Signer, selector: str, seed: int) -> None:
    """A proof that survives an altered octet proves nothing."""
    raw = signer.sign(MAIL, "example.com", selector=selector, canonicalize=(b"simple", b"simple"))
    random = Random(seed)  # noqa: S311 - replayable, not secret
    start, end = raw.index(b" b=") + 3, raw.index(b"\r\nFrom:") + 3  # b= cannot sign itself, nor the blanks in it
    places = random.sample([place for place in range(len(raw)) if not start <= place < end], 60)
    altered = [raw[:place] + bytes([raw[place] ^ random.randrange(1, 256)]) + raw[place + 1 :] for place in places]
    read = [each for each in altered if split(each)]

    assert len(read) > 30
    assert [each for each in read if any(found.result is Result.PASS for found in await findings(each))] == []


@pytest.mark.parametrize(
    ("raw", "result", "reason"),
    [
        (RSA.sign(MAIL, "example.com", length=True) + b"Pay here!\r\n", Result.POLICY, "l= does not cover the body"),
        (RSA.sign(MAIL, "example.com") + b"Pay here!\r\n", Result.FAIL, "the body was altered"),
        (RSA.sign(MAIL, "example.com").replace(b"Disk", b"Risk"), Result.FAIL, "the signature does not verify"),
        (b"From: eve@evil.example\r\n" + RSA.sign(MAIL, "example.com"), Result.PERMERROR, "not one From"),
        (replace(RSA, algorithm=b"rsa-sha1").sign(MAIL, "example.com"), Result.POLICY, "SHA-1 is no proof"),
        (RSA.sign(MAIL, "example.com", selector="none"), Result.PERMERROR, "no key for the signature"),
        (RSA.sign(MAIL, "example.com", selector="e1"), Result.FAIL, "the signature does not verify"),
        (b"DKIM-Signature: v=1; d=example.com\r\n" + MAIL, Result.NEUTRAL, "the signature lacks a tag"),
        (b"DKIM-Signature: \xff\xfe;;=\r\n" + MAIL, Result.NEUTRAL, "the signature cannot be read"),
        (b"DKIM-Signature: b=" + b"A" * 9000 + b"\r\n" + MAIL, Result.POLICY, "the signature is too long"),
        (b"DKIM-Signature: b=" + b"\r\n " * 200 + b"!\r\n" + MAIL, Result.POLICY, "the signature is too long"),
        (b"X: y\r\n" * 2001 + RSA.sign(MAIL, "example.com"), Result.POLICY, "the mail is too large"),
        (BARE + b"from:" * 200 + b"to\r\n" + MAIL, Result.POLICY, "the signature lists too many fields"),
        (BARE + b"from; c=nofws\r\n" + MAIL, Result.NEUTRAL, "the signature is of an unknown kind"),
        (BARE + b"from; q=http\r\n" + MAIL, Result.NEUTRAL, "the signature is of an unknown kind"),
        (BARE + b"from; l=x\r\n" + MAIL, Result.NEUTRAL, "the signature cannot be read"),
    ],
    ids=[
        "l=",
        "body",
        "header",
        "two From",
        "SHA-1",
        "no key",
        "other key",
        "tags",
        "bytes",
        "long",
        "space",
        "fields",
        "h=",
        "c=",
        "q=",
        "l=x",
    ],
)
async def test_what_proves_nothing_is_named(raw: bytes, result: Result, reason: str) -> None:
    """Each of these has let forged mail pass somewhere; the reason is what an operator looks for."""
    found = await finding(raw)

    assert (found.result, found.reason) == (result, reason)


async def test_l_that_covers_the_whole_body_proves_it() -> None:
    """l= is harmless where nothing was appended."""
    assert (await finding(RSA.sign(MAIL, "example.com", length=True))).result is Result.PASS


async def test_a_signature_that_leaves_out_from_proves_nothing() -> None:
    """dkimpy would let it pass, and From is the one field that a signature is for (RFC 6376 section 5.4)."""
    signer = dkim.DKIM(MAIL.replace(b"From:", b"Frob:"))
    header = signer.sign(b"s1", b"example.com", RSA.private, include_headers=[b"from", b"to"])

    found = await finding(header.replace(b"from : to", b"to") + MAIL)

    assert (found.result, found.reason) == (Result.PERMERROR, "From is not signed")


@pytest.mark.parametrize(("until", "result"), [(NOW - 600, Result.POLICY), (NOW + 600, Result.PASS)])
async def test_a_signature_counts_until_it_expires(until: float, result: Result) -> None:
    """A mail caught long ago must not be urgent today; the time is when we took it, however long it waits here."""
    raw = _with_tag(f"x={until:.0f}")

    assert (await finding(raw)).result is result


@pytest.mark.parametrize(
    ("tag", "record", "result"),
    [
        ("i=@sub.example.com", RSA.record, Result.PASS),
        ("i=@sub.example.com", f"{RSA.record}; t=s", Result.PERMERROR),
        ("i=@example.org", RSA.record, Result.PERMERROR),
        ("i=@evilexample.com", RSA.record, Result.PERMERROR),
    ],
)
async def test_the_identity_lies_in_the_signing_domain(tag: str, record: str, result: Result) -> None:
    """RFC 6376 section 6.1.1: otherwise one domain would sign for another."""
    assert (await finding(_with_tag(tag), {"s1._domainkey.example.com": {"TXT": [record]}})).result is result


def _with_tag(tag: str) -> bytes:
    """A mail whose signature has one more tag, signed by dkimpy's own arithmetic."""
    signer = dkim.DKIM(MAIL)
    signer.hasher = dkim.HASH_ALGORITHMS[b"rsa-sha256"]
    digest = base64.b64encode(Body(MAIL.partition(b"\r\n\r\n")[2]).digest(is_relaxed=True).digest)
    name, _, value = tag.encode().partition(b"=")
    fields = [(b"v", b"1"), (b"a", b"rsa-sha256"), (b"c", b"relaxed/relaxed"), (b"d", b"example.com"), (b"s", b"s1")]
    fields += [(name, value), (b"h", b"from:subject"), (b"bh", digest), (b"b", b"0" * 60)]
    policy = dkim.CanonicalizationPolicy.from_c_value(b"relaxed/relaxed")
    private = dkim.parse_pem_private_key(RSA.private)
    header: bytes = signer.gen_header(fields, [b"from", b"subject"], policy, b"DKIM-Signature", private)
    return b"DKIM-Signature:" + header + MAIL


async def test_strangers_signatures_on_top_do_not_hide_the_senders() -> None:
    """Whoever relays can add as many as he likes; only a few are looked at, the sender's first."""
    raw = RSA.sign(MAIL, "example.com")
    for _ in range(20):
        raw = STRANGER.sign(raw, "stranger.example")

    found = await findings(raw, KEYS | STRANGER.key("stranger.example"))

    assert (found[0].result, found[0].domain) == (Result.PASS, "example.com")
    assert len(found) == MOST_SIGNATURES + 1
    assert found[-1].result is Result.POLICY


async def test_a_key_that_the_dns_does_not_tell_is_a_temporary_error() -> None:
    """A time-out is no forgery: the mail is looked at again."""
    mail = split(RSA.sign(MAIL, "example.com"))
    assert mail is not None
    zones = Zones({}, failing=["s1._domainkey.example.com"])

    (found,) = await check_dkim(mail.fields, Body(mail.body), "example.com", zones, NOW)

    assert found.result is Result.TEMPERROR


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from([b" ", b"\t", b"\r\n", b"\r", b"a", b"bc", b"\xff"]), max_size=30))
def test_the_canonical_body_is_dkimpys(pieces: list[bytes]) -> None:
    """Ours takes linear time where dkimpy's takes quadratic; it must be the same body all the same."""
    body = b"".join(pieces) + b"\r\n"

    assert canonical(body, is_relaxed=False) == dkim.canonicalization.Simple.canonicalize_body(body)
    assert canonical(body, is_relaxed=True) == dkim.canonicalization.Relaxed.canonicalize_body(body)
