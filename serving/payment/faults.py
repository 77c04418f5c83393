"""What goes wrong at the sandbox provider: on request, at a stated rate, the same again from the same seed."""

import hashlib
from collections import Counter
from collections.abc import Mapping
from enum import StrEnum


class Fault(StrEnum):
    """A way in which a provider fails."""

    TIMEOUT = "timeout"  # commits and never answers
    HTML = "html"  # commits and answers with a web page
    ERROR = "error"  # answers 503 and commits nothing
    NEEDS_PAYER = "needs_payer"  # a charge: answers 402 with a page for the payer and commits nothing


class Faults:
    """Draws a request's fault from the seed, its key and how often that key was seen, not from the order of arrival."""

    def __init__(self, rates: Mapping[Fault, float], seed: int) -> None:
        """`rates` are shares of requests, each in 0..1, with a sum of 1 at most; ValueError otherwise."""
        if any(not 0 <= rate <= 1 for rate in rates.values()) or sum(rates.values()) > 1:
            raise ValueError("fault rates lie in 0..1 and add up to 1 at most")
        self._rates = dict(rates)
        self._seed = seed
        self._seen: Counter[str] = Counter()

    def draw(self, key: str) -> Fault | None:
        """The fault of this request, None for none."""
        if not self._rates:
            return None
        self._seen[key] += 1
        digest = hashlib.sha256(f"{self._seed}:{key}:{self._seen[key]}".encode()).digest()
        point = int.from_bytes(digest[:8]) / 2**64
        for fault, rate in self._rates.items():
            if point < rate:
                return fault
            point -= rate
        return None


def parse_fault(text: str) -> tuple[Fault, float]:
    """`timeout=0.1` as a pair; ValueError with what to write instead."""
    name, _, rate = text.partition("=")
    try:
        return Fault(name), float(rate)
    except ValueError:
        names = ", ".join(fault.value for fault in Fault)
        raise ValueError(f"{text!r}: write KIND=RATE, KIND one of {names}, RATE in 0..1") from None
