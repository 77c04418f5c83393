"""What a demo's report says, judged from outside: the ids in the 202s, the receiver's Maildir, the provider's log."""

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from email.parser import BytesHeaderParser
from pathlib import Path
from typing import Any

from serving.identifiers import format_id

FINAL = frozenset({"delivered", "discarded", "rejected", "dead"})
WAITING = frozenset({"deferred", "parked"})
IN_FLIGHT = "in_flight"


@dataclass(frozen=True, slots=True)
class Found:
    """What the API answered for one id: its state, and the digest that carried it (a public id), if any."""

    state: str
    via: str | None = None


@dataclass(frozen=True, slots=True)
class Money:
    """What the provider's own log says."""

    double_charged: int
    charged_undelivered: int
    delivered_paid: int
    charged: int
    released: int


def received(maildir: Path) -> Counter[str]:
    """How often each notification (public id) lies in the receiver's Maildir."""
    parser = BytesHeaderParser()
    arrived: Counter[str] = Counter()
    for folder in ("new", "cur"):
        for file in sorted((maildir / folder).glob("*")):
            with file.open("rb") as octets:
                arrived[str(parser.parse(octets).get("Clarion-Notification", "")).strip()] += 1
    return arrived


def money(log: Path, arrived: Mapping[str, int], paid: Collection[str]) -> Money:
    """Charges and releases as the provider committed them; `paid` are the keys under which recipients paid.

    Charged double is: a notification whose money was released more than once, under whatever key, and a charge that no
    recipient made.
    """
    operations = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()] if log.exists() else []
    releases = Counter(_notification(each["key"]) for each in operations if each["verb"] == "release")
    charges = Counter(each["key"] for each in operations if each["verb"] == "charge")
    twice = sum(count - 1 for count in (*releases.values(), *charges.values()))
    return Money(
        double_charged=twice + sum(1 for key in charges if key not in paid),
        charged_undelivered=sum(1 for id_ in releases if not arrived.get(id_)),
        delivered_paid=sum(1 for id_ in releases if arrived.get(id_)),
        charged=sum(each["amount"] for each in operations if each["verb"] == "charge"),
        released=sum(each["amount"] for each in operations if each["verb"] == "release"),
    )


def tally(accepted: Iterable[str], found: Mapping[str, Found | None], arrived: Mapping[str, int]) -> dict[str, int]:
    """Counts of accepted notifications by where they are; `unaccounted` are those whose state the evidence belies.

    Accounted for is: an end or a wait that the API tells, and, for what it calls delivered, the mail itself (or the
    digest that carried it) in the Maildir; for anything else, no mail there.
    """
    counts = Counter(dict.fromkeys((*sorted(FINAL | WAITING), IN_FLIGHT, "unaccounted"), 0))
    for id_ in accepted:
        each = found.get(id_)
        state = IN_FLIGHT if each is None or each.state not in FINAL | WAITING else each.state
        counts[state] += 1
        counts["unaccounted"] += not _is_accounted(id_, each, arrived)
    return dict(counts)


def unjudged(accepted: Iterable[str], arrived: Mapping[str, int]) -> dict[str, int | None]:
    """The same counts for a run that was cut short: only what the Maildir shows is known, the rest is None."""
    counts: dict[str, int | None] = dict.fromkeys((*sorted(FINAL | WAITING), IN_FLIGHT, "unaccounted"))
    return counts | {"delivered": sum(1 for id_ in accepted if arrived.get(id_, 0) > 0)}


def _is_accounted(id_: str, found: Found | None, arrived: Mapping[str, int]) -> bool:
    if found is None or found.state not in FINAL | WAITING:
        return False
    if found.state == "delivered":
        return arrived.get(found.via or id_, 0) > 0
    return arrived.get(id_, 0) == 0


def found_in(answer: Mapping[str, Any]) -> Found:
    """The state and the digest in the API's answer for one id."""
    via = next((event["detail"]["via"] for event in answer["history"] if "via" in event["detail"]), None)
    return Found(answer["state"], None if via is None else format_id(int(via)))


def _notification(key: str) -> str:
    """The public id of the notification that a release's key begins with; a key that names none stands for itself."""
    id_ = key.partition(":")[0]
    return format_id(int(id_)) if id_.isdecimal() else key
