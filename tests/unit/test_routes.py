"""Where a domain's mail goes: by MX as RFC 5321 section 5 says, or to the smarthost."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from ipaddress import ip_network
from random import Random
from typing import Any

import pytest

from serving.delivery.exchangers import (
    INSIDE,
    LOOP,
    MOST_ADDRESSES,
    MOST_HOSTS,
    NO_DOMAIN,
    NO_MAIL,
    NO_SERVER,
    Exchangers,
)
from serving.delivery.names import Exchanger
from serving.delivery.outbound import router
from serving.delivery.routes import NoRoute, Security, Server, Smarthost
from serving.errors import ConfigurationError, Temporary
from serving.settings import Settings

A, B, SIX = "192.0.2.1", "192.0.2.2", "2001:db8::1"
DOCUMENTATION = [ip_network("192.0.2.0/24"), ip_network("2001:db8::/32")]


class Zones:
    """A DNS that is two dictionaries; names in `failing` have a server that fails."""

    def __init__(
        self,
        mx: Mapping[str, Sequence[Exchanger]],
        addresses: Mapping[str, Sequence[str]],
        failing: Collection[str] = (),
    ) -> None:
        self._mx, self._addresses, self._failing = mx, addresses, failing
        self.asked: list[str] = []

    async def exchangers(self, domain: str, /) -> tuple[Exchanger, ...] | None:
        self._check(domain)
        known = domain in self._mx or domain in self._addresses
        return tuple(self._mx.get(domain, ())) if known else None

    async def addresses(self, host: str, /) -> tuple[str, ...]:
        self.asked.append(host)
        self._check(host)
        return tuple(self._addresses.get(host, ()))

    def _check(self, name: str) -> None:
        if name in self._failing:
            raise Temporary("the DNS does not answer")


def routes(
    mx: Mapping[str, Sequence[Exchanger]] | None = None,
    addresses: Mapping[str, Sequence[str]] | None = None,
    *,
    failing: Collection[str] = (),
    seed: int = 1,
    **options: Any,
) -> Exchangers:
    names = Zones(mx or {}, addresses or {}, failing)
    options = {"networks": DOCUMENTATION, **options}
    return Exchangers("clarion.example", names, Random(seed), **options)  # noqa: S311


def mx(*hosts: tuple[int, str], domain: str = "lab.example") -> Mapping[str, Sequence[Exchanger]]:
    return {domain: [Exchanger(*host) for host in hosts]}


def addresses_of(servers: Sequence[Server] | NoRoute) -> list[str]:
    assert not isinstance(servers, NoRoute)
    return [server.address for server in servers]


async def test_the_most_preferred_server_comes_first() -> None:
    """Its owner put the backup last."""
    found = await routes(mx((20, "b.example"), (10, "a.example")), {"a.example": [A], "b.example": [B]}).servers(
        "lab.example"
    )

    assert addresses_of(found) == [A, B]
    assert isinstance(found, tuple)
    assert (found[0].name, found[0].port, found[0].security) == ("a.example", 25, Security.OPPORTUNISTIC)


async def test_servers_alike_share_the_load() -> None:
    """Equal preference in random order (section 5.1), each about as often."""
    hosts = {"a.example": [A], "b.example": [B]}
    first = Counter(
        [
            addresses_of(await routes(mx((5, "a.example"), (5, "b.example")), hosts, seed=seed).servers("lab.example"))[
                0
            ]
            for seed in range(100)
        ]
    )

    assert min(first[A], first[B]) > 30


async def test_a_domain_without_mx_is_its_own_server() -> None:
    """The implicit MX of section 5.1, by both families of addresses."""
    found = await routes({}, {"lab.example": [SIX, A]}).servers("lab.example")

    assert addresses_of(found) == [SIX, A]


@pytest.mark.parametrize(
    ("records", "addresses", "ending"),
    [
        (mx((0, ".")), {"lab.example": [A]}, NO_MAIL),
        ({}, {}, NO_DOMAIN),
        (mx(), {}, NO_DOMAIN),
        (mx((10, "gone.example")), {}, NO_SERVER),
        (mx((10, "\\032" * 20 + ".example"), (20, "localhost")), {"localhost": [A]}, NO_SERVER),
        (mx((10, "mx.clarion.example"), (20, "b.example")), {"b.example": [B]}, LOOP),
        (mx((10, "a.example"), (10, "mx.clarion.example")), {"a.example": [A]}, LOOP),
        (mx((10, "a.example")), {"a.example": ["127.0.0.1", "::1", "0.0.0.0", "::ffff:127.0.0.1"]}, LOOP),  # noqa: S104
    ],
)
async def test_where_nobody_will_ever_take_it_the_sender_is_told_at_once(
    records: Mapping[str, Sequence[Exchanger]], addresses: Mapping[str, Sequence[str]], ending: NoRoute
) -> None:
    """Null MX (RFC 7505), no such domain, no such server, and never to ourselves: five days of trying help nobody."""
    found = await routes(records, addresses, ours=["mx.clarion.example"]).servers("lab.example")

    assert found == ending


async def test_the_codes_of_what_has_no_route() -> None:
    """Programs read them (RFC 3463)."""
    assert [each.reply.split()[1] for each in (NO_DOMAIN, NO_SERVER, NO_MAIL, LOOP)] == [
        "5.1.2", "5.4.4", "5.1.10", "5.4.6",
    ]  # fmt: skip


async def test_we_may_be_a_backup_and_hand_on_to_the_better_servers() -> None:
    """Only servers better than us are tried, or mail would go in circles among backups (section 5.1)."""
    records = mx((5, "a.example"), (10, "mx.clarion.example"), (20, "b.example"))
    hosts = {"a.example": [A], "b.example": [B], "mx.clarion.example": [A]}

    found = await routes(records, hosts, ours=["mx.clarion.example"]).servers("lab.example")

    assert addresses_of(found) == [A]


@pytest.mark.parametrize("failing", ["lab.example", "a.example"])
async def test_a_dns_that_does_not_answer_proves_nothing(failing: str) -> None:
    """Bouncing mail because a name server was restarted would lose it."""
    with pytest.raises(Temporary):
        await routes(mx((10, "a.example")), {"a.example": [A]}, failing=[failing]).servers("lab.example")


async def test_one_host_that_the_dns_does_not_answer_for_does_not_hold_up_the_next() -> None:
    """There is a second MX for such days."""
    records, hosts = mx((10, "a.example"), (20, "b.example")), {"a.example": [A], "b.example": [B]}

    found = await routes(records, hosts, failing=["a.example"]).servers("lab.example")

    assert addresses_of(found) == [B]


async def test_a_domain_with_a_thousand_servers_costs_a_few_tries() -> None:
    """A hostile domain must not keep a place for hours."""
    records = mx(*((10, f"{number}.example") for number in range(1000)))
    hosts = {f"{number}.example": [f"192.0.2.{number % 250}"] * 9 for number in range(1000)}

    assert len(addresses_of(await routes(records, hosts).servers("lab.example"))) == MOST_ADDRESSES


async def test_a_domain_whose_name_servers_say_nothing_costs_a_few_questions() -> None:
    """Each takes ten seconds, and a place that others wait for."""
    hosts = [f"{number}.example" for number in range(1000)]
    found = routes(mx(*((10, host) for host in hosts)), failing=hosts)
    with pytest.raises(Temporary):
        await found.servers("lab.example")

    assert isinstance(found.names, Zones)
    assert len(found.names.asked) == MOST_HOSTS


@pytest.mark.parametrize(
    "address",
    [
        "10.0.0.5",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "fd00::1",
        "fe80::1",
        "::ffff:10.0.0.5",
        "2002:a00:5::1",
    ],
)
async def test_a_server_inside_is_asked_only_where_the_operator_says_that_there_are_some(address: str) -> None:
    """Whoever names a recipient at a domain of theirs would reach a relay that believes us."""
    records, hosts = mx((10, "a.example"), (20, "b.example")), {"a.example": [address], "b.example": [A]}
    literal = f"[ipv6:{address}]" if ":" in address else f"[{address}]"
    alone = routes(mx((10, "a.example")), hosts)

    assert await alone.servers("lab.example") == await alone.servers(literal) == INSIDE
    assert addresses_of(await routes(records, hosts).servers("lab.example")) == [A]


async def test_the_operators_own_servers_are_asked() -> None:
    """By the settings, as they reach every process."""
    settings = Settings(delivery="mx", mx_networks=("10.0.0.0/8",))
    made = router(settings, Random(1))  # noqa: S311
    assert isinstance(made, Exchangers)

    assert addresses_of(await made.servers("[10.0.0.5]")) == ["10.0.0.5"]
    assert await made.servers("[192.168.0.5]") == INSIDE


@pytest.mark.parametrize(
    ("domain", "ending"),
    [
        ("[192.0.2.1]", A),
        ("[ipv6:2001:db8::1]", SIX),
        ("[127.0.0.1]", LOOP),
        ("[nonsense]", NO_DOMAIN),
        ("localhost", NO_DOMAIN),
        ("", NO_DOMAIN),
        ("a b.example", NO_DOMAIN),
    ],
)
async def test_address_literals_are_servers_and_other_things_are_nobody(domain: str, ending: str | NoRoute) -> None:
    """RFC 5321 section 4.1.3."""
    found = await routes().servers(domain)

    assert (found if isinstance(found, NoRoute) else addresses_of(found)[0]) == ending


async def test_tls_is_as_the_settings_say_for_the_domain() -> None:
    """A partner's domain may be required to prove itself where others are not."""
    routing = routes({}, {"lab.example": [A], "bank.example": [A]}, exceptions={"bank.example": Security.REQUIRED})
    found = [await routing.servers(domain) for domain in ("lab.example", "bank.example")]

    assert [each[0].security for each in found if isinstance(each, tuple)] == ["opportunistic", "required"]


async def test_the_settings_choose_the_router() -> None:
    """By default all goes to the smarthost; a login makes its TLS required."""
    default = router(Settings(), Random(1))  # noqa: S311
    known = router(Settings(smtp_user="u", smtp_password="sesame", smtp_host="relay.example"), Random(1))  # type: ignore[arg-type]  # noqa: S311
    direct = router(
        Settings(delivery="mx", tls_exceptions={"BÜCHER.example": "plain"}, smtp_hostname="out.example"), Random(1)  # noqa: S311
    )  # fmt: skip

    assert isinstance(default, Smarthost)
    assert default.destination("lab.example") == default.destination("bank.example") == "127.0.0.1:2525"
    assert (await known.servers("x"))[0].security is Security.REQUIRED  # type: ignore[index]
    assert "sesame" not in repr(known)
    assert isinstance(direct, Exchangers)
    assert (direct.exceptions, direct.hostname) == ({"xn--bcher-kva.example": Security.PLAIN}, "out.example")
    assert direct.is_alone


def test_settings_reach_the_stages_processes_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """They travel in the environment, objects as JSON."""
    stated = Settings(tls_exceptions={"bank.example": "required"}, mta_sts=False)
    for name, value in stated.environment().items():
        monkeypatch.setenv(name, value)

    assert Settings() == stated


def test_a_policy_that_is_none_is_said_at_the_start() -> None:
    """A typo must not open mail."""
    with pytest.raises(ConfigurationError, match="CLARION_TLS_EXCEPTIONS"):
        Settings.read(tls_exceptions={"bank.example": "requierd"})
