"""What brokers get, as verbs: mail in, claims, hops, notes, money; and scripts of them that a seed makes."""

import random
from collections.abc import Callable, Sequence
from typing import Any

from serving import money
from serving.queue.store import history, hops, intake, ledger, operators
from serving.queue.store.group import Verb
from serving.queue.store.history import Increment
from serving.queue.store.hops import LeaseName, Pending
from serving.queue.store.intake import NewMessage
from serving.queue.store.ledger import Posting
from serving.queue.store.transaction import Foreseen, Transaction
from tests.integration.peers import LOOKUP, OWNER

STAGES = ("authentication", "classification", "triage", "encryption", "payment")
WALLET = f"wallet:{LOOKUP.hex()}"
EXPECTED = history.EXPECTED.pack(bytes(32), 1e9)


def accept(key: str | None = None, digest: bytes = b"d", recipients: int = 1) -> Verb:
    return foreseen(NewMessage("sender", b"body", [(LOOKUP, b"address")] * recipients, key, digest, {}, hops.NORMAL))


def accept_each(key: str, *people: int, digest: bytes = b"d") -> Verb:
    recipients = [(bytes([person]) * 32, b"address") for person in people]
    return foreseen(NewMessage("sender", b"body", recipients, key, digest, {}, hops.NORMAL, key_each=True))


def foreseen(new: NewMessage) -> Verb:
    return Foreseen(lambda t: intake.accept(t, new), keys=[(new.principal, key) for key in new.keys])


def claim(stage: str, count: int = 1) -> Verb:
    return lambda t: [row.row["id"] for row in hops.claim(t, stage, count, OWNER, 60.0)]


def complete(id_: int, outcome: str, fence: int = 1, **pending: Any) -> Verb:
    return on_lease(id_, fence, lambda t, name: hops.complete(t, name, outcome, Pending(**pending), None))


def note(id_: int, fence: int = 1, **facts: Any) -> Verb:
    return on_lease(id_, fence, lambda t, name: hops.note(t, name, "looked", facts))


def paid(id_: int) -> Verb:
    return lambda t: ledger.transfer(t, f"paid:{id_}", [Posting(WALLET, 1), Posting("clearing:x", -1)], "EUR")


def on_lease(id_: int, fence: int, act: Callable[[Transaction, LeaseName], None]) -> Verb:
    name = LeaseName(id_, fence, OWNER)
    return Foreseen(lambda t: act(t, name), lease=name)


def by_id(id_: int, act: Callable[[Transaction, str], Any]) -> Verb:
    return lambda t: act(t, str(id_))


def script(dice: random.Random) -> Sequence[Verb]:
    """What brokers get: mail that goes its way, and repetitions, mistakes and operators between."""
    verbs: list[Verb] = [accept(recipients=dice.randrange(1, 4)) for _ in range(6)]
    ways = [way(dice, id_) for id_ in range(1, 19)]
    while any(ways):
        going = dice.choice([each for each in ways if each])
        verbs += [claim(stage, 9) for stage in STAGES if dice.random() < 0.3]
        verbs.append(going.pop(0))
        if dice.random() < 0.1:
            verbs.append(something_else(dice))
    return verbs


def way(dice: random.Random, id_: int) -> list[Verb]:
    """A notification's hops, each tried often: whoever comes before it was claimed is refused."""
    analysed = dice.choice(["urgent", "urgent", "not_urgent"])
    hops_of_it = [
        complete(id_, "authenticated", 1),
        note(id_, 2, looked=id_),
        complete(id_, analysed, 2, seen=seen(dice, id_), reaction=EXPECTED, facts={"a": id_}),
        complete(id_, "enclosed", 3, envelope=b"mail", facts={"envelope": {}}),
        complete(id_, "held", 4, postings=money.hold(id_, WALLET, 1), currency="EUR", facts={"hold": {}}),
    ]
    return [hop for hop in hops_of_it for _ in range(6)]


def something_else(dice: random.Random) -> Verb:
    id_, fence = dice.randrange(1, 30), dice.choice([1, 1, 1, 2, 3])
    choices: list[Verb] = [
        accept(dice.choice([None, "k", str(id_)]), dice.choice([b"d", b"d", b"e"]), dice.randrange(1, 4)),
        accept_each(dice.choice(["k", "l"]), *dice.sample(range(1, 6), dice.randrange(1, 4))),
        complete(id_, dice.choice(["authenticated", "not_urgent", "discarded"]), fence, facts={"a": id_}),
        note(id_, fence, seen=id_),
        paid(id_),
        on_lease(id_, fence, lambda t, name: hops.retry(t, name, 0.0, "again")),
        on_lease(id_, fence, lambda t, name: hops.dead(t, name, "no")),
        by_id(id_, operators.retry),
        by_id(id_, lambda t, text: operators.kill(t, text, "no")),
        lambda t: hops.release(t, OWNER),
    ]
    return dice.choices(choices, [3, 2, 4, 3, 0.5, 0.5, 1, 1, 1, 0.02])[0]


def seen(dice: random.Random, id_: int) -> Sequence[Increment]:
    """Counters that several have in common; whose link is kept depends on the order."""
    return [Increment(bytes([dice.randrange(6)]) * 32, 1, float(id_), id_) for _ in range(3)]
