"""Digests over the real store: every parent in exactly one of them, whatever breaks and whenever."""

import asyncio
import contextlib
import re
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from email import message_from_bytes, policy
from typing import Any, cast

import pytest
from nacl.public import PrivateKey

from serving.digest.stage import LARGEST_DIGEST, Digest, Post
from serving.effects import hop_of
from serving.errors import BrokerUnavailable, Temporary
from serving.pipeline import (
    Authenticated,
    Bundled,
    Digested,
    EnclosedFree,
    NotUrgent,
    Outcome,
    Returned,
    Sent,
    Stage,
    Unbilled,
    Undeliverable,
    Unverified,
    kind,
)
from serving.queue.client import Client, Recipient, Submission
from serving.queue.lease import Lease
from serving.sealing import UnsealingKey
from serving.stage import serve, work_of
from serving.values import OpenByPolicy, Prediction, Receipt
from serving.web.token import Links

KEY = UnsealingKey(bytes(PrivateKey.generate()))
LINKS = Links(b"k" * 32)
POST = Post("clarion@gate.example", "https://gate.example/r", "https://gate.example/u", LINKS)
ANN, BOB = b"a" * 32, b"b" * 32


class Losing:
    """A client whose connection breaks at `bundle`, before the store has heard of it or before its answer is read."""

    def __init__(self, client: Client, *, after_commit: bool) -> None:
        self._client = client
        self._after_commit = after_commit

    async def query(self, name: str, /, **parameters: Any) -> list[dict[str, Any]]:
        return await self._client.query(name, **parameters)

    async def execute(self, name: str, /, **parameters: Any) -> dict[str, Any]:
        if self._after_commit:
            await self._client.execute(name, **parameters)
        raise BrokerUnavailable("the connection broke")


@pytest.fixture
async def other(broker: Any) -> AsyncIterator[Client]:
    """A second digest writer's client."""
    connected = await Client.connect(broker.socket)
    yield connected
    await connected.close()


def _digest(client: Any) -> Digest:
    return Digest(client, KEY, POST, time.time)


async def _due(
    client: Client, recipients: Sequence[bytes], bodies: Sequence[bytes] | None = None, judged: int = 0
) -> list[int]:
    """Notifications that wait, due, for the digest writer; all of them are deferred before the first is due. The last
    `judged` were authenticated and classified."""
    ids: list[int] = []
    for number, recipient in enumerate(recipients):
        raw = f"From: ops@bank.example\r\nSubject: note {number}\r\n\r\ntext {number}\r\n".encode()
        body = bodies[number] if bodies else KEY.sealing_key.seal(raw)
        address = KEY.sealing_key.seal(b"ann@home.example")
        accepted = await client.accept(Submission("bank", body, (Recipient(recipient, address),)))
        ids += accepted.notification_ids
    until = time.time() + 1.0 + len(ids) / 50
    await _move(client, Stage.AUTHENTICATION, Unverified("no From; set From"), len(ids) - judged)
    if judged:
        await _move(client, Stage.AUTHENTICATION, Authenticated("api_key"), judged)
        await _move(
            client, Stage.CLASSIFICATION, NotUrgent(Prediction("not_urgent", 0.2, None, False, "v"), None), judged
        )
    await _move(client, Stage.TRIAGE, Digested(until, "a test's"), len(ids))
    assert time.time() < until
    await asyncio.sleep(until - time.time() + 0.05)
    return ids


async def _claim(client: Client, stage: Stage, count: int) -> list[Lease]:
    leases: list[Lease] = []
    claims = cast("AsyncGenerator[Lease]", client.consume(stage.value, credit=count))
    async with contextlib.aclosing(claims):
        while len(leases) < count:
            leases.append(await anext(claims))
    return leases


async def _move(client: Client, stage: Stage, outcome: Outcome, count: int) -> None:
    claims = cast("AsyncGenerator[Lease]", client.consume(stage.value, credit=count))
    async with contextlib.aclosing(claims):
        for _ in range(count):
            lease = await anext(claims)
            await lease.complete(kind(type(outcome)), hop_of(outcome, lease.id, lease.recipient, lease.facts))


@contextlib.asynccontextmanager
async def _writing(*clients: Client) -> AsyncIterator[None]:
    writers = [asyncio.create_task(serve(Stage.DIGEST, client, _digest(client).handle)) for client in clients]
    yield
    for writer in writers:
        writer.cancel()
    await asyncio.gather(*writers, return_exceptions=True)


async def _vias(client: Client, ids: Sequence[int]) -> list[str | None]:
    return [(await client.query("notification", id=str(id_)))[0]["facts"].get("via") for id_ in ids]


async def _bundled_events(client: Client, id_: int) -> int:
    return [event["kind"] for event in await client.query("events", id=str(id_))].count("bundled")


async def _digests(client: Client) -> int:
    depths = await client.query("depths")
    return sum(int(depth["count"]) for depth in depths if depth["stage"] == Stage.ENCRYPTION.value)


async def test_all_that_is_due_to_a_recipient_becomes_one_mail_that_tells_of_each(
    client: Client, eventually: Callable[..., Any]
) -> None:
    """A digest a mail would be no digest, and mail of two recipients must never meet in one."""
    ids = await _due(client, [ANN, ANN, ANN, BOB])
    async with _writing(client):
        await eventually(lambda: _all_bundled(client, ids))
    vias = await _vias(client, ids)
    digests = {str(lease.id): lease for lease in await _claim(client, Stage.ENCRYPTION, 2)}
    letter = KEY.unseal(digests[vias[0] or ""].body)

    assert Counter(vias) == {vias[0]: 3, vias[3]: 1}
    assert [word for word in (b"note 0", b"note 1", b"note 2", b"text 2") if word not in letter] == []
    assert b"note 3" not in letter
    assert digests[vias[0] or ""].facts["waiver"] == "digest"
    assert {lease.recipient for lease in digests.values()} == {ANN, BOB}


async def test_a_digest_is_addressed_under_the_key_of_its_day(client: Client, eventually: Callable[..., Any]) -> None:
    """A copy of the parent's sealed address could come under an old key just when that is retired."""
    ids = await _due(client, [ANN, ANN])
    async with _writing(client):
        await eventually(lambda: _all_bundled(client, ids))
    rows = await client.query("sealed_page", what="address", current="00000000")

    assert len({row["sealed"] for row in rows}) == len(rows) == 3
    assert {KEY.unseal(bytes.fromhex(row["sealed"])) for row in rows} == {b"ann@home.example"}


async def test_two_writers_at_once_never_put_a_parent_into_two_digests(
    client: Client, other: Client, eventually: Callable[..., Any]
) -> None:
    """The stage can be scaled; a recipient must not read everything twice."""
    ids = await _due(client, [ANN, BOB] * 8)
    async with _writing(client, other):
        await eventually(lambda: _all_bundled(client, ids))

    assert [await _bundled_events(client, id_) for id_ in ids] == [1] * len(ids)
    assert await _digests(client) == len(set(await _vias(client, ids)))


async def test_a_writer_that_dies_after_the_bundle_leaves_no_second_digest(client: Client, other: Client) -> None:
    """Killed between the two commits, the parents come back to nobody or to the digest that has them."""
    ids = await _due(client, [ANN, ANN])
    for lease in await _claim(other, Stage.DIGEST, 1):
        outcome = await _digest(other).handle(work_of(lease))
        assert isinstance(outcome, Bundled)
    await other.close()
    async with _writing(client):
        await asyncio.sleep(0.5)

    assert await _vias(client, ids) == [str(outcome.via)] * 2
    assert await _digests(client) == 1


@pytest.mark.parametrize("after_commit", [False, True], ids=["before the commit", "after the commit"])
async def test_a_broken_connection_at_the_bundle_loses_and_doubles_nothing(
    client: Client, other: Client, eventually: Callable[..., Any], after_commit: bool
) -> None:
    """The writer cannot know whether the store has heard it; the next attempt must find out."""
    ids = await _due(client, [ANN, ANN, ANN])
    (lease,) = await _claim(other, Stage.DIGEST, 1)
    with pytest.raises(BrokerUnavailable):
        await _digest(Losing(other, after_commit=after_commit)).handle(work_of(lease))
    await other.close()
    async with _writing(client):
        await eventually(lambda: _all_bundled(client, ids))

    assert len(set(await _vias(client, ids))) == 1
    assert await _digests(client) == 1


async def test_a_second_attempt_finds_the_digest_of_the_first(client: Client) -> None:
    """Everything after acceptance may run twice and must not act twice."""
    await _due(client, [ANN])
    (lease,) = await _claim(client, Stage.DIGEST, 1)
    digest = _digest(client)

    assert await digest.handle(work_of(lease)) == await digest.handle(work_of(lease))
    assert await _digests(client) == 1


async def test_a_body_that_does_not_open_holds_up_nobody_else(client: Client, eventually: Callable[..., Any]) -> None:
    """One damaged row must not cost a recipient the whole digest."""
    good = KEY.sealing_key.seal(b"From: a@b.example\r\n\r\nfine\r\n")
    ids = await _due(client, [ANN, ANN, ANN], [good, good[:-1] + b"x", good])
    async with _writing(client):
        await eventually(lambda: _all_bundled(client, [ids[0], ids[2]]))
    vias = await _vias(client, ids)

    assert vias[0] == vias[2] is not None
    assert vias[1] is None


async def test_nothing_that_opens_makes_no_empty_digest(client: Client) -> None:
    """Somebody else was faster with all of it: there is nothing to write."""
    await _due(client, [ANN])
    (lease,) = await _claim(client, Stage.DIGEST, 1)
    work = work_of(lease)
    stranger = type(work)(**{name: getattr(work, name) for name in work.__slots__} | {"id": 1, "recipient": BOB})

    with pytest.raises(Temporary, match="nothing is due"):
        await _digest(client).handle(stranger)
    assert await _digests(client) == 0


async def test_parents_are_delivered_when_their_digest_is(client: Client, eventually: Callable[..., Any]) -> None:
    """Until then they are deferred, and the accounts add up."""
    ids = await _due(client, [ANN, ANN])
    async with _writing(client):
        await eventually(lambda: _all_bundled(client, ids))
    before = await _states(client, ids)
    await _move(client, Stage.ENCRYPTION, EnclosedFree(OpenByPolicy(b"sealed", "recipient"), "digest"), 1)
    await _move(client, Stage.DELIVERY, Sent(Receipt(250, "ok", "<7@gate.example>")), 1)
    await _move(client, Stage.SETTLEMENT, Unbilled("digest"), 1)

    assert before == ["deferred", "deferred"]
    assert await _states(client, ids) == ["delivered", "delivered"]


async def test_more_than_a_digest_holds_become_several_and_each_parent_is_in_one(
    client: Client, other: Client, eventually: Callable[..., Any]
) -> None:
    """After a holiday 250 are due at once, and two writers work on them."""
    ids = await _due(client, [ANN] * 250)
    async with _writing(client, other):
        await eventually(lambda: _all_bundled(client, ids), within=60.0)
    sizes = Counter(await _vias(client, ids))

    assert sum(sizes.values()) == 250
    assert max(sizes.values()) <= LARGEST_DIGEST
    assert await _digests(client) == len(sizes) <= 5
    assert {await _bundled_events(client, id_) for id_ in ids[::25]} == {1}


async def test_the_parents_of_a_digest_that_cannot_be_delivered_are_dead_letters_and_can_be_sent_again(
    client: Client, eventually: Callable[..., Any]
) -> None:
    """Nothing accepted is lost: each id says which digest took it along, and an operator can let each try again."""
    ids = await _due(client, [ANN, ANN])
    async with _writing(client):
        await eventually(lambda: _all_bundled(client, ids))
    (via, _) = await _vias(client, ids)
    await _move(client, Stage.ENCRYPTION, EnclosedFree(OpenByPolicy(b"sealed", "recipient"), "digest"), 1)
    await _move(client, Stage.DELIVERY, Undeliverable("550 no such user"), 1)
    await _move(client, Stage.SETTLEMENT, Returned(0, "550 no such user"), 1)
    last = [(await client.query("events", id=str(id_)))[-1] for id_ in ids]
    again = await client.execute("replay", id=str(ids[0]))

    assert await _states(client, [int(via or 0), *ids]) == ["dead"] * 3
    assert [(event["kind"], event["detail"]) for event in last] == [("dead", {"via": via})] * 2
    assert await _states(client, [int(again["id"])]) == ["queued"]


async def test_a_decision_can_be_corrected_from_the_digest_and_what_nothing_proves_cannot(
    client: Client, eventually: Callable[..., Any]
) -> None:
    """The link tells it of the one mail beside which it stands; times are those of the reader's zone."""
    wishes = {"zone": "Asia/Tokyo"}
    await client.execute("enroll_recipient", lookup=ANN.hex(), address="00", certificate=None, wishes=wishes, policy={})
    unproven, judged = await _due(client, [ANN, ANN], judged=1)
    async with _writing(client):
        await eventually(lambda: _all_bundled(client, [unproven, judged]))
    (lease,) = await _claim(client, Stage.ENCRYPTION, 1)
    letter = message_from_bytes(KEY.unseal(lease.body), policy=policy.SMTP)
    text = letter.get_body(("plain",)).get_content()  # type: ignore[union-attr]
    links = re.findall(r"https://gate.example/r/(\S+)", text)
    fewer = re.fullmatch("<https://gate.example/u/(.*)>", letter["List-Unsubscribe"])

    assert [LINKS.reaction.read(token, time.time()) for token in links] == [(judged, "was_urgent")]
    assert text.index("note 1") < text.index("was urgent") < text.index("note 0")
    assert text.count(" JST") == 2
    assert fewer is not None
    assert LINKS.unsubscribe.read(fewer[1], time.time()) == ANN


async def _states(client: Client, ids: Sequence[int]) -> list[str]:
    return [(await client.query("notification", id=str(id_)))[0]["state"] for id_ in ids]


async def _all_bundled(client: Client, ids: Sequence[int]) -> bool:
    return None not in await _vias(client, ids)
