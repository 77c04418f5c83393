"""The report of a run: as JSON for programs, as a table for people."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from rich.table import Table

from tests.torture.payments import audit
from tests.torture.payments.books import Arrivals, Journal, Ledger, lines
from tests.torture.payments.play import Run
from tests.torture.payments.processes import Fleet
from tests.torture.payments.world import World
from training.provenance import provenance

MEANINGS = {
    "double_charged": "released or captured more than once; must be 0",
    "charged_undelivered": "charged, and we never read the receiver's 250; must be 0",
    "delivered_uncaptured": "we read the 250, and nobody paid; must be 0",
    "drift": "minor units by which the books disagree; must be 0",
    "open_holds": "money still set aside; must be 0",
    "lost": "neither delivered nor refused by the receiver; must be 0",
    "delivered": "notifications whose 250 we read",
    "dead": "refused by the receiver, the hold given back",
    "duplicates_of_lost_250": "the same mail again, because nobody heard the 250",
    "kills": "kill -9",
    "crashed": "ended by themselves, and started again",
    "provider_answers": "as the provider's clients understood them",
    "webhooks": "delivered copies; a hint each",
    "ledger": "the hash chain and every balance, derived anew",
    "seconds": "from the first publication to the last end",
}


def judged(
    world: World, run: Run, fleet: Fleet, arrivals: Arrivals, journal: Journal, ledger: Ledger
) -> dict[str, Any]:
    """Of a run that ended by itself, in time or not."""
    counts = audit.judge(run.cast, arrivals, journal, ledger)
    return _report(world, run, fleet, counts) | {"ledger": "intact" if ledger.intact else ledger.fault}


def partial(world: World, run: Run, fleet: Fleet, arrivals: Arrivals, journal: Journal) -> dict[str, Any]:
    """Of a run that was interrupted: what can only be judged at rest is None."""
    unknown = dict.fromkeys((*audit.MUST_BE_ZERO, "lost"))
    known = {"double_charged": audit.double_releases(journal), **audit.duplicates(arrivals)}
    counts = {**unknown, **known, "delivered": run.count("delivered"), "dead": run.count("dead")}
    return _report(world, run, fleet, counts) | {"ledger": "not judged", "interrupted": True}


def is_good(report: Mapping[str, Any]) -> bool:
    """Whether the run kept the promises."""
    return all(report[name] == 0 for name in (*audit.MUST_BE_ZERO, "lost")) and report["ledger"] == "intact"


def table(report: Mapping[str, Any]) -> Table:
    """For people."""
    drawn = Table(title=f"Payments' torture, {report['n']} notifications, seed {report['seed']}", show_header=False)
    drawn.add_column(style="bold")
    drawn.add_column(justify="right")
    drawn.add_column(style="dim")
    for name, meaning in MEANINGS.items():
        drawn.add_row(name, _cell(report[name]), meaning)
    return drawn


def _report(world: World, run: Run, fleet: Fleet, counts: Mapping[str, int | None]) -> dict[str, Any]:
    return {
        "n": run.wanted,
        "seed": world.seed,
        "bug": world.bug or None,
        "interrupted": False,
        **counts,
        "accepted": len(run.accepted),
        "recipients": len(run.cast.people),
        "paid": run.paid,
        "kills": dict(sorted(fleet.killed.items())),
        "crashed": dict(sorted(fleet.crashed.items())),
        "provider_answers": dict(
            sorted(Counter("{call}: {answer}".format(**line) for line in lines(world.answers)).items())
        ),
        "webhooks": _webhooks(world),
        "seconds": round(run.seconds, 1),
        **provenance("tests.torture.payments"),
    }


def _webhooks(world: World) -> dict[str, int]:
    """`reordered`: those that came the first time after one that was sent later."""
    sent = replayed = reordered = newest = 0
    for line in lines(world.webhooks):
        sent += line["copy"] == 0
        replayed += line["copy"] > 0
        reordered += line["copy"] == 0 and line["seq"] < newest
        newest = max(newest, line["seq"])
    return {"sent": sent, "replayed": replayed, "reordered": reordered}


def _cell(value: Any) -> str:
    if isinstance(value, dict):
        return "\n".join(f"{name} {count}" for name, count in value.items()) or "none"
    return "not judged" if value is None else str(value)
