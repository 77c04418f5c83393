"""The verdict on relayed mail: who is proven, who is unknown, who is refused, and when to ask again."""

import asyncio

import pytest

from serving.authentication.mail_finding import Method, Result
from serving.authentication.mail_sender import sender_domain
from serving.authentication.relayed import Standing, authenticate, settled
from serving.errors import Temporary
from serving.pipeline import Authenticated, Forged, Unverified
from serving.trace import Trace
from tests.unit.zones import ED25519, MAIL, NOW, REJECT, RSA, Zones, judge, mail_from, result, trace


@pytest.mark.parametrize(
    ("sender", "envelope", "tags", "is_aligned"),
    [
        ("example.com", "example.com", "", True),
        ("example.com", "child.example.com", "", True),
        ("example.com", "example.net", "", False),
        ("child.example.com", "example.com", "", True),
        ("example.com", "example.com", "; aspf=s", True),
        ("example.com", "child.example.com", "; aspf=s", False),
        ("example.com", "child.example.com", "; adkim=s", True),
    ],
)
async def test_spf_alignment(sender: str, envelope: str, tags: str, is_aligned: bool) -> None:
    """RFC 7489 appendix B.1.1, with aspf= beside: the domain of MAIL FROM speaks for From, or does not."""
    policy = {"_dmarc.example.com": {"TXT": [f"v=DMARC1; p=reject{tags}"]}}

    verdict = await judge(mail_from(sender), trace(envelope), policy)

    assert result(verdict, Method.SPF) is Result.PASS
    assert result(verdict, Method.DMARC) is (Result.PASS if is_aligned else Result.FAIL)
    assert verdict.standing is (Standing.AUTHENTICATED if is_aligned else Standing.FAILED)


@pytest.mark.parametrize(
    ("sender", "signer", "tags", "is_aligned"),
    [
        ("example.com", "example.com", "", True),
        ("child.example.com", "example.com", "", True),
        ("example.com", "child.example.com", "", True),
        ("child.example.com", "deep.child.example.com", "", True),
        ("example.com", "example.net", "", False),
        ("example.com", "example.com", "; adkim=s", True),
        ("child.example.com", "example.com", "; adkim=s", False),
        ("child.example.com", "example.com", "; aspf=s", True),
    ],
)
async def test_dkim_alignment(sender: str, signer: str, tags: str, is_aligned: bool) -> None:
    """RFC 7489 appendix B.1.2, with adkim= beside: the domain that signed speaks for From, or does not."""
    policy = {"_dmarc.example.com": {"TXT": [f"v=DMARC1; p=reject{tags}"]}}

    verdict = await judge(RSA.sign(mail_from(sender), signer), trace(), policy)

    assert result(verdict, Method.DKIM) is Result.PASS
    assert verdict.standing is (Standing.AUTHENTICATED if is_aligned else Standing.FAILED)
    assert [each.is_aligned for each in verdict.findings if each.method is Method.DKIM] == [is_aligned]


@pytest.mark.parametrize(
    ("record", "standing"),
    [
        ("v=DMARC1; p=reject", Standing.FAILED),
        ("v=DMARC1;p=reject;", Standing.FAILED),
        ("v=DMARC1; p=REJECT; rua=mailto:x@example.com", Standing.FAILED),
        ("v=DMARC1; p=none; sp=reject", Standing.UNKNOWN),
        ("v=DMARC1; p=reject; sp=none", Standing.FAILED),
        ("v=DMARC1; p=quarantine", Standing.UNKNOWN),
        ("v=DMARC1; p=none", Standing.UNKNOWN),
        ("v=DMARC1; p=reject; t=y", Standing.UNKNOWN),
        ("v=DMARC1; p=reject; pct=50", Standing.UNKNOWN),
        ("v=DMARC1; p=reject; pct=100", Standing.FAILED),
        ("v=DMARC1; p=oops", Standing.UNKNOWN),
        ("v=DMARC1", Standing.UNKNOWN),
        ("v=DMARC2; p=reject", Standing.UNKNOWN),
        ("p=reject; v=DMARC1", Standing.UNKNOWN),
        ("v=DMARC1; p=reject; ;;==;\udcff", Standing.FAILED),
    ],
)
async def test_only_a_domain_that_asks_to_reject_makes_mail_fail(record: str, standing: Standing) -> None:
    """Quarantine and tests of one's own policy leave the mail to the digest: rejecting it would lose honest mail."""
    verdict = await judge(MAIL, trace(), {"_dmarc.example.com": {"TXT": [record]}})

    assert verdict.standing is standing


async def test_what_came_in_an_unknown_way_does_not_fail() -> None:
    """Mail posted over HTTP has no SPF; its domain may well have sent it, so it is only kept from being urgent."""
    verdict = await judge(MAIL, Trace(), REJECT)

    assert verdict.standing is Standing.UNKNOWN
    assert not verdict.is_temporary


async def test_two_records_are_none() -> None:
    """RFC 9989 section 4.10: nobody can tell which of the two was meant."""
    verdict = await judge(MAIL, trace(), {"_dmarc.example.com": {"TXT": ["v=DMARC1; p=reject", "v=DMARC1; p=none"]}})

    assert result(verdict, Method.DMARC) is Result.NONE


@pytest.mark.parametrize(
    ("record", "exists", "standing"),
    [
        ("v=DMARC1; p=none; sp=reject", True, Standing.FAILED),
        ("v=DMARC1; p=reject; sp=none", True, Standing.UNKNOWN),
        ("v=DMARC1; p=reject", True, Standing.FAILED),
        ("v=DMARC1; p=none; np=reject", True, Standing.UNKNOWN),
        ("v=DMARC1; p=none; np=reject", False, Standing.FAILED),
    ],
)
async def test_domains_below_have_a_policy_of_their_own(record: str, exists: bool, standing: Standing) -> None:
    """sp= is for what lies below, np= for what was invented below (RFC 9989 section 4.7)."""
    sender = "child.example.com" if exists else "invented.example.com"

    verdict = await judge(mail_from(sender), trace(), {"_dmarc.example.com": {"TXT": [record]}})

    assert verdict.standing is standing


@pytest.mark.parametrize(
    ("sender", "signer"), [("shop.co.example", "bank.co.example"), ("co.example", "bank.co.example")]
)
async def test_domains_under_one_public_suffix_do_not_speak_for_each_other(sender: str, signer: str) -> None:
    """The registry says psd=y; otherwise each customer of a registry could write as all the others."""
    registry = {"_dmarc.co.example": {"TXT": ["v=DMARC1; p=reject; psd=y"]}}

    verdict = await judge(RSA.sign(mail_from(sender), signer), trace(), registry)

    assert verdict.standing is Standing.FAILED


async def test_a_long_name_costs_few_questions() -> None:
    """A From of a hundred labels must not cost a hundred look-ups (RFC 9989 section 4.10)."""
    zones = Zones({})

    await authenticate(mail_from("a." * 100 + "example"), Trace(), zones, now=NOW)

    assert len([name for name, _ in zones.asked if name.startswith("_dmarc.")]) == 8


@pytest.mark.parametrize(
    ("raw", "came", "outcome"),
    [
        (RSA.sign(MAIL, "example.com"), Trace(), Authenticated("dkim")),
        (MAIL, trace("example.com"), Authenticated("spf")),
        (RSA.sign(MAIL, "example.com"), trace("example.com"), Authenticated("dkim")),
        (RSA.sign(MAIL, "child.example.com"), trace("child.example.com"), Unverified("nothing proves the From domain")),
        (MAIL, Trace(), Unverified("nothing proves the From domain")),
    ],
)
async def test_without_a_policy_only_the_very_same_domain_is_proof(
    raw: bytes, came: Trace, outcome: Authenticated | Unverified
) -> None:
    """Where nobody says which domains belong together, none do."""
    assert settled(await judge(raw, came)) == outcome


async def test_the_verdict_becomes_the_pipelines_outcome() -> None:
    """The stage knows three outcomes and nothing of mail authentication."""
    quarantine = {"_dmarc.example.com": {"TXT": ["v=DMARC1; p=quarantine"]}}

    assert settled(await judge(RSA.sign(MAIL, "example.com"), Trace(), REJECT)) == Authenticated("dmarc")
    assert isinstance(settled(await judge(MAIL, trace(), REJECT)), Forged)
    assert isinstance(settled(await judge(MAIL, trace(), quarantine)), Unverified)


@pytest.mark.parametrize("failing", ["_dmarc.example.com", "s1._domainkey.example.com", "example.com"])
async def test_a_dns_that_fails_is_asked_again_and_then_left(failing: str) -> None:
    """A time-out is neither proof nor forgery: retried, and when there is no more time, to the digest."""
    raw = RSA.sign(MAIL, "example.com") if "_" in failing else MAIL
    verdict = await judge(
        raw, trace("example.com"), REJECT, failing=[failing, "s1._domainkey.example.com", "example.com"]
    )

    with pytest.raises(Temporary):
        settled(verdict)
    assert isinstance(settled(verdict, is_last=True), Unverified)


async def test_a_strangers_dns_that_fails_delays_nothing() -> None:
    """Otherwise a forger would only need a broken zone of his own to be looked at for ever."""
    raw = RSA.sign(MAIL, "example.net")

    verdict = await judge(raw, trace(), REJECT, failing=["s1._domainkey.example.net", "example.net"])

    assert (verdict.standing, verdict.is_temporary) == (Standing.FAILED, False)


async def test_a_proof_whose_kinship_the_dns_does_not_tell_is_waited_for() -> None:
    """The signature is right; whether its domain belongs to From's is asked of the DNS too."""
    raw = RSA.sign(MAIL, "child.example.com")

    verdict = await judge(raw, Trace(), REJECT, failing=["_dmarc.child.example.com"])

    assert (verdict.standing, verdict.is_temporary) == (Standing.UNKNOWN, True)


async def test_one_proof_is_enough_where_the_other_is_not_to_be_had() -> None:
    """SPF that times out does not matter beside a signature that verifies."""
    verdict = await judge(RSA.sign(MAIL, "example.com"), trace("example.com"), REJECT, failing=["example.com"])

    assert result(verdict, Method.SPF) is Result.TEMPERROR
    assert verdict.standing is Standing.AUTHENTICATED


async def test_the_time_for_a_verdict_is_bounded() -> None:
    """A name server that never answers must not hold the stage."""
    silent = ["_dmarc.example.com", "s1._domainkey.example.com", "example.com"]
    zones = Zones({}, silent=silent)
    start = asyncio.get_running_loop().time()

    verdict = await authenticate(RSA.sign(MAIL, "example.com"), trace("example.com"), zones, now=NOW, patience=0.2)

    assert verdict.is_temporary
    assert asyncio.get_running_loop().time() - start < 2


@pytest.mark.parametrize(
    "raw",
    [
        MAIL.replace(b"ops@example.com", b"ops@example.com, eve@evil.example"),
        b"From: eve@evil.example\r\n" + MAIL,
        b"".join(b"From: x%d@example.com\r\n" % n for n in range(5000)) + b"\r\n",
        b"Subject: none\r\n\r\nFrom: ops@example.com\r\n",
        b"",
    ],
    ids=["two addresses", "two From", "5,000 From", "none", "empty"],
)
async def test_a_mail_without_one_sender_is_unknown(raw: bytes) -> None:
    """The same reading of From as for API keys: where two programs could show two senders, nobody is authenticated."""
    verdict = await judge(
        RSA.sign(raw, "example.com") if raw.startswith(b"From: eve") else raw, trace("example.com"), REJECT
    )

    assert isinstance(sender_domain(raw), Unverified)
    assert verdict.standing is Standing.UNKNOWN
    assert result(verdict, Method.DMARC) is Result.PERMERROR


async def test_ed25519_authenticates_through_the_whole_way() -> None:
    """RFC 8463 beside RSA."""
    raw = ED25519.sign(MAIL, "example.com", selector="e1")

    assert (await judge(raw, Trace(), REJECT, ED25519.key("example.com", "e1"))).standing is Standing.AUTHENTICATED
