"""What a recipient tells by a link reaches the store: once, for the right notification, and by nobody's guess."""

import time
from typing import Any

import pytest

from serving.gateway.ears import Reactions, Subscriptions
from serving.queue.client import Client
from serving.web.desk import BadToken
from serving.web.token import UNSUBSCRIBE_FOR, Links, Reaction
from serving.wishes.wish import Wishes
from tests.integration.stages import accept, kinds

LINKS = Links(b"k" * 32)
ANN = b"a" * 32


def ears(client: Client, now: float | None = None) -> tuple[Reactions, Subscriptions]:
    clock = time.time if now is None else lambda: now
    return Reactions(client, LINKS, clock), Subscriptions(client, LINKS, clock)


async def enrol(client: Client, wishes: dict[str, Any]) -> None:
    await client.execute("enroll_recipient", lookup=ANN.hex(), address="00", certificate=None, wishes=wishes, policy={})


async def wishes_of(client: Client) -> dict[str, Any]:
    (row,) = await client.query("recipient", lookup=ANN.hex())
    found: dict[str, Any] = row["wishes"]
    return found


@pytest.mark.parametrize("kind", ["acknowledged", "was_urgent", "not_urgent"])
async def test_a_reaction_is_heard_once_and_stands_in_the_history(client: Client, kind: Reaction) -> None:
    """A form that is sent twice must not move anybody's threshold twice."""
    id_ = await accept(client)
    reactions, _ = ears(client)
    token = LINKS.reaction.make(id_, kind, time.time() + 60)
    before = await reactions.matter(token)
    heard = [await reactions.hear(token) for _ in range(2)]

    assert (before.kind, before.is_told) == (kind, False)
    assert [(each.kind, each.is_told) for each in heard] == [(kind, True)] * 2
    assert (await kinds(client, id_)).count(kind) == 1


async def test_a_link_tells_one_thing_of_one_notification_until_its_time_is_over(client: Client) -> None:
    """Whoever may acknowledge must not be able to say that it was not urgent, nor speak of another mail."""
    id_ = await accept(client)
    reactions, subscriptions = ears(client)
    token = LINKS.reaction.make(id_, "acknowledged", time.time() + 60)
    forged = [
        token.replace("acknowledged", "not_urgent"),
        LINKS.pay.make(id_, time.time() + 60),
        Links(b"x" * 32).reaction.make(id_, "acknowledged", time.time() + 60),
        LINKS.reaction.make(id_ + 1, "acknowledged", time.time() + 60),
        "",
    ]
    for each in forged:
        for call in (reactions.matter, reactions.hear, subscriptions.hear):
            with pytest.raises(BadToken, match="forged"):
                await call(each)
    late, _ = ears(client, time.time() + 61)
    with pytest.raises(BadToken, match="expired"):
        await late.hear(token)

    assert await kinds(client, id_) == ["accepted"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {"digest_on": "monday"}),
        ({"digest_every": 3600, "not_urgent": "delay"}, {"digest_on": "monday", "not_urgent": "delay"}),
        (
            {"digest_at": ["07:30", "18:00"], "zone": "Asia/Tokyo"},
            {"digest_at": ["07:30"], "digest_on": "monday", "zone": "Asia/Tokyo"},
        ),
        ({"digest_on": "friday", "digest_at": "noon"}, {"digest_on": "friday"}),
    ],
)
async def test_fewer_digests_are_one_a_week_and_every_other_wish_stays(
    client: Client, before: dict[str, Any], after: dict[str, Any]
) -> None:
    """Nothing is discarded by it: mail that could wait still comes, in a digest a week."""
    await enrol(client, before)
    _, subscriptions = ears(client)
    token = LINKS.unsubscribe.make(ANN, time.time())
    asked, heard, again = (
        await subscriptions.matter(token),
        await subscriptions.hear(token),
        await subscriptions.hear(token),
    )
    weekly = Wishes.read(await wishes_of(client))
    first = weekly.next_digest(time.time())

    assert (asked.is_told, heard.is_told, again.is_told) == (False, True, True)
    assert await wishes_of(client) == after
    assert 6.9 * 86_400 < weekly.next_digest(first) - first < 7.1 * 86_400


async def test_who_is_registered_nowhere_has_no_digests(client: Client) -> None:
    """A link outlives what it was made for."""
    _, subscriptions = ears(client)
    with pytest.raises(BadToken):
        await subscriptions.hear(LINKS.unsubscribe.make(ANN, time.time()))
    with pytest.raises(BadToken, match="expired"):
        await subscriptions.hear(LINKS.unsubscribe.make(ANN, time.time() - UNSUBSCRIBE_FOR - 1))


async def test_wishes_that_changed_meanwhile_are_not_overwritten(client: Client) -> None:
    """A link is pressed while an operator changes something else."""
    await enrol(client, {"not_urgent": "delay"})
    stale = await client.execute("change_wishes", lookup=ANN.hex(), wishes={"x": 1}, held={"not_urgent": "digest"})
    fresh = await client.execute("change_wishes", lookup=ANN.hex(), wishes={"x": 2}, held={"not_urgent": "delay"})
    nobody = await client.execute("change_wishes", lookup="00" * 32, wishes={"x": 3}, held={})

    assert [stale["changed"], fresh["changed"], nobody["changed"]] == [False, True, False]
    assert await wishes_of(client) == {"x": 2}
