"""A scorer without a broker or a champion: a model that answers what a test wants, a store that holds what it says."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from nacl.public import PrivateKey
from numpy.typing import NDArray

from serving.errors import BrokerUnavailable
from serving.personal import Personal
from serving.scoring import Scorer
from serving.sealing import LookupKey, UnsealingKey
from serving.stage import Work
from training.artefact import Certificate, Thresholds
from training.render import Example

CONTENT = UnsealingKey(bytes(PrivateKey.generate()))
LOOKUP = LookupKey(bytes(32))
MAIL = (
    b"From: Ops <ops@example.org>\r\nTo: ada@example.net\r\nSubject: Disk full\r\nMessage-ID: <2@x>\r\n"
    b"In-Reply-To: <1@x>\r\nDate: Tue, 14 Nov 2023 22:13:20 +0000\r\n\r\ndb1 is full\r\n"
)


class FakeModel:
    """Answers with the score that the text asks for."""

    version = "7"

    def __init__(self, score: Callable[[Example], float], *certificates: Certificate):
        self._score = score
        self._certificates = {each.slice: each for each in certificates}
        self.thresholds = Thresholds(0.5, None, (0.4, 0.6))
        self.calls: list[list[Example]] = []
        self.lengths: set[int | None] = set()

    def certificate(self, *, is_automated: bool) -> Certificate | None:
        return self._certificates.get("machines" if is_automated else "people")

    def predict(self, examples: Sequence[Example], *, max_length: int | None = None) -> NDArray[np.float64]:
        self.calls.append(list(examples))
        self.lengths.add(max_length)
        return np.array([self._score(example) for example in examples])


class FakeStore:
    """Counters by digest; anything else about the store is tested with the real one."""

    def __init__(self) -> None:
        self.counters: dict[str, dict[str, Any]] = {}
        self.offset = 0.0
        self.is_up = True
        self.wishes: dict[str, Any] = {}
        self.policy: dict[str, Any] = {}

    def set(self, name: str, count: int, last: float = 0.0, link: int = 0) -> None:
        key = LOOKUP.counter(name).hex()
        self.counters[key] = {"key": key, "count": count, "last": last, "link": str(link)}

    async def query(self, name: str, /, **parameters: Any) -> list[dict[str, Any]]:
        if not self.is_up:
            raise BrokerUnavailable("no broker")
        if name == "offset":
            assert parameters["recipient"] == LOOKUP.address("ada@example.net").hex()
            return [{"log_odds": self.offset}]
        if name == "recipient":
            return [{"wishes": self.wishes}]
        if name == "sender_policy":
            return [{"policy": self.policy}]
        assert name == "counters"
        return [self.counters[key] for key in parameters["keys"] if key in self.counters]


def scorer(model: FakeModel, store: FakeStore | None = None, **options: Any) -> Scorer:
    return Scorer(store or FakeStore(), model, CONTENT, LOOKUP, **options)


def personal(store: FakeStore | None = None, now: float = 1.7e9) -> Personal:
    """What the recipient's own word does; nothing, without a store that holds wishes."""
    return Personal(store or FakeStore(), CONTENT, lambda: now)


def work(raw: bytes = MAIL, *, attempt: int = 1, ordinal: int = 0) -> Work:
    async def note(_: str, __: object) -> None: ...

    seal = CONTENT.sealing_key.seal
    address = "ada@example.net"
    return Work(
        1, 2, ordinal, attempt, LOOKUP.address(address), seal(address.encode()), "p1", {}, seal(raw), 1.7e9, note
    )


def always(score: float) -> Callable[[Example], float]:
    return lambda _: score


def certificate(slice_: str, threshold: float) -> Certificate:
    return Certificate(slice_, threshold, 0.01, 0.95, urgent=3000, lost=20, clustered=0.009)
