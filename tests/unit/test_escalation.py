"""What a watch does, by how things stand: the stage alone, with a store of a few rows."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.public import PrivateKey

from serving.acknowledging import AcknowledgeLinks
from serving.errors import Refused, Temporary, Unsealable
from serving.escalation.chain import Chain, Person, Place, Push, Step, read_chain, write_chain
from serving.escalation.push import Result
from serving.escalation.stage import SELDOM, SOON, TRIES, TRY_AGAIN, UNKNOWN, Escalation, Keys
from serving.pipeline import Acknowledged, Escalated, Exhausted, Outcome, Unwatched, Watching
from serving.sealing import LookupKey, UnsealingKey
from serving.web.token import Links
from tests.unit import works

NOW, DELIVERED = 1_795_600_000.0, 1_795_600_000.0 - 60.0
CONTENT, LOOKUP = UnsealingKey(bytes(PrivateKey.generate())), LookupKey(b"l" * 32)
CHAIN = Chain((Step(60.0, Person("grace@ops.example")), Step(30.0, Push("ntfys://a.example/secret"))), 2)
WATCHED = {
    "state": "delivered", "stage": None, "principal": "bank", "accepted_at": DELIVERED, "since": DELIVERED,
    "acknowledged_at": None, "unpaid": False, "killed": False, "bounced": False,
}  # fmt: skip


@dataclass
class Store:
    """One watched notification (7), one chain, and what was done."""

    watched: Mapping[str, Any] = field(default_factory=lambda: WATCHED)
    chain: Chain | None = CHAIN
    child: str = "queued"
    refuses: str = ""
    results: list[Result] = field(default_factory=list)
    sent: list[dict[str, Any]] = field(default_factory=list)
    noted: list[tuple[str, Any]] = field(default_factory=list)
    pushed: list[str] = field(default_factory=list)

    async def query(self, name: str, /, **parameters: Any) -> list[dict[str, Any]]:
        match name:
            case "watched":
                return [dict(self.watched)] if parameters["id"] == "7" else [{"state": self.child, "bounced": False}]
            case "escalation":
                return [{"chain": CONTENT.sealing_key.seal(write_chain(self.chain)).hex()}] if self.chain else []
            case _:
                assert (name, parameters) == ("principal", {"id": "bank"})
                return []

    async def execute(self, name: str, /, **parameters: Any) -> dict[str, Any]:
        assert name == "escalate"
        if self.refuses:
            raise Refused(self.refuses)
        self.sent.append(parameters)
        return {"id": "21"}

    async def push(self, to: Push, title: str, text: str) -> Result:
        assert self.noted[-1][0] == "pushing"
        self.pushed.append(f"{to.url} {title} {text}")
        return self.results.pop(0) if self.results else "sent"

    async def note(self, kind: str, facts: Mapping[str, Any]) -> None:
        self.noted.append((kind, facts["push"]))


async def handled(store: Store, *, at: float = NOW, **facts: Any) -> Outcome:
    links = AcknowledgeLinks("https://gate.example/r", Links(b"k" * 32))
    stage = Escalation(store, Keys(CONTENT, LOOKUP), links, store.push, lambda: at)
    work = works.work(id=11, facts={"watch": "7", **facts}, accepted_at=DELIVERED - 100.0, note=store.note)
    return await stage.handle(work)


def taken(round_: int, step: int, **facts: Any) -> dict[str, Any]:
    return {"taken": [round_, step, DELIVERED], "lost": False, "sent": None, "push": None, **facts}


@pytest.mark.parametrize("state", ["queued", "leased", "parked"])
async def test_what_has_not_left_is_waited_for(state: str) -> None:
    """Rarely, as it gets older; nobody has to be told of what nobody could have read."""
    for age, pause in ((10.0, SOON), (4_000.0, 1_000.0), (10**6, SELDOM)):
        watched = {**WATCHED, "state": state, "stage": "payment", "since": None}
        assert await handled(Store(watched), at=DELIVERED - 100.0 + age) == Watching(DELIVERED - 100.0 + age + pause)


async def test_before_its_time_no_step_is_taken() -> None:
    """It looks again just then; and the store's clock may be ahead of ours."""
    assert await handled(Store(), at=NOW - 10.0) == Watching(NOW)
    assert await handled(Store(), at=NOW - 0.1) == Watching(NOW + 0.9)


async def test_a_person_gets_a_notification_and_the_next_step_has_a_time() -> None:
    """Found by their keyed hash, addressed under the newest key."""
    store = Store()
    outcome = await handled(store)
    (sent,) = store.sent

    assert outcome == Escalated(1, 1, "mail", NOW, NOW + 30.0, 21)
    assert (sent["watch"], sent["round"], sent["step"]) == ("11", 1, 1)
    assert sent["recipient"] == LOOKUP.address("grace@ops.example").hex()
    assert CONTENT.unseal(bytes.fromhex(sent["address"])) == b"grace@ops.example"


async def test_a_push_is_written_down_before_it_is_sent() -> None:
    """A crash between the two sends it again; a crash before sends it once."""
    store = Store()
    outcome = await handled(store, **taken(1, 1))

    assert outcome == Escalated(1, 2, "apprise:ntfys", NOW, NOW + 60.0)
    assert store.noted == [("pushing", [1, 2, 1, 0])]
    assert len(store.pushed) == 1


@pytest.mark.parametrize(
    ("tries", "result", "noted", "is_over"),
    [
        ([1, 2, 1, 1], "failed", [("pushing", [1, 2, 2, 1]), ("push_failed", [1, 2, 2, 2])], False),
        ([1, 2, TRIES - 1, TRIES - 1], "failed", [("pushing", [1, 2, 3, 2]), ("push_failed", [1, 2, 3, 3])], True),
        ([1, 2, TRIES, TRIES], "failed", [], True),
        (None, "unknown", [("pushing", [1, 2, 1, 0])], False),
        ([1, 2, 1, 0], "unknown", [("pushing", [1, 2, 2, 0])], True),
        ([1, 2, UNKNOWN, 0], "sent", [], True),
        ([1, 1, 9, 9], "failed", [("pushing", [1, 2, 1, 0]), ("push_failed", [1, 2, 1, 1])], False),
    ],
)
async def test_a_push_is_tried_so_often_and_then_its_step_is_lost(
    tries: list[int] | None, result: Result, noted: list[tuple[str, list[int]]], is_over: bool
) -> None:
    """What has failed, and what nobody knows of, are counted apart, and by step."""
    store = Store(results=[result])
    if is_over:
        outcome = await handled(store, **taken(1, 1, push=tries))
        assert outcome == Escalated(1, 2, "apprise:ntfys", NOW, NOW + 60.0, is_lost=True)
    else:
        with pytest.raises(Temporary, match="a push by ntfys was not sent") as again:
            await handled(store, **taken(1, 1, push=tries))
        assert again.value.retry_after == TRY_AGAIN
    assert store.noted == noted


async def test_what_reached_nobody_is_not_waited_for() -> None:
    """Undeliverable mail, a body that is gone, a mailbox that is none: the next step comes at once."""
    dead = {**WATCHED, "state": "dead", "since": NOW}
    assert isinstance(await handled(Store(dead)), Escalated)
    gone = await handled(Store(refuses="incomplete"))
    assert gone == Escalated(1, 1, "mail", NOW, NOW, is_lost=True)
    assert isinstance(await handled(Store(), at=DELIVERED, **taken(1, 1, lost=True)), Escalated)
    assert isinstance(await handled(Store(child="dead"), at=DELIVERED, **taken(1, 1, sent="21")), Escalated)
    assert isinstance(await handled(Store(), at=DELIVERED, **taken(1, 1, sent="21")), Watching)


async def test_any_other_refusal_is_not_swallowed() -> None:
    """A store that fails is asked again."""
    with pytest.raises(Refused, match="storage"):
        await handled(Store(refuses="storage"))


@pytest.mark.parametrize(
    ("facts", "watched", "outcome"),
    [
        ({}, {"acknowledged_at": 5.0}, Acknowledged(5.0, 0, 0)),
        ({}, {"acknowledged_at": 5.0, "state": "leased", "stage": "payment"}, Acknowledged(5.0, 0, 0)),
        ({"acknowledged": {"at": 6.0, "round": 1, "step": 1, "kind": "was_urgent"}}, {}, Acknowledged(6.0, 1, 1)),
        (taken(2, 2), {}, Exhausted(2)),
        ({}, {"unpaid": True, "state": "dead"}, Unwatched("nobody paid for it")),
        ({}, {"state": "deferred", "stage": "digest"}, Unwatched("nobody paid for it")),
        ({}, {"killed": True, "state": "dead"}, Unwatched("an operator gave it up")),
    ],
)
async def test_how_a_watch_ends(facts: dict[str, Any], watched: dict[str, Any], outcome: Outcome) -> None:
    """Somebody has it; nobody has it; nobody paid for it."""
    store = Store({**WATCHED, **watched})

    assert await handled(store, **facts) == outcome
    assert (store.sent, store.pushed) == ([], [])


async def test_a_chain_that_is_gone_ends_the_watch_and_another_key_does_not() -> None:
    """A key that is missing comes back; a chain that was taken away was taken away."""
    assert await handled(Store(chain=None)) == Unwatched("there is no chain")
    stage = Escalation(
        Store(), Keys(UnsealingKey(b"x" * 32), LOOKUP), AcknowledgeLinks("", Links(b"k")), Store().push, lambda: NOW
    )
    with pytest.raises(Unsealable):
        await stage.handle(works.work(facts={"watch": "7"}))


def test_a_chain_is_gone_through_in_order_and_so_often() -> None:
    """And one that got shorter meanwhile goes on with its next round."""
    places = [Place(), Place(1, 1), Place(1, 2), Place(2, 1), Place(2, 2)]

    assert [CHAIN.following(place) for place in places] == [*places[1:], None]
    assert CHAIN.following(Place(1, 9)) == Place(2, 1)
    assert CHAIN.following(Place(2, 9)) is None
    assert CHAIN.following(Place(3, 1)) is None


def test_a_broken_channel_does_not_hurry_rounds_through() -> None:
    """A chain of nothing but broken channels would be over in seconds."""
    waits = [
        [CHAIN.wait(Place(*place), is_lost=lost) for place in ((0, 0), (1, 1), (1, 2), (2, 2))]
        for lost in (False, True)
    ]

    assert waits == [[60.0, 30.0, 60.0, 60.0], [0.0, 0.0, 60.0, 60.0]]


_TARGETS = st.builds(Person, st.text(min_size=1)) | st.builds(Push, st.text(min_size=1))


@given(
    st.builds(Chain, st.lists(st.builds(Step, st.floats(1, 1e6), _TARGETS), min_size=1).map(tuple), st.integers(1, 10))
)
def test_a_chain_is_read_as_it_was_written(chain: Chain) -> None:
    """Whatever addresses and URLs hold."""
    assert read_chain(write_chain(chain)) == chain
