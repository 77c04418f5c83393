"""ARC of relayed mail: when a chain of relays saves a mail that one of them broke."""

import pytest

from serving.authentication.mail_finding import Method, Result
from serving.authentication.relayed import Standing
from tests.unit.zones import MAIL, REJECT, RELAY, RSA, Names, judge, result, trace


def forwarded(results: str = "dmarc=pass header.from=example.com", relay: str = RELAY) -> bytes:
    """A mail that a relay altered and sealed, saying what it found before."""
    altered = MAIL.replace(b"Disk full", b"[ops] Disk full")
    return RSA.seal(f"Authentication-Results: {relay}; {results}\r\n".encode() + altered, relay)


SEALERS: Names = RSA.key(RELAY) | RSA.key("evil.example")


async def test_a_trusted_relays_seal_saves_a_mail_that_it_broke() -> None:
    """Lists and forwarders break signatures; those that the operator trusts vouch for what they saw."""
    verdict = await judge(forwarded(), trace(), REJECT, SEALERS)

    assert (verdict.standing, verdict.reason) == (Standing.AUTHENTICATED, "arc")
    assert result(verdict, Method.DMARC) is Result.FAIL
    assert result(verdict, Method.ARC) is Result.PASS


@pytest.mark.parametrize(
    ("raw", "arc"),
    [
        (forwarded("dmarc=fail header.from=example.com"), Result.PASS),
        (forwarded("dmarc=pass header.from=example.org"), Result.PASS),
        (forwarded("spf=pass smtp.mailfrom=example.com"), Result.PASS),
        (forwarded(relay="evil.example"), Result.PASS),
        (forwarded().replace(b"db1", b"db2"), Result.FAIL),
        (forwarded().replace(b"dmarc=pass", b"dmarc=Pass"), Result.FAIL),
        (forwarded().replace(b"[ops]", b"[sec]"), Result.FAIL),
        (forwarded().replace(b"ARC-Seal: i=1", b"ARC-Seal: i=2"), Result.FAIL),
        (forwarded().replace(b"cv=none", b"cv=fail"), Result.FAIL),
        (forwarded().replace(b"ARC-Seal:", b"X-Seal:"), Result.FAIL),
        (b"ARC-Seal: i=1\r\n" + forwarded(), Result.FAIL),
        (b"ARC-Seal: i=1\r\n" * 5000 + MAIL, Result.POLICY),
        (MAIL, Result.NONE),
    ],
    ids=[
        "failed",
        "other From",
        "no DMARC",
        "stranger",
        "body",
        "results",
        "subject",
        "i=",
        "cv=",
        "hole",
        "two",
        "many",
        "none",
    ],
)
async def test_a_chain_that_does_not_vouch_saves_nothing(raw: bytes, arc: Result) -> None:
    """Anybody can seal; only an unbroken chain of trusted relays, about this From, counts."""
    verdict = await judge(raw, trace(), REJECT, SEALERS)

    assert verdict.standing is Standing.FAILED
    assert result(verdict, Method.ARC) is arc


@pytest.mark.parametrize(
    ("first", "second", "standing"),
    [
        (RELAY, RELAY, Standing.AUTHENTICATED),
        ("evil.example", RELAY, Standing.FAILED),
        (RELAY, "evil.example", Standing.FAILED),
    ],
)
async def test_every_relay_of_a_chain_must_be_trusted(first: str, second: str, standing: Standing) -> None:
    """An honest relay passes on, truthfully, what a liar before it said."""
    passed_on = f"Authentication-Results: {second}; arc=pass\r\n".encode() + forwarded(relay=first)

    verdict = await judge(RSA.seal(passed_on, second), trace(), REJECT, SEALERS)

    assert result(verdict, Method.ARC) is Result.PASS
    assert verdict.standing is standing


@pytest.mark.parametrize(("relay", "is_temporary"), [(RELAY, True), ("evil.example", False)])
async def test_only_a_trusted_relays_dns_is_waited_for(relay: str, is_temporary: bool) -> None:
    """A forger's chain with a broken zone must not delay the refusal."""
    verdict = await judge(forwarded(relay=relay), trace(), REJECT, failing=[f"s1._domainkey.{relay}"])

    assert verdict.is_temporary is is_temporary
