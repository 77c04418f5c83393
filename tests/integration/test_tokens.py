"""Bearer tokens of a real issuer on this machine: which are taken, which are refused, and what its absence does."""

import gzip
import json
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from joserfc.jwk import OctKey, RSAKey

from serving.authentication.issuer import FRESH, LARGEST_DOCUMENT, MOST_KEYS, PAUSE, RETRY, IssuerKeys, read_keys
from serving.authentication.tokens import ALGORITHMS, LONGEST_TOKEN, SKEW, Tokens
from serving.errors import InvalidToken, IssuerAway
from tests.integration.issuers import AUDIENCE, DISCOVERY, JWKS, KEYS, NOW, Issuer
from tests.unit.gateways import Clock

DAY = 86_400
GOOD = KEYS["ES256"].as_dict(private=False)


def weak() -> dict[str, str]:
    """A key of 1,024 bits."""
    modulus = rsa.generate_private_key(65_537, 1_024).public_key().public_numbers().n
    return {"kty": "RSA", "n": urlsafe_b64encode(modulus.to_bytes(128)).rstrip(b"=").decode(), "e": "AQAB"}


class Reader:
    """Tokens as the gateway reads them, at a time that the test sets."""

    def __init__(self, issuer: Issuer, jwks: str = "") -> None:
        self.clock, self.monotonic = Clock(), Clock()
        self.clock.now = NOW
        self.keys = IssuerKeys(issuer.url, jwks, self.monotonic)
        self.subject = Tokens(self.keys, issuer.url, AUDIENCE, self.clock).subject

    async def refusal(self, token: str) -> str:
        with pytest.raises(InvalidToken) as invalid:
            await self.subject(token)
        assert invalid.value.hint
        return str(invalid.value)


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    running = Issuer()
    yield running
    running.stop()


@pytest.fixture
async def reader(issuer: Issuer) -> AsyncIterator[Reader]:
    made = Reader(issuer)
    yield made
    await made.keys.close()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_a_token_that_the_issuer_signed_names_its_subject(issuer: Issuer, reader: Reader, algorithm: str) -> None:
    """By every algorithm of the list, with the keys fetched once."""
    for sub in ("4711", "another"):
        assert await reader.subject(issuer.token(algorithm, sub=sub)) == f"{issuer.url} {sub}"

    assert issuer.asked == {DISCOVERY: 1, JWKS: 1}


async def test_a_token_may_be_for_several_audiences_and_have_headers_of_its_own(issuer: Issuer, reader: Reader) -> None:
    """Issuers differ; what is not critical is not ours to judge (RFC 7515 section 4)."""
    token = issuer.token(header={"nonce": "x", "x5t": "AA"}, aud=["https://other.example", AUDIENCE], scope="notify")

    assert await reader.subject(token) == f"{issuer.url} 4711"


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": NOW - SKEW + 1},
        {"nbf": NOW + SKEW, "iat": NOW + SKEW},
        {"nbf": None},
        {"exp": NOW + 0.5},
        {"iat": NOW - 10 * DAY},
    ],
)
async def test_clocks_may_differ_by_a_minute(issuer: Issuer, reader: Reader, claims: dict[str, Any]) -> None:
    """Two machines never agree on the time."""
    assert await reader.subject(issuer.token(**claims))


@pytest.mark.parametrize(
    ("claims", "said"),
    [
        ({"exp": NOW - SKEW}, "expired"),
        ({"exp": NOW - DAY, "iat": NOW - 2 * DAY}, "expired"),
        ({"nbf": NOW + DAY, "iat": NOW + DAY, "exp": NOW + 2 * DAY}, "not valid yet|in the future"),
        ({"nbf": NOW + SKEW + 1}, "not valid yet"),
        ({"iat": NOW + SKEW + 1}, "in the future"),
        ({"aud": "https://other.example"}, "another audience"),
        ({"aud": ["https://other.example"]}, "another audience"),
        ({"aud": {"https://clarion.example": 1}}, "another audience"),
        ({"iss": "https://other.example"}, "another issuer"),
        ({"iss": ["https://other.example"]}, "another issuer"),
        *(({name: None}, f"lacks a claim: {name}") for name in ("iss", "aud", "sub", "exp", "iat")),
        ({"exp": "tomorrow"}, "does not say when it ends"),
        ({"exp": float("nan")}, "does not say when it ends"),
        ({"exp": True}, "does not say when it ends"),
        ({"nbf": float("inf")}, "not valid yet"),
        ({"sub": 4711}, "no subject"),
        ({"sub": ""}, "no subject"),
        ({"sub": "x" * 256}, "no subject"),
        ({"sub": "a\0b"}, "no subject"),
        ({"sub": "Ünal"}, "no subject"),
        ({"sub": " 4711"}, "no subject"),
    ],
)
async def test_a_token_that_does_not_say_what_it_must_is_refused(
    issuer: Issuer, reader: Reader, claims: dict[str, Any], said: str
) -> None:
    """Signed is not enough: it must be ours, and now, and somebody's."""
    with pytest.raises(InvalidToken, match=said):
        await reader.subject(issuer.token(**claims))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda issuer: issuer.unsigned(), "not signed by an algorithm of ours"),
        (lambda issuer: issuer.unsigned("NONE"), "not signed by an algorithm of ours"),
        (lambda issuer: issuer.unsigned("RS256"), "signature is wrong"),
        (lambda issuer: issuer.hmac(), "not signed by an algorithm of ours"),
        (lambda issuer: issuer.token(header={"alg": "RS512"}), "not signed by an algorithm of ours"),
        (lambda issuer: issuer.token(header={"alg": ["RS256"]}), "not signed by an algorithm of ours|neither"),
        (lambda issuer: issuer.token(header={"alg": "PS256"}), "signature is wrong"),
        (lambda issuer: issuer.token(header={"alg": "ES256"}), "no key of this name"),
        (lambda issuer: issuer.token("ES256", header={"kid": "rsa"}), "no key of this name"),
        (lambda issuer: issuer.token(header={"kid": 7}), "not signed by an algorithm of ours|neither"),
        (lambda issuer: issuer.token(header={"crit": ["exp"], "exp": 1}), "signature is wrong"),
        (lambda issuer: issuer.token(header={"b64": False, "crit": ["b64"]}), "signature is wrong|neither"),
        (lambda issuer: issuer.token(header={"jwk": OctKey.generate_key(256).as_dict()})[:-9], "signature is wrong"),
        (lambda issuer: issuer.token()[:-8] + "AAAAAAAA", "signature is wrong"),
        (lambda issuer: issuer.token().replace(".", ".e3A0", 1), "signature is wrong"),
        (lambda _: "a.b.c", "neither an API key nor a signed token"),
        (lambda _: "ey.ey.ey.ey.ey", "neither an API key nor a signed token"),
        (lambda _: "W1tbWw" * 900 + ".e30.AA", "neither an API key nor a signed token"),
        (lambda _: "é.é.é", "neither an API key nor a signed token"),
        (lambda _: "..", "neither an API key nor a signed token"),
    ],
)
async def test_a_token_that_the_issuer_did_not_sign_so_is_refused(
    issuer: Issuer, reader: Reader, make: Callable[[Issuer], str], said: str
) -> None:
    """`none`, a public key as a secret, a key for another algorithm, critical headers, noise: each a clear outcome."""
    with pytest.raises(InvalidToken, match=said):
        await reader.subject(make(issuer))


async def test_a_token_of_a_megabyte_is_refused_before_it_is_read(issuer: Issuer, reader: Reader) -> None:
    """It is the cheapest way to keep a server busy; a signed one is refused too, and nobody is asked for keys."""
    assert "over 16384 octets" in await reader.refusal("x" * (1 << 20))
    assert "over 16384 octets" in await reader.refusal(issuer.token(padding="x" * LONGEST_TOKEN))
    assert not issuer.asked


async def test_a_new_key_is_fetched_and_unknown_ones_at_most_once_a_minute(issuer: Issuer, reader: Reader) -> None:
    """Issuers change keys without telling; whoever invents key names must not make us flood the issuer."""
    await reader.subject(issuer.token())
    for _ in range(5):
        assert "no key of this name" in await reader.refusal(issuer.token(header={"kid": "invented"}))
    before = issuer.asked[JWKS]
    issuer.keys["RS256"] = RSAKey.generate_key(2048, {"kid": "next"})
    issuer.publish()
    at_once = await reader.refusal(issuer.token())
    reader.monotonic.now += PAUSE
    later = await reader.subject(issuer.token())

    assert before == 1
    assert "no key of this name" in at_once
    assert later == f"{issuer.url} 4711"
    assert issuer.asked[JWKS] == 2


async def test_while_the_issuer_was_never_there_nobody_can_tell_and_then_all_is_well(
    issuer: Issuer, reader: Reader
) -> None:
    """That is an outage and no wrong token; when the issuer comes, nobody has to restart anything."""
    issuer.stop()
    for _ in range(3):
        with pytest.raises(IssuerAway):
            await reader.subject(issuer.token())
    issuer.start()
    reader.monotonic.now += RETRY

    assert await reader.subject(issuer.token())


async def test_the_keys_are_kept_while_the_issuer_is_away(issuer: Issuer, reader: Reader) -> None:
    """An issuer that is down for a day must not stop every alarm, nor make one wait for it."""
    await reader.subject(issuer.token())
    issuer.stop()
    for _ in range(3):
        reader.monotonic.now += FRESH + 1
        assert await reader.subject(issuer.token())
        assert reader.keys._refreshing is not None
        await reader.keys._refreshing

    assert "no key of this name" in await reader.refusal(issuer.token(header={"kid": "next"}))


async def test_a_withdrawn_key_is_forgotten_within_the_hour(issuer: Issuer, reader: Reader) -> None:
    """An issuer withdraws a key because somebody else has it."""
    token = issuer.token()
    await reader.subject(token)
    issuer.keys["RS256"] = RSAKey.generate_key(2048, {"kid": "next"})
    issuer.publish()
    reader.monotonic.now += FRESH + 1
    await reader.subject(token)
    assert reader.keys._refreshing is not None
    await reader.keys._refreshing

    assert "no key of this name" in await reader.refusal(token)


@pytest.mark.parametrize(
    ("path", "document", "status"),
    [
        (DISCOVERY, {"issuer": "https://other.example", "jwks_uri": "https://other.example/keys"}, 200),
        (DISCOVERY, {"jwks_uri": 7}, 200),
        (DISCOVERY, b"[" * 100_000, 200),
        (DISCOVERY, b"[]", 200),
        (DISCOVERY, {}, 404),
        (JWKS, {"keys": [GOOD], "padding": "x" * LARGEST_DOCUMENT}, 200),
        (JWKS, gzip.compress(json.dumps({"keys": [GOOD]}).encode()), 200),
        (JWKS, b"\xff", 200),
        (JWKS, {"keys": []}, 200),
        (JWKS, {"keys": {"kid": "rsa"}}, 200),
        (JWKS, {"keys": [7, None, {}, {"kty": "RSA", "n": "!", "e": "AQAB"}]}, 200),
        (JWKS, {"keys": [OctKey.generate_key(256).as_dict()]}, 200),
        (JWKS, {"keys": [weak()]}, 200),
        (JWKS, b"http://127.0.0.1:1/", 302),
    ],
)
@pytest.mark.filterwarnings("ignore:Key size")
async def test_an_issuer_that_publishes_no_usable_keys_is_as_if_it_were_away(
    issuer: Issuer, reader: Reader, path: str, document: object, status: int
) -> None:
    """Another's document, noise, too much of it, secrets, weak keys, a way elsewhere: none of it is a key."""
    issuer.say(path, document, status)

    with pytest.raises(IssuerAway):
        await reader.subject(issuer.token())


async def test_a_discovery_document_of_another_issuer_is_none(issuer: Issuer, reader: Reader) -> None:
    """OpenID Connect Discovery 1.0, section 4.3: its keys would sign for both."""
    issuer.publish(issuer="https://other.example")

    with pytest.raises(IssuerAway):
        await reader.subject(issuer.token())


async def test_keys_that_the_discovery_puts_on_an_open_line_are_not_fetched(issuer: Issuer, reader: Reader) -> None:
    """Whoever sits on that line would sign tokens for everybody."""
    issuer.publish(jwks_uri="http://login.example/keys")

    with pytest.raises(IssuerAway):
        await reader.subject(issuer.token())


async def test_the_keys_url_can_be_stated(issuer: Issuer) -> None:
    """Some issuers have no discovery document."""
    issuer.say(DISCOVERY, {}, 404)
    reader = Reader(issuer, f"{issuer.url}{JWKS}")
    found = await reader.subject(issuer.token())
    await reader.keys.close()

    assert found == f"{issuer.url} 4711"


async def test_a_token_without_a_key_s_name_needs_a_set_in_which_one_suits(issuer: Issuer, reader: Reader) -> None:
    """With two that suit, a guess would be a signature checked by chance."""
    token = issuer.token(header={"kid": None})
    alone = await reader.subject(token)
    issuer.keys["second"] = RSAKey.generate_key(2048, {"kid": "second"})
    issuer.publish()
    reader.monotonic.now += PAUSE
    await reader.refusal(issuer.token(header={"kid": "unknown"}))

    assert alone == f"{issuer.url} 4711"
    assert "no key of this name" in await reader.refusal(token)


def test_a_broken_key_costs_the_others_nothing_and_the_set_is_bounded() -> None:
    """RFC 7517 section 5: what is not understood is passed over."""
    broken = [{"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}, {"kty": "AKP"}, {**GOOD, "use": "enc"}]

    assert len(read_keys({"keys": [*broken, GOOD]})) == 1
    assert len(read_keys({"keys": [GOOD] * (2 * MOST_KEYS)})) == MOST_KEYS
