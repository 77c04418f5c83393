"""Routing asks a real name server, and a domain's policy comes over real HTTPS."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp.connector
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest

from serving.delivery.names import DnsNames, Exchanger
from serving.delivery.sts import StsPolicies, fetcher
from serving.errors import Temporary
from tests.integration.authorities import Authority, serving

RECORDS: Mapping[str, tuple[int, tuple[str, ...]]] = {
    "lab.example. MX": (300, ("20 b.lab.example.", "10 A.lab.example.")),
    "null.example. MX": (300, ("0 .",)),
    "host.example. A": (300, ("192.0.2.1", "192.0.2.2")),
    "host.example. AAAA": (300, ("2001:db8::1",)),
    "old.example. A": (300, ("192.0.2.9",)),
    "brief.example. A": (0, ("192.0.2.3",)),
    "_mta-sts.lab.example. TXT": (300, ('"v=STSv1; id=20261129;"',)),
}
POLICY = b"version: STSv1\r\nmode: enforce\r\nmx: *.lab.example\r\nmax_age: 86400\r\n"


class NameServer(asyncio.DatagramProtocol):
    """Answers from RECORDS; says nothing about `silent` names, and SERVFAIL for AAAA of old.example."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        query = dns.message.from_wire(data)
        question = query.question[0]
        name, kind = question.name.to_text().lower(), dns.rdatatype.to_text(question.rdtype)
        self.asked.append(f"{name} {kind}")
        if name.startswith("silent"):
            return
        response = dns.message.make_response(query)
        if f"{name} {kind}" == "old.example. AAAA":
            response.set_rcode(dns.rcode.SERVFAIL)
        elif not any(each.startswith(f"{name} ") for each in RECORDS):
            response.set_rcode(dns.rcode.NXDOMAIN)
        elif f"{name} {kind}" in RECORDS:
            ttl, records = RECORDS[f"{name} {kind}"]
            response.answer.append(dns.rrset.from_text_list(question.name, ttl, "IN", kind, records))
        self._transport.sendto(response.to_wire(), addr)


@asynccontextmanager
async def name_server() -> AsyncIterator[tuple[NameServer, int]]:
    loop = asyncio.get_running_loop()
    transport, server = await loop.create_datagram_endpoint(NameServer, local_addr=("127.0.0.1", 0))
    try:
        yield server, transport.get_extra_info("sockname")[1]
    finally:
        transport.close()


async def test_what_the_dns_says_of_a_domains_servers() -> None:
    """No such domain, no such record and no mail are three things; addresses come by turns of their families."""
    async with name_server() as (_, port):
        names = DnsNames(["127.0.0.1"], port=port, timeout=0.5)
        exchangers = [
            await names.exchangers(name) for name in ("lab.example", "null.example", "host.example", "no.example")
        ]
        addresses = [
            await names.addresses(name) for name in ("host.example", "lab.example", "no.example", "old.example")
        ]

    assert sorted(exchangers[0] or ()) == [Exchanger(10, "a.lab.example"), Exchanger(20, "b.lab.example")]
    assert exchangers[1:] == [(Exchanger(0, "."),), (), None]
    assert addresses[0][0] == "2001:db8::1"
    assert sorted(addresses[0][1:]) == ["192.0.2.1", "192.0.2.2"]
    assert addresses[1:] == [(), (), ("192.0.2.9",)]


async def test_silence_is_temporary() -> None:
    """Taken for "no such domain" it would bounce mail."""
    async with name_server() as (_, port):
        names = DnsNames(["127.0.0.1"], port=port, timeout=0.2)
        with pytest.raises(Temporary):
            await names.exchangers("silent.example")
        with pytest.raises(Temporary):
            await names.addresses("silent.example")


async def test_an_answer_is_kept_for_its_time_and_for_seconds_where_that_is_none() -> None:
    """A thousand mails for one domain ask once; a TTL of nothing would ask for each."""
    async with name_server() as (server, port):
        names = DnsNames(["127.0.0.1"], port=port, timeout=0.5)
        for name in ("brief.example", "host.example") * 5:
            await names.addresses(name)

    assert len(server.asked) == len(set(server.asked)) == 4


@asynccontextmanager
async def https(context: ssl.SSLContext, answer: bytes) -> AsyncIterator[int]:
    """A proxy behind which every host is one that answers so: no test may listen on port 443."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 connected\r\n\r\n")
        try:
            await writer.start_tls(context)
            await reader.readuntil(b"\r\n\r\n")
            writer.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s"
                % (len(answer), answer)
            )
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass  # it did not trust us
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()


@pytest.mark.parametrize(("host", "names"), [("mta-sts.lab.example", ["*.lab.example"]), ("other.example", None)])
async def test_a_policy_is_fetched_from_whoever_proves_to_be_its_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str, names: list[str] | None
) -> None:
    """By the library, over the name servers that the settings name; a wrong certificate brings no policy."""
    authority = Authority(tmp_path)
    aiohttp.connector._SSL_CONTEXT_VERIFIED.load_verify_locations(authority.file)
    async with name_server() as (_, dns_port), https(serving(authority.good(host)), POLICY) as proxy:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{proxy}")
        policies = StsPolicies(fetcher(["127.0.0.1"], port=dns_port))
        found = await policies.enforced("lab.example")
        none = await policies.enforced("host.example")

    assert found == names
    assert none is None
