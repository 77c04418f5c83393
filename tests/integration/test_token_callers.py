"""A sender that comes with an issuer's tokens: from the front door to the store, and never into another's mail."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from serving.enrolment import Registrar
from serving.gateway.api import Api, Keys
from serving.gateway.app import application
from serving.gateway.callers import Callers
from serving.gateway.limits import FAILURES
from serving.queue.client import Client
from serving.settings import Settings
from tests.integration.issuers import AUDIENCE, NOW, Issuer
from tests.unit.gateways import CONTENT, LOOKUP, NOTICE, Clock, is_refusal

CHALLENGE = 'Bearer error="invalid_token"'


@dataclass
class Gateway:
    """The public API over a real broker, set up as the settings of an operator say."""

    client: Client
    issuer: Issuer
    http: httpx.AsyncClient
    keys: dict[str, str] = field(default_factory=dict)

    async def ask(self, bearer: str, path: str, **json: Any) -> httpx.Response:
        method = "POST" if json else "GET"
        return await self.http.request(method, path, json=json or None, headers={"Authorization": f"Bearer {bearer}"})

    def bearer(self, who: str) -> str:
        return self.keys.get(who) or self.issuer.token(sub=who)


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    running = Issuer()
    yield running
    running.stop()


@pytest.fixture
async def gateway(client: Client, issuer: Issuer) -> AsyncIterator[Gateway]:
    """Two senders known by their subjects, `one` and `two`, and two by API keys, `three` and `four`."""
    clock = Clock()
    clock.now = NOW
    callers = Callers(Settings(oidc_issuer=issuer.url, oidc_audience=AUDIENCE))
    assert callers.tokens is not None
    callers.tokens._clock = clock
    registrar = Registrar(client, CONTENT.sealing_key, LOOKUP)
    app = application()
    app.state.api = Api(
        client,
        Keys(CONTENT.sealing_key, LOOKUP),
        _judge,
        limit=20_000,
        domain="clarion.invalid",
        clock=clock,
        tokens=callers.tokens,
        limits=callers.limits,
    )
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://clarion") as http:
        made = Gateway(client, issuer, http)
        for name in ("one", "two"):
            await registrar.token_principal(name, name, [f"{name}.example"], {}, f"{issuer.url} {name}")
        for name in ("three", "four"):
            made.keys[name] = await registrar.principal(name, name, [f"{name}.example"], {})
        yield made
        await app.state.api.uses.write()
    await callers.close()


async def _judge(*_: Any) -> Any:
    raise AssertionError("nothing is classified here")


async def test_a_token_sends_mail_as_the_sender_that_its_subject_is(gateway: Gateway) -> None:
    """And what the sender is known by tells when it was last used, once somebody has written that down."""
    sent = await gateway.ask(gateway.bearer("one"), "/notify", **NOTICE)
    (notification,) = sent.json()["notifications"]
    found = await gateway.ask(gateway.bearer("one"), f"/notifications/{notification['id']}")
    await gateway.http._transport.app.state.api.uses.write()  # type: ignore[attr-defined]
    used = {row["id"]: row["used_at"] for row in await gateway.client.query("principals")}

    assert (sent.status_code, found.status_code) == (202, 200)
    assert sent.headers["RateLimit-Policy"] == '"requests";q=5000;w=50'
    assert used == {"one": NOW, "two": None, "three": None, "four": None}


@pytest.mark.parametrize(("owner", "other"), [("one", "two"), ("one", "three"), ("three", "four"), ("three", "one")])
async def test_another_sender_s_mail_is_as_unknown_as_none_by_token_and_by_key(
    gateway: Gateway, owner: str, other: str
) -> None:
    """Whether an id exists is nobody else's business, however one says who one is."""
    sent = await gateway.ask(gateway.bearer(owner), "/notify", **NOTICE)
    id_ = sent.json()["notifications"][0]["id"]
    seen = await gateway.ask(gateway.bearer(other), f"/notifications/{id_}")
    told = await gateway.ask(gateway.bearer(other), f"/notifications/{id_}/feedback", kind="acknowledged")
    none = await gateway.ask(gateway.bearer(other), "/notifications/0000000000034")
    own = await gateway.ask(gateway.bearer(owner), f"/notifications/{id_}")

    assert is_refusal(seen, 404, "not_found")
    assert is_refusal(told, 404, "not_found")
    assert seen.json() == told.json() == none.json()
    assert [event["kind"] for event in own.json()["history"]] == ["accepted"]


@pytest.mark.parametrize("who", ["two", "four"])
async def test_a_statement_is_the_caller_s_own_whatever_is_asked(gateway: Gateway, who: str) -> None:
    """What another sender paid is its own affair."""
    postings = [{"account": "clearing:test", "amount": -5}, {"account": "wallet:sender:one", "amount": 5}]
    transfer = {"key": "t", "postings": postings, "currency": "EUR"}
    await gateway.client.execute("open_intent", key="t", verb="charge", notification=None, payload={})
    await gateway.client.execute("close_intent", key="t", state="done", outcome={}, transfer=transfer)
    own = await gateway.ask(gateway.bearer("one"), "/statement")
    theirs = await gateway.ask(gateway.bearer(who), "/statement?account=wallet:sender:one&principal=one")

    assert [line["amount"] for line in own.json()["lines"]] == [5]
    assert theirs.json() == {"lines": []}


@pytest.mark.parametrize(
    ("claims", "said"),
    [
        ({"sub": "nobody"}, "no sender is known"),
        ({"exp": NOW - 61}, "expired"),
        ({"aud": "other"}, "audience"),
        ({"sub": 7}, "no subject"),
    ],
)
async def test_a_refused_token_is_a_401_that_says_what_to_do(
    gateway: Gateway, claims: dict[str, Any], said: str
) -> None:
    """RFC 6750 section 3, for the client's library; the hint for its author; nothing of the token in either."""
    token = gateway.issuer.token(**claims)
    refused = await gateway.ask(token, "/notify", **NOTICE)

    assert is_refusal(refused, 401, "unauthorized")
    assert refused.headers["WWW-Authenticate"] == CHALLENGE
    assert said in refused.json()["detail"]
    assert token not in refused.text
    assert "nobody" not in refused.text


@pytest.mark.parametrize("bearer", ["x" * (1 << 20), "e30.e30.", "clk_x"])
async def test_what_is_no_token_is_a_401_too(gateway: Gateway, bearer: str) -> None:
    """A megabyte, `alg` missing, half a key: never a 500."""
    refused = await gateway.ask(bearer, "/statement")

    assert is_refusal(refused, 401, "unauthorized")
    assert refused.headers["WWW-Authenticate"] == CHALLENGE


async def test_a_revoked_sender_s_token_is_refused_and_the_subject_is_free(gateway: Gateway) -> None:
    """A token lives on at its issuer; here it opens nothing any more."""
    await gateway.client.execute("revoke_principal", id="one")
    refused = await gateway.ask(gateway.bearer("one"), "/statement")

    assert is_refusal(refused, 401, "unauthorized")
    assert "revoked" in refused.json()["detail"]


async def test_an_issuer_that_is_away_is_a_503_for_tokens_and_nothing_for_keys(gateway: Gateway) -> None:
    """Nobody's token is wrong because of it, no address is locked, and API keys do not need it."""
    gateway.issuer.stop()
    for _ in range(2 * FAILURES):
        away = await gateway.ask(gateway.bearer("one"), "/statement")
        assert is_refusal(away, 503, "issuer_unavailable")

    assert away.headers["Retry-After"] == "5"
    assert (await gateway.ask(gateway.bearer("three"), "/statement")).status_code == 200


async def test_a_valid_token_passes_while_its_address_is_locked(gateway: Gateway) -> None:
    """As a valid key does."""
    for _ in range(FAILURES):
        await gateway.ask(gateway.issuer.unsigned(), "/statement")

    assert is_refusal(await gateway.ask(gateway.issuer.unsigned(), "/statement"), 429, "locked")
    assert (await gateway.ask(gateway.bearer("one"), "/statement")).status_code == 200
