"""TLS on the way out: taken where it is offered, demanded and verified where the set-up or the domain says so."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session

from serving.delivery.connections import Connections
from serving.delivery.exchangers import Exchangers
from serving.delivery.names import Exchanger
from serving.delivery.parcel import Parcel
from serving.delivery.routes import Login, Security, Server, Smarthost
from serving.delivery.tls import contexts
from serving.delivery.transaction import Failure, send
from serving.errors import ConfigurationError, Temporary
from serving.values import Receipt
from tests.integration.authorities import Authority, serving

PARCEL = Parcel("", "bob@receiver.example", "<7@clarion.invalid>", b"Subject: x\r\n\r\nx\r\n")
MX = "mx.receiver.example"


@dataclass
class Receiver:
    """Notes whether each mail came over TLS, and from whom; and what passwords it was told."""

    kept: list[tuple[bool, str | None]] = field(default_factory=list)
    told: list[bytes] = field(default_factory=list)

    async def handle_DATA(self, _: SMTP, session: Session, envelope: Envelope) -> str:
        self.kept.append((session.ssl is not None, envelope.mail_from))
        return "250 ok"

    def authenticate(self, _: SMTP, __: Session, ___: Envelope, ____: str, data: Any) -> AuthResult:
        self.told.append(data.password)
        return AuthResult(success=data.password == b"sesame", handled=False)


@pytest.fixture
def receiver() -> Receiver:
    return Receiver()


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@asynccontextmanager
async def listening(receiver: Receiver, context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A server on a free port that offers STARTTLS where it has a context."""
    loop = asyncio.get_running_loop()
    servers: list[SMTP] = []

    def session() -> SMTP:
        options: dict[str, Any] = {"authenticator": receiver.authenticate, "auth_require_tls": False}
        servers.append(SMTP(receiver, hostname="receiver.example", tls_context=context, loop=loop, **options))
        return servers[-1]

    server = await loop.create_server(session, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()
    for each in servers:
        if each.transport:
            each.transport.close()
    await asyncio.sleep(0)


async def deliver(*servers: Server, ca_file: Path | None = None) -> Receipt | Failure:
    async def before_data() -> None:
        pass

    connections = Connections("clarion.example", timeout=5.0, keep=1, tls=contexts(ca_file))
    ending = await send(partial(connections.borrow, servers), PARCEL, before_data=before_data, data_timeout=5.0)
    await connections.close()
    return ending


def certificate(authority: Authority, kind: str) -> Path:
    """Good ones name the MX."""
    make: Callable[..., Path] = {"nobody": authority.of_nobody, "expired": authority.expired}.get(kind, authority.good)
    return make("other.example" if kind == "another's" else MX)


@pytest.mark.parametrize("kind", ["good", "nobody", "expired", "another's"])
@pytest.mark.parametrize("security", list(Security))
async def test_a_bad_certificate_is_good_enough_only_where_nobody_is_asked_to_prove_a_name(
    receiver: Receiver, authority: Authority, security: Security, kind: str
) -> None:
    """Encrypted to somebody beats open to everybody (RFC 7435); required means verified for the MX's own name."""
    async with listening(receiver, serving(certificate(authority, kind))) as port:
        ending = await deliver(Server("127.0.0.1", port, MX, security), ca_file=authority.file)

    if security is Security.REQUIRED and kind != "good":
        assert isinstance(ending, Failure)
        assert (ending.permanent, ending.unreachable) == (False, True)
        assert receiver.kept == []
    else:
        assert isinstance(ending, Receipt)
        assert receiver.kept == [(security is not Security.PLAIN, "<>")]


async def test_an_authority_that_nobody_named_is_not_trusted(receiver: Receiver, authority: Authority) -> None:
    """CLARION_SMTP_CA_FILE is what makes a private authority's certificate good."""
    async with listening(receiver, serving(authority.good(MX))) as port:
        ending = await deliver(Server("127.0.0.1", port, MX, Security.REQUIRED))

    assert isinstance(ending, Failure)
    assert receiver.kept == []


async def test_where_tls_is_demanded_a_server_without_it_gets_no_mail(receiver: Receiver) -> None:
    """Somebody in the middle can strike STARTTLS from the offer; that must not open the mail."""
    async with listening(receiver) as port:
        ending = await deliver(Server("127.0.0.1", port, MX, Security.REQUIRED))

    assert isinstance(ending, Failure)
    assert not ending.permanent
    assert receiver.kept == []


async def test_a_server_that_fails_at_the_tls_it_offers_gets_the_mail_without_unless_it_is_required(
    receiver: Receiver,
) -> None:
    """Old servers offer what no client of today takes; opportunistic means not to lose mail to them."""
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)  # it has no certificate at all
    async with listening(receiver, old) as port:
        plain = await deliver(Server("127.0.0.1", port, MX))
        required = await deliver(Server("127.0.0.1", port, MX, Security.REQUIRED))

    assert isinstance(plain, Receipt)
    assert isinstance(required, Failure)
    assert receiver.kept == [(False, "<>")]


async def test_the_next_server_is_tried_where_the_first_cannot_prove_its_name(
    receiver: Receiver, authority: Authority
) -> None:
    """One broken MX of two must not hold the mail."""
    bad = listening(receiver, serving(authority.of_nobody(MX)))
    good = listening(receiver, serving(authority.good(f"2.{MX}")))
    async with bad as first, good as second:
        servers = (
            Server("127.0.0.1", first, MX, Security.REQUIRED),
            Server("127.0.0.1", second, f"2.{MX}", Security.REQUIRED, preference=10),
        )
        ending = await deliver(*servers, ca_file=authority.file)

    assert isinstance(ending, Receipt)
    assert receiver.kept == [(True, "<>")]


async def login(port: int, password: str, ca_file: Path | None) -> Receipt | Failure:
    smarthost = Smarthost("127.0.0.1", port, "clarion.example", login=Login("clarion", password))
    return await deliver(*await smarthost.servers("receiver.example"), ca_file=ca_file)


async def test_a_smarthost_is_told_the_password_over_tls_that_is_verified(
    receiver: Receiver, authority: Authority
) -> None:
    """And a wrong one is our set-up, so that the mail waits."""
    async with listening(receiver, serving(authority.good("127.0.0.1"))) as port:
        right = await login(port, "sesame", authority.file)
        wrong = await login(port, "barley", authority.file)

    assert isinstance(right, Receipt)
    assert isinstance(wrong, Failure)
    assert (wrong.permanent, wrong.unreachable) == (False, True)
    assert "535" in wrong.reply
    assert "barley" not in wrong.reply


@pytest.mark.parametrize("offers_tls", [True, False])
async def test_whoever_cannot_prove_to_be_the_smarthost_is_told_no_password(
    receiver: Receiver, authority: Authority, offers_tls: bool
) -> None:
    """Opportunistic TLS would tell it to anybody in the middle."""
    context = serving(authority.of_nobody("127.0.0.1")) if offers_tls else None
    async with listening(receiver, context) as port:
        ending = await login(port, "sesame", authority.file)

    assert isinstance(ending, Failure)
    assert receiver.told == []


class Loopback:
    """A DNS in which every domain has one MX, on this machine."""

    async def exchangers(self, _: str, /) -> tuple[Exchanger, ...]:
        return (Exchanger(10, MX),)

    async def addresses(self, _: str, /) -> tuple[str, ...]:
        return ("127.0.0.1",)


class Enforcing:
    """A domain's own policy, by MTA-STS."""

    def __init__(self, *names: str) -> None:
        self._names = names

    async def enforced(self, _: str, /) -> tuple[str, ...]:
        return self._names


@pytest.mark.parametrize("kind", ["good", "nobody", "expired", "another's"])
async def test_a_domain_that_says_so_gets_mail_only_over_tls_that_is_verified(
    receiver: Receiver, authority: Authority, kind: str
) -> None:
    """MTA-STS in mode enforce (RFC 8461 section 5): otherwise the mail waits."""
    async with listening(receiver, serving(certificate(authority, kind))) as port:
        ending = await deliver(*await by_mx(port, Enforcing("*.receiver.example")), ca_file=authority.file)

    assert isinstance(ending, Receipt) is (kind == "good")
    assert receiver.kept == [(True, "<>")] * (kind == "good")


async def test_a_server_that_the_domains_policy_does_not_name_gets_nothing() -> None:
    """Whoever forges the MX record must not get the mail, however good a certificate of its own is."""
    with pytest.raises(Temporary, match="MTA-STS policy names none"):
        await by_mx(25, Enforcing("mx.elsewhere.example"))


async def test_an_exception_for_a_domain_overrules_its_policy(receiver: Receiver, authority: Authority) -> None:
    """The operator has the last word, for a domain whose policy is broken."""
    exceptions = {"receiver.example": Security.OPPORTUNISTIC}
    async with listening(receiver, serving(authority.of_nobody(MX))) as port:
        ending = await deliver(*await by_mx(port, Enforcing("mx.elsewhere.example"), exceptions=exceptions))

    assert isinstance(ending, Receipt)


async def by_mx(port: int, policies: Enforcing, **options: Any) -> tuple[Server, ...]:
    routes = Exchangers(
        "clarion.example", Loopback(), Random(1), port=port, is_alone=False, policies=policies, **options  # noqa: S311
    )  # fmt: skip
    servers = await routes.servers("receiver.example")
    assert isinstance(servers, tuple)
    return servers


def test_a_file_that_holds_no_certificates_is_named_at_the_start(tmp_path: Path) -> None:
    """Not at the first mail that needs it."""
    (tmp_path / "empty.pem").write_text("nothing")

    with pytest.raises(ConfigurationError, match="CLARION_SMTP_CA_FILE"):
        contexts(tmp_path / "empty.pem")
