"""The DNS as mail authentication asks it: a real name server in process, honest, silent, failing or lying."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest

from serving.authentication.resolver import DnsResolver, Inquiry, RecordKind
from serving.errors import Temporary
from tests.unit.zones import Zones

RECORDS: Mapping[str, tuple[str, ...]] = {
    "example.com. A": ("192.0.2.1", "192.0.2.2"),
    "example.com. AAAA": ("2001:db8::1",),
    "example.com. MX": ("10 mx.example.com.",),
    "1.2.0.192.in-addr.arpa. PTR": ("mx.example.com.",),
    "example.com. TXT": ('"v=spf1 " "-all"', '"caf\\195\\169"'),
}
KNOWN = {question.partition(" ")[0] for question in RECORDS}


class NameServer(asyncio.DatagramProtocol):
    """Answers from RECORDS; a name tells what goes wrong: silent, servfail, refused, garbage."""

    def __init__(self) -> None:
        self.asked = 0
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.asked += 1
        query = dns.message.from_wire(data)
        name = query.question[0].name.to_text()
        trouble = name.partition(".")[0]
        if trouble == "silent":
            return
        self._transport.sendto(b"\0garbage" if trouble == "garbage" else self._answer(query, trouble), addr)

    def _answer(self, query: dns.message.Message, trouble: str) -> bytes:
        question = query.question[0]
        name, kind = question.name.to_text().lower(), dns.rdatatype.to_text(question.rdtype)
        response = dns.message.make_response(query)
        response.flags |= dns.flags.RA
        if trouble in ("servfail", "refused"):
            response.set_rcode(dns.rcode.from_text(trouble.upper()))
        elif name not in KNOWN:
            response.set_rcode(dns.rcode.NXDOMAIN)
        elif f"{name} {kind}" in RECORDS:
            records = RECORDS[f"{name} {kind}"]
            response.answer.append(dns.rrset.from_text_list(question.name, 300, "IN", kind, records))
        return response.to_wire()


@asynccontextmanager
async def name_server() -> AsyncIterator[tuple[NameServer, DnsResolver]]:
    """A server on a free port of this machine, and a resolver that asks it."""
    loop = asyncio.get_running_loop()
    transport, server = await loop.create_datagram_endpoint(NameServer, local_addr=("127.0.0.1", 0))
    try:
        yield server, DnsResolver(["127.0.0.1"], port=transport.get_extra_info("sockname")[1], timeout=0.5)
    finally:
        transport.close()


@pytest.mark.parametrize(
    ("name", "kind", "records"),
    [
        ("example.com", RecordKind.A, ("192.0.2.1", "192.0.2.2")),
        ("EXAMPLE.com.", RecordKind.AAAA, ("2001:db8::1",)),
        ("example.com", RecordKind.MX, ("10 mx.example.com",)),
        ("1.2.0.192.in-addr.arpa", RecordKind.PTR, ("mx.example.com",)),
        ("example.com", RecordKind.TXT, ("v=spf1 -all", "caf\udcc3\udca9")),
        ("example.com", RecordKind.PTR, ()),
        ("nowhere.example", RecordKind.A, ()),
        ("a..b", RecordKind.A, ()),
        ("", RecordKind.PTR, ()),
        ("a" * 64 + ".example", RecordKind.A, ()),
        ("a." * 200 + "example", RecordKind.A, ()),
        ("caf\udcc3.example", RecordKind.A, ()),
        ("\\999.example", RecordKind.A, ()),
    ],
)
async def test_what_a_name_holds(name: str, kind: RecordKind, records: tuple[str, ...]) -> None:
    """No name and no record are both nothing; strings of one TXT are one text (RFC 7208 section 3.3)."""
    async with name_server() as (_, resolver):
        found = await resolver.records(name, kind)

    assert sorted(found) == sorted(records)


@pytest.mark.parametrize("trouble", ["silent", "servfail", "refused", "garbage"])
async def test_no_answer_is_temporary(trouble: str) -> None:
    """It must not be taken for a name that does not exist: that would be a forgery's proof."""
    async with name_server() as (_, resolver):
        with pytest.raises(Temporary):
            await resolver.records(f"{trouble}.example", RecordKind.TXT)


async def test_no_server_at_all_is_temporary() -> None:
    """A machine that lost its network judges nobody."""
    async with name_server() as (_, resolver):
        pass

    with pytest.raises(Temporary):
        await resolver.records("example.com", RecordKind.TXT)


async def test_answers_are_kept_for_their_time() -> None:
    """Mail comes in bursts from one domain; the same key is not fetched for each."""
    async with name_server() as (server, resolver):
        for _ in range(5):
            await resolver.records("example.com", RecordKind.TXT)

        assert server.asked == 1


async def test_one_verdict_asks_each_question_once() -> None:
    """A mail with many signatures of one domain must not multiply the questions."""
    zones = Zones({"example.com": {"TXT": ["x"]}})
    inquiry = Inquiry(zones, asyncio.get_running_loop().time() + 1)

    for name in ("example.com", "Example.COM."):
        assert await inquiry.records(name, RecordKind.TXT) == ("x",)
    assert len(zones.asked) == 1


async def test_after_the_deadline_nothing_is_waited_for() -> None:
    """The sum of many slow answers is bounded too."""
    inquiry = Inquiry(Zones({}, silent=["a.example", "b.example"]), asyncio.get_running_loop().time() + 0.05)

    for name in ("a.example", "b.example", "a.example"):
        with pytest.raises(Temporary):
            await inquiry.records(name, RecordKind.A)
