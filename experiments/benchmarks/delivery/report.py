"""The report as a person reads it: ours beside Postfix, what was asked for, and whether it was met."""

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

ACCEPT_RATIO, RELAY_RATIO, ACCEPT_P99_MS, URGENT_P99_MS = 0.5, 0.3, 50.0, 2_000.0


_TITLES = {"accept": "accepted", "relay": "relayed, fixed prediction, unsealed, unpaid", "full_path": "the full path"}
_NAMES = {"accept": "accepted", "relay": "relayed", "full_path": "full_path"}


def show(console: Console, found: Mapping[str, Any]) -> None:
    """The tables."""
    for way in found["accept_ratio"]:
        console.print(_rates(found, way))
    console.print(_claims(found))


def _rates(found: Mapping[str, Any], way: str) -> Table:
    title = f"the same smtp-source load, {way}: median (least–most)"
    table = Table("", "ours, mails/s", "Postfix, mails/s", "ratio", "processor ms a mail", title=title)
    for key, name in _TITLES.items():
        rates, costs = found[f"{_NAMES[key]}_per_s"], found[f"{_NAMES[key]}_processor_ms"]
        cells = (_cell(rates[who][way], ",.0f") for who in ("ours", "Postfix"))
        spent = " / ".join(f"{costs[who][way]['median']:.1f}" for who in ("ours", "Postfix"))
        table.add_row(name, *cells, _cell(found[f"{key}_ratio"][way], ".2f"), spent)
    return table


def _claims(found: Mapping[str, Any]) -> Table:
    table = Table("claim", "wanted", "found", "")
    for what, wanted, value, is_met in _judged(found):
        table.add_row(what, wanted, value, "met" if is_met else "missed")
    return table


def _judged(found: Mapping[str, Any]) -> Iterator[tuple[str, str, str, bool]]:
    for name, least in (("accept_ratio", ACCEPT_RATIO), ("relay_ratio", RELAY_RATIO)):
        for way, each in found[name].items():
            yield f"{name}, {way}", f"≥ {least}", f"{each['median']:.2f}", each["median"] >= least
    for name, key, most in (
        ("accepting at 100/s, p99", "accept_at_rate", ACCEPT_P99_MS),
        ("the same while all stages work", "accept_at_rate_whole", ACCEPT_P99_MS),
        ("urgent at 20/s, p99", "urgent", URGENT_P99_MS),
    ):
        p99 = found[key]["p99_ms"]
        yield name, f"≤ {most:,.0f} ms", f"{p99:,.0f} ms", p99 <= most
    for key in ("histories", "histories_full_path"):
        asked = found[key]
        yield key, "every id", f"{asked['whole']:,} of {asked['ids']:,}", asked["whole"] == asked["ids"]


def _cell(measured: Mapping[str, Any], form: str) -> str:
    return f"{measured['median']:{form}} ({measured['min']:{form}}–{measured['max']:{form}})"
