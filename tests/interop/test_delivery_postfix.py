"""Delivery to a real Postfix: as the receiver's own server, as our smarthost, over TLS of each kind."""

import asyncio
import json
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from random import Random

import dkim  # type: ignore[import-untyped]
import pytest
from nacl.public import PrivateKey

from serving.delivery.exchangers import Exchangers
from serving.delivery.routes import Router, Security, Smarthost
from serving.delivery.stage import Delivery
from serving.delivery.tls import contexts
from serving.errors import Temporary
from serving.pipeline import Outcome, Sent, Undeliverable
from serving.sealing import UnsealingKey
from serving.stage import Work
from tests.integration.authorities import Authority
from tests.integration.test_delivery_tls import MX, Loopback
from tests.interop.postfix import Postfix
from tests.interop.sinks import Sink
from tests.unit import works
from tests.unit.zones import RSA

KEY = UnsealingKey(bytes(PrivateKey.generate()))


def by_mx(port: int, security: Security = Security.OPPORTUNISTIC) -> Exchangers:
    return Exchangers(
        "clarion.example", Loopback(), Random(1), port=port, is_alone=False, security=security  # noqa: S311
    )  # fmt: skip


def stage(router: Router, ca_file: Path | None = None) -> Delivery:
    return Delivery(KEY, router, expiry=60.0, random=Random(1), timeout=10.0, tls=contexts(ca_file))  # noqa: S311


def work(number: int, mail: bytes = b"Subject: x\r\n\r\n.x\r\n", rcpt_to: str = "bob@receiver.example") -> Work:
    head = {"mail_from": "bounce@clarion.example", "rcpt_to": rcpt_to, "message_id": f"<{number}@x>"}
    whole = b"Message-ID: <%d@x>\r\n" % number + mail
    return works.work(id=number, body=KEY.sealing_key.seal(json.dumps(head).encode() + b"\n" + whole), note=_note)


async def _note(*_: object) -> None:
    pass


async def deliver(delivery: Delivery, *all_work: Work) -> list[Outcome | BaseException]:
    """What becomes of each; what only waits for its turn gets it."""

    async def one(work: Work) -> Outcome:
        while True:
            try:
                return await delivery.handle(work)
            except Temporary as temporary:
                if "is taking other mail" not in str(temporary):
                    raise
                await asyncio.sleep(0.1)

    outcomes = await asyncio.gather(*map(one, all_work), return_exceptions=True)
    await delivery.close()
    return list(outcomes)


@pytest.fixture(scope="module")
def postfix() -> Iterator[Postfix]:
    with Postfix({"virtual_mailbox_maps": "inline:{ bob@receiver.example=box/ }"}) as running:
        yield running


async def test_two_hundred_mails_arrive_over_a_few_connections(
    postfix: Postfix, eventually: Callable[..., object]
) -> None:
    """Each once, and no connection carries more than a hundred."""
    outcomes = await deliver(stage(by_mx(postfix.port)), *map(work, range(200)))
    wanted = {f"<{number}@x>" for number in range(200)}
    await eventually(lambda: wanted <= set(arrived(postfix)), within=30.0)  # type: ignore[misc]
    ids = [name for name in arrived(postfix) if name in wanted]
    connections = [int(count) for count in re.findall(r"disconnect from .* mail=(\d+)", postfix.log())]

    assert all(isinstance(outcome, Sent) and "queued as" in outcome.receipt.text for outcome in outcomes)
    assert len(ids) == 200
    assert len(connections) <= 12
    assert max(connections) <= 100


async def test_a_recipient_that_it_does_not_know_is_refused_for_good(postfix: Postfix) -> None:
    """In Postfix's own words, without the address."""
    (outcome,) = await deliver(stage(by_mx(postfix.port)), work(1000, rcpt_to="nobody@receiver.example"))

    assert isinstance(outcome, Undeliverable)
    assert outcome.reply.startswith("550 5.1.1")
    assert "nobody" not in outcome.reply


async def test_a_mail_that_its_sender_signed_verifies_after_it(
    postfix: Postfix, eventually: Callable[..., object]
) -> None:
    """8-bit, dots and long lines included: below the trace fields nothing has changed."""
    body = "Größe: 97 %\r\n.\r\n..\r\n".encode() + b"." * 998 + b"\r\n"
    header = b"From: a@bank.example\r\nTo: bob@receiver.example\r\nSubject: signed\r\n\r\n"
    signed = RSA.sign(header + body, "bank.example", canonicalize=(b"simple", b"simple"))
    await deliver(stage(by_mx(postfix.port)), work(2000, signed))
    await eventually(lambda: "<2000@x>" in arrived(postfix), within=30.0)  # type: ignore[misc]
    (kept,) = [mail for mail in postfix.mails() if b"<2000@x>" in mail]
    received = kept.replace(b"\n", b"\r\n")

    assert received.endswith(signed)
    assert dkim.verify(received, dnsfunc=lambda *_, **__: RSA.record.encode())


async def test_as_our_smarthost_it_hands_on_what_it_got(eventually: Callable[..., object]) -> None:
    """All domains go to it, and from it to the receivers."""
    with ExitStack() as stack:
        sink = stack.enter_context(Sink())
        relay = stack.enter_context(Postfix({"default_transport": f"smtp:[127.0.0.1]:{sink.port}"}))
        smarthost = Smarthost("127.0.0.1", relay.port, "clarion.example")
        mails = [work(number, rcpt_to=f"ann@{number}.example") for number in range(20)]
        outcomes = await deliver(stage(smarthost), *mails)
        await eventually(lambda: len(sink.message_ids()) == 20, within=30.0)  # type: ignore[misc]
        ids = sink.message_ids()

    assert all(isinstance(outcome, Sent) for outcome in outcomes)
    assert ids == {f"<{number}@x>": 1 for number in range(20)}


@pytest.mark.parametrize("kind", ["good", "expired", "of_nobody", "another's"])
async def test_a_certificate_is_looked_at_where_the_policy_says_so(tmp_path: Path, kind: str) -> None:
    """A Postfix that takes mail over TLS alone, with a certificate of each kind, under each policy."""
    authority = Authority(tmp_path)
    make = {"expired": authority.expired, "of_nobody": authority.of_nobody}.get(kind, authority.good)
    pem = make("other.example" if kind == "another's" else MX)
    tls = {"smtpd_tls_chain_files": str(pem), "smtpd_tls_security_level": "encrypt"}
    outcomes = {}
    with Postfix(tls) as receiver:
        for security in Security:
            delivery = stage(by_mx(receiver.port, security), authority.file)
            (outcomes[security],) = await deliver(delivery, work(1))

    assert isinstance(outcomes[Security.OPPORTUNISTIC], Sent)
    assert isinstance(outcomes[Security.REQUIRED], Sent if kind == "good" else Temporary)
    assert isinstance(outcomes[Security.PLAIN], Temporary)  # "530 5.7.0 Must issue a STARTTLS command first"


def arrived(postfix: Postfix) -> list[str]:
    return [re.findall(rb"Message-ID: (<.*>)", mail)[0].decode() for mail in postfix.mails()]
