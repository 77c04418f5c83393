"""Web Key Directory against a real HTTPS server on this machine: what is found, what is not, and whom it never asks."""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path

import dns.asyncresolver
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pysequoia import Cert

from serving import public_hosts
from serving.encryption.certificates import Unusable
from serving.encryption.wkd import KeyDirectory, hashed_local_part, places
from serving.errors import Temporary
from serving.public_hosts import is_public, resolve
from tests.unit.certificates import ANN, CERTIFICATE, NOW, binary, fresh, lasting, revoked, signing_only
from tests.unit.key_directories import ADVANCED, DIRECT, HOME, Home, Published, key_directory
from tests.unit.test_relayed_authentication_resolver import NameServer


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[Home]:
    """A directory that publishes Ann's certificate."""
    async with key_directory(tmp_path, binary(CERTIFICATE)) as home:
        yield home


def test_the_places_are_those_of_the_drafts_own_example() -> None:
    """Section 3.1 of draft-koch-openpgp-webkey-service; the local part keeps its spelling in the query alone."""
    advanced, direct = places("Joe.Doe@Example.ORG") or (None, None)
    name = "hu/iy9q119eutrkn8s1mk4r39qejnbu3n5q?l=Joe.Doe"

    assert advanced is not None
    assert direct is not None
    assert (advanced.host, advanced.target) == (
        "openpgpkey.example.org",
        f"/.well-known/openpgpkey/example.org/{name}",
    )
    assert (direct.host, direct.target) == ("example.org", f"/.well-known/openpgpkey/{name}")


def test_only_ascii_letters_are_folded() -> None:
    """Section 3.1: who folds others asks for the key of somebody else."""
    assert hashed_local_part("ANN") == hashed_local_part("ann")
    assert hashed_local_part("ÄNN") != hashed_local_part("änn")


@given(st.text(max_size=60))
def test_no_address_breaks_out_of_its_request(text: str) -> None:
    """Anybody can name an address; none may add a line or another path to what we send."""
    for place in places(f"{text}@home.example") or ():
        assert place.target.isascii()
        assert place.target.isprintable()
        assert " " not in place.target
        assert place.target.count("?") == 1
        assert place.host in (ADVANCED, DIRECT)


async def test_a_published_certificate_is_found(home: Home) -> None:
    """By the advanced method, at the one place where the draft puts it."""
    found = await home.directory().find("Ann@Home.example", NOW)

    assert isinstance(found, Cert)
    assert found.fingerprint == Cert.from_bytes(CERTIFICATE.encode()).fingerprint
    ((host, target),) = home.published.asked
    assert host == ADVANCED
    assert target == f"/.well-known/openpgpkey/home.example/hu/{hashed_local_part('ann')}?l=Ann"


async def test_the_domain_itself_is_asked_only_where_it_has_no_host_for_keys(home: Home) -> None:
    """Section 3.1: with both, who runs the web site would stand in for who runs the key directory."""
    home.names = {DIRECT: ("127.0.0.1",)}
    assert isinstance(await home.directory().find(ANN, NOW), Cert)
    home.names = HOME
    home.published.status = "404 Not Found"
    assert isinstance(await home.directory().find(ANN, NOW), Unusable)

    assert [host for host, _ in home.published.asked] == [DIRECT, ADVANCED]


OTHER = fresh("eve@home.example")
BAD: Mapping[str, Published] = {
    "publishes no OpenPGP certificate": Published(status="404 Not Found"),
    "answers with status 302": Published(status="302 Found", fields=f"Location: https://{DIRECT}/\r\n"),
    "answers with status 500": Published(status="500 Internal Server Error"),
    "does not answer": Published(status="nonsense"),
    "larger than 1 MiB": Published(body=b"x" * 4_000_000),
    "unreadable": Published(body=b"<html>not here</html>"),
    "publishes no": Published(body=b"", status="410 Gone"),
    "is revoked": Published(body=revoked()),
    "is expired": Published(body=lasting(1)),
    "cannot encrypt": Published(body=signing_only()),
    "the recipient's address is not in": Published(body=OTHER),
}


@pytest.mark.parametrize("reason", BAD)
async def test_what_cannot_be_used_is_told_apart(home: Home, reason: str) -> None:
    """The operator has to know whom to ask: the domain, the owner, or nobody."""
    answer = BAD[reason]
    home.published.body, home.published.status, home.published.fields = answer.body, answer.status, answer.fields
    found = await home.directory().find(ANN, NOW + timedelta(seconds=5))

    assert isinstance(found, Unusable)
    assert reason in found.reason
    assert "example" not in found.reason
    assert len(home.published.asked) == 1


async def test_a_revoked_certificate_stands_beside_its_successor(home: Home) -> None:
    """Directories publish both, so that the revocation is heard of."""
    successor = fresh()
    home.published.body = revoked() + successor
    found = await home.directory().find(ANN, NOW)

    assert isinstance(found, Cert)
    assert found.fingerprint == Cert.from_bytes(successor).fingerprint


async def test_a_silent_directory_costs_bounded_time(home: Home) -> None:
    """A stranger's server must not hold up whoever asks it."""
    home.published.is_silent = True
    async with asyncio.timeout(5):
        found = await home.directory(timeout=0.2).find(ANN, NOW)

    assert isinstance(found, Unusable)
    assert "does not answer" in found.reason


async def test_a_directory_that_nobody_vouches_for_is_not_believed(home: Home) -> None:
    """Without TLS's word for the host, whoever sits between us could publish keys for everybody."""
    home.trusted = ssl.create_default_context()
    found = await home.directory().find(ANN, NOW)

    assert isinstance(found, Unusable)
    assert home.published.asked == []


async def test_a_directory_must_be_vouched_for_by_name(home: Home) -> None:
    """We connect to an address; its certificate has to be for the name all the same."""
    home.names = {"openpgpkey.other.example": ("127.0.0.1",)}
    found = await home.directory().find("ann@other.example", NOW)

    assert isinstance(found, Unusable)
    assert home.published.asked == []


@pytest.mark.parametrize(
    "address",
    [
        *(
            "127.0.0.1",
            "10.1.2.3",
            "192.168.0.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",  # noqa: S104
            "224.0.0.251",
            "192.0.2.1",
        ),
        *("::1", "fe80::1", "fd00::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "2002:7f00:1::", "64:ff9b::a00:1"),
        *("::", "ff02::1", "fe80::1%eth0", "localhost", ""),
    ],
)
async def test_nobody_sends_us_to_our_own_network(home: Home, address: str) -> None:
    """Who names an address chooses the host that we ask; the host of a cloud's passwords is one too (SSRF)."""
    home.names = {ADVANCED: ("93.184.216.34", address)}
    directory = KeyDirectory(resolve=home.resolve, tls=home.trusted, port=home.port)
    found = await directory.find(ANN, NOW)

    assert isinstance(found, Unusable)
    assert "not public" in found.reason
    assert home.published.asked == []


@pytest.mark.parametrize(
    "address", ["93.184.216.34", "2606:2800:220:1::1", "::ffff:93.184.216.34", "64:ff9b::5db8:d822"]
)
def test_addresses_that_everybody_reaches_are_asked(address: str) -> None:
    """Else no directory would ever be."""
    assert is_public(address)


@given(st.ip_addresses(network="10.0.0.0/8"))
def test_no_spelling_of_an_inner_address_is_public(address: object) -> None:
    """Each way in which IPv6 carries an IPv4 address."""
    inner = int(ip_address(str(address)))
    for outer in ("::ffff:0:0", "64:ff9b::"):
        assert not is_public(str(ip_address(int(ip_address(outer)) + inner)))
    assert not is_public(str(ip_address((0x2002 << 112) + (inner << 80))))
    assert not is_public(f"::{address}")


@pytest.mark.parametrize("address", ["fec0::1", "::10.0.0.1", "64:ff9b:1::5db8:d822", "fe80::1", "::1", "::", "x"])
def test_what_lies_within_somebodys_net_is_not_public(address: str) -> None:
    """Python takes three such kinds for global ones."""
    assert not is_public(address)


async def test_a_dns_that_fails_is_not_a_domain_without_keys() -> None:
    """That there is no key is final; this is not."""

    async def failing(_: str) -> tuple[str, ...]:
        raise Temporary("the DNS does not answer")

    found = await KeyDirectory(resolve=failing).find(ANN, NOW)

    assert isinstance(found, Unusable)
    assert "ask again later" in found.reason


@pytest.fixture
async def dns_of_tests() -> AsyncIterator[dns.asyncresolver.Resolver]:
    """A resolver that asks a real name server on this machine."""
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(NameServer, local_addr=("127.0.0.1", 0))
    resolver = dns.asyncresolver.Resolver(configure=False)
    resolver.nameservers, resolver.port = ["127.0.0.1"], transport.get_extra_info("sockname")[1]
    yield resolver
    transport.close()


@pytest.mark.parametrize(
    ("host", "addresses"),
    [
        ("example.com", {"192.0.2.1", "192.0.2.2", "2001:db8::1"}),
        ("nowhere.example", set()),
        ("a..b", set()),
        ("a" * 64 + ".example", set()),
    ],
)
async def test_a_host_has_the_addresses_that_the_dns_says(
    dns_of_tests: dns.asyncresolver.Resolver, host: str, addresses: set[str]
) -> None:
    """Of both kinds: each is judged, and the first that answers is asked."""
    assert set(await resolve(host, dns_of_tests)) == addresses


@pytest.mark.parametrize("trouble", ["silent", "servfail", "garbage"])
async def test_no_answer_of_the_dns_is_no_missing_host(
    dns_of_tests: dns.asyncresolver.Resolver, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    """Who can silence the DNS would choose the method by which keys are found."""
    monkeypatch.setattr(public_hosts, "LONGEST_WAIT", 0.5)
    with pytest.raises(Temporary):
        await resolve(f"{trouble}.example", dns_of_tests)


async def test_the_next_address_is_tried_where_one_is_dead(home: Home) -> None:
    """Many hosts have an IPv6 address that some machines do not reach."""
    home.names = {ADVANCED: ("127.0.0.2", "127.0.0.1")}

    assert isinstance(await home.directory().find(ANN, NOW), Cert)


async def test_no_log_line_names_whom_we_looked_for(home: Home, caplog: pytest.LogCaptureFixture) -> None:
    """httpx logs every URL at INFO."""
    caplog.set_level(logging.INFO)
    await home.directory().find(ANN, NOW)

    assert home.published.asked
    assert hashed_local_part("ann") not in caplog.text
    assert "l=ann" not in caplog.text


@pytest.mark.parametrize("address", ["", "ann", "ann@", "@home.example", "ann@[127.0.0.1]", "ann@localhost"])
async def test_what_is_no_address_asks_nobody(home: Home, address: str) -> None:
    """Literals and single labels belong to nobody."""
    found = await home.directory().find(address, NOW)

    assert isinstance(found, Unusable)
    assert home.published.asked == []
