"""A proven mail teaches the certificate of its sender, who is then written to sealed: over a real broker."""

import base64
from typing import Any

import pytest
from nacl.public import PrivateKey

from serving.encryption.bundle import Block, blocks, bundle
from serving.encryption.sources import Source, origin_of
from serving.learning import Learning
from serving.queue.client import Client
from serving.sealing import LookupKey, UnsealingKey
from tests.unit.certificates import ANN, CERTIFICATE, NOW, binary, fresh

CONTENT, LOOKUP = UnsealingKey(bytes(PrivateKey.generate())), LookupKey(b"l" * 32)
BROUGHT = Block("openpgp", CERTIFICATE.strip().encode())


async def enroll(client: Client, *certificates: Block) -> None:
    sealed = CONTENT.sealing_key.seal(bundle(certificates).encode()).hex() if certificates else None
    person: dict[str, Any] = {"lookup": LOOKUP.address(ANN).hex(), "certificate": sealed, "policy": {"card": True}}
    address = CONTENT.sealing_key.seal(ANN.encode()).hex()
    await client.execute("enroll_recipient", address=address, wishes={"not_urgent": "delay"}, **person)


async def held(client: Client) -> list[Block]:
    (row,) = await client.query("recipient", lookup=LOOKUP.address(ANN).hex())
    assert (row["wishes"], row["policy"]) == ({"not_urgent": "delay"}, {"card": True})
    return [] if row["certificate"] is None else blocks(CONTENT.unseal(bytes.fromhex(row["certificate"])))


def mail(key: bytes, sender: str = ANN, extra: str = "") -> bytes:
    """Ann writes, and announces the key."""
    data = base64.b64encode(key).decode()
    return f"From: {sender}\r\n{extra}Autocrypt: addr={sender}; keydata={data}\r\nSubject: x\r\n\r\nx\r\n".encode()


async def hear(client: Client, octets: bytes) -> None:
    await Learning(client, CONTENT, LOOKUP)(octets, NOW.timestamp())


async def test_a_certificate_is_learned_from_a_proven_mail(client: Client) -> None:
    """Who never brought one gets sealed mail all the same, and their wishes stay as they are."""
    await enroll(client)
    await hear(client, mail(binary(CERTIFICATE)))
    (learned,) = await held(client)

    assert origin_of(learned).source is Source.AUTOCRYPT


@pytest.mark.parametrize(
    ("octets", "before"),
    [
        (mail(fresh()), [BROUGHT]),
        (mail(fresh(), extra="Auto-Submitted: auto-replied\r\n"), []),
        (mail(fresh(), extra="Content-Type: multipart/report; boundary=x\r\n"), []),
        (mail(fresh("eve@home.example"), "eve@home.example"), []),
        (b"Autocrypt: addr=x@y.example; keydata=AA==\r\n" + mail(fresh()), []),
        (mail(b"no key"), []),
        (mail(fresh()).replace(b"Subject", b"\xff\r\n \xff"), []),
    ],
    ids=["brought", "answer", "report", "stranger", "two", "none", "broken"],
)
async def test_nothing_worse_takes_the_place_of_anything(client: Client, octets: bytes, before: list[Block]) -> None:
    """Nor does it break anything: the mail goes on whatever its announcement was."""
    await enroll(client, *before)
    await hear(client, octets)

    assert await held(client) == before
    assert await client.query("recipient", lookup=LOOKUP.address("eve@home.example").hex()) == []


async def test_what_an_operator_brings_meanwhile_stays(client: Client) -> None:
    """Between the look and the change somebody brought a better one."""

    class Slow:
        async def query(self, name: str, /, **parameters: Any) -> list[dict[str, Any]]:
            rows = await client.query(name, **parameters)
            await enroll(client, BROUGHT)
            return rows

        async def execute(self, name: str, /, **parameters: Any) -> dict[str, Any]:
            return await client.execute(name, **parameters)

    await enroll(client)
    await Learning(Slow(), CONTENT, LOOKUP)(mail(fresh()), NOW.timestamp())

    assert await held(client) == [BROUGHT]


async def test_a_certificate_is_learned_where_what_was_seen_is_still_there(client: Client) -> None:
    """The broker compares, in the transaction that changes it; of nobody who is not registered is anything learned."""
    await enroll(client)
    lookup, nobody = LOOKUP.address(ANN).hex(), LOOKUP.address("nobody@home.example").hex()
    asked = [(lookup, "00", None), (lookup, "01", None), (lookup, "01", "00"), (nobody, "02", None)]
    answers = [
        await client.execute("change_certificate", lookup=who, certificate=new, held=old) for who, new, old in asked
    ]

    assert [answer["changed"] for answer in answers] == [True, False, True, False]
