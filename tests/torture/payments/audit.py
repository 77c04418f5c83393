"""What the three books say together.

`delivered` is a notification whose 250 we read. The five that must be 0:

- `double_charged`: notifications for which the provider released more than once, under whatever key, or our ledger
  captured more than once.
- `charged_undelivered`: notifications that were captured or released although we never read a 250 for them, or claim to
  have read one that the receiver never gave.
- `delivered_uncaptured`: notifications that were delivered and not captured, or whose money was not released.
- `drift`: minor units by which the books disagree: what the provider keeps for each payer and what lies in that payer's
  wallet and holds; what it charged and the clearing account; what it released and the revenue; and what it charged a
  payer beyond the one payment that the payer made.
- `open_holds`: holds with a balance.

`lost`: notifications that were not accepted, or neither delivered nor refused by the receiver, or delivered and not in
the receiver's book. A mail that the receiver took more than once is `duplicates_of_lost_250`: allowed, because a 250
that nobody read cannot be told from none.
"""

from collections import Counter
from collections.abc import Mapping

from tests.torture.payments.books import Arrivals, Entry, Journal, Ledger
from tests.torture.payments.cast import Cast

MUST_BE_ZERO = ("double_charged", "charged_undelivered", "delivered_uncaptured", "drift", "open_holds")

Counts = Mapping[str, int]


def judge(cast: Cast, arrivals: Arrivals, journal: Journal, ledger: Ledger) -> Counts:
    """The counts by name, of a run in which nothing moves any more."""
    counts: Counter[str] = Counter(dict.fromkeys((*MUST_BE_ZERO, "lost", "delivered", "dead"), 0))
    counts["lost"] = len(cast.recipients) - len(ledger.entries)
    for entry in ledger.entries:
        releases, was_read = journal.releases[entry.id], entry.has_receipt and arrivals.answered[entry.id] > 0
        is_charged, is_settled = entry.captures + releases > 0, min(entry.captures, releases) > 0
        counts["double_charged"] += max(entry.captures, releases) > 1
        counts["charged_undelivered"] += is_charged and not was_read
        counts["delivered_uncaptured"] += entry.has_receipt and not is_settled
        counts["open_holds"] += entry.held != 0
        counts["lost"] += not _has_ended_well(
            entry, arrivals.taken[entry.id], exists=cast.people[entry.recipient].exists
        )
        counts["delivered"] += entry.has_receipt
        counts["dead"] += entry.state == "dead"
    counts["drift"] = _drift(cast, journal, ledger)
    return {**counts, **duplicates(arrivals)}


def duplicates(arrivals: Arrivals) -> Counts:
    """What the receiver's book alone tells."""
    twice = sum(count - 1 for count in arrivals.taken.values())
    return {"duplicates_of_lost_250": twice, "lost_250": arrivals.taken.total() - arrivals.answered.total()}


def double_releases(journal: Journal) -> int:
    """What the provider's book alone tells, at any time."""
    return sum(1 for count in journal.releases.values() if count > 1)


def _has_ended_well(entry: Entry, taken: int, *, exists: bool) -> bool:
    if exists:
        return entry.state == "delivered" and entry.has_receipt and taken > 0
    return entry.state == "dead" and not taken


def _drift(cast: Cast, journal: Journal, ledger: Ledger) -> int:
    held = Counter[int]()
    for entry in ledger.entries:
        held[entry.recipient] += entry.held
    drift = abs(journal.charged.total() + ledger.clearing) + abs(journal.released - ledger.revenue)
    for recipient, person in enumerate(cast.people):
        drift += abs(journal.kept[person.payer] - ledger.wallets[recipient] - held[recipient])
        drift += max(0, journal.charged[person.payer] - person.amount)
    return drift
