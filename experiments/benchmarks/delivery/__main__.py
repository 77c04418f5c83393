"""`make bench-delivery`: what comes in by SMTP and goes out again, beside Postfix, in one run on one disk.

`QUICK=1` takes fewer mails and repeats of the same; nothing is ever taken from an earlier run.
"""

import argparse
import asyncio
import json
import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console

from experiments.benchmarks.delivery import champions, people, report, steady, throughput
from experiments.benchmarks.delivery.arrivals import SEED
from experiments.benchmarks.delivery.histories import histories
from experiments.benchmarks.delivery.house import running, settings_for
from experiments.benchmarks.delivery.smtp import LENGTH, SESSIONS, Load, sink
from experiments.benchmarks.delivery.throughput import Ours, Relay
from experiments.benchmarks.measuring import Measured
from serving.demo.running import free_ports
from serving.errors import ClarionError
from training.provenance import provenance

REPORT = Path("experiments/results/delivery.json")
LOAD = Load(people.FROM, people.RECIPIENT)


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured: repeats, mails in each, seconds at a steady rate, and how many others wait meanwhile."""

    repeats: int
    accepted: int
    relayed: int
    sealed: int
    accepting: float
    urgent: float
    others: int


WHOLE = Size(repeats=5, accepted=3_000, relayed=1_500, sealed=100, accepting=30.0, urgent=60.0, others=10_000)
QUICK = Size(repeats=1, accepted=200, relayed=100, sealed=10, accepting=2.0, urgent=2.0, others=50)


def main() -> int:
    """Runs what is asked for, prints the tables, writes the report."""
    arguments = _arguments()
    console = Console(stderr=arguments.json)
    for program in ("smtp-source", "smtp-sink"):
        if shutil.which(program) is None:
            console.print(f"no {program}; `make bench-delivery` installs it")
            return 2
    try:
        with TemporaryDirectory(prefix="clarion-bench-", ignore_cleanup_errors=True) as name:
            found = run(Path(name), QUICK if arguments.quick else WHOLE) | {"quick": arguments.quick}
    except ClarionError as error:
        console.print(str(error), markup=False, highlight=False, soft_wrap=True)
        return 2
    except KeyboardInterrupt:
        console.print("interrupted; nothing is left running, and no report was written")
        return 130
    arguments.report.parent.mkdir(parents=True, exist_ok=True)
    arguments.report.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    if arguments.json:
        print(json.dumps(found, indent=1))
    report.show(console, found)
    console.print(f"{arguments.report} has the repeats")
    return 0


def run(folder: Path, size: Size) -> dict[str, Any]:
    """Everything, and the report of it."""
    about = provenance("experiments.benchmarks.delivery")
    found = {**about, "seed": SEED, "sessions": SESSIONS, "octets": LENGTH, "mails": asdict(size)}
    found |= _alone(folder / "alone", size)
    with throughput.relaying() as peer:
        return found | _open(folder / "open", size, peer) | _sealed(folder / "sealed", size, peer)


def _alone(home: Path, size: Size) -> dict[str, Any]:
    """Accepting, and nobody does anything with what was accepted."""
    home.mkdir()
    (port,) = free_ports(1)
    settings = settings_for(home / "home", smtp_port=port)
    with running(settings, champions.constant(home / "champion"), alone=True) as program:
        asyncio.run(people.enrol_open(settings))
        ours = Ours(settings.intake_port, program)
        accepted = throughput.accepted(ours, LOAD, size.repeats, size.accepted)
        at_rate = asyncio.run(steady.accepting(settings.intake_port, size.accepting))
    return {
        "accepted_per_s": _plain(accepted.rates),
        "accepted_processor_ms": _plain(accepted.costs),
        "accept_ratio": _reported(accepted.ratios),
        "accept_at_rate": dict(at_rate),
    }


def _open(home: Path, size: Size, peer: Relay) -> dict[str, Any]:
    """The fixed prediction, unsealed, nobody pays; every other hop is real."""
    home.mkdir()
    with ExitStack() as stack:
        mine = stack.enter_context(sink())
        settings = settings_for(home / "home", smtp_port=mine.port)
        program = stack.enter_context(running(settings, champions.constant(home / "champion")))
        asyncio.run(people.enrol_open(settings))
        ours = Ours(settings.intake_port, program)
        relayed = throughput.relayed(ours, mine, peer, LOAD, size.repeats, size.relayed)
        at_rate = asyncio.run(steady.accepting(settings.intake_port, size.accepting))
        mine.wait_for(mine.count + at_rate["mails"], steady.PATIENCE)
        asked = asyncio.run(histories(settings))
    return {
        "relayed_per_s": _plain(relayed.rates),
        "relayed_processor_ms": _plain(relayed.costs),
        "relay_ratio": _reported(relayed.ratios),
        "accept_at_rate_whole": dict(at_rate),
        "histories": dict(asked),
    }


def _sealed(home: Path, size: Size, peer: Relay) -> dict[str, Any]:
    """The full path: the real model, sealed to the recipient's key, paid from the recipient's wallet."""
    home.mkdir()
    (port,) = free_ports(1)
    settings = settings_for(home / "home", smtp_port=port)
    with running(settings, champions.starter(home / "champion")) as program:
        asyncio.run(people.enrol_sealed(settings))
        urgent = asyncio.run(steady.urgent(settings, size.others, size.urgent))
        ours = Ours(settings.intake_port, program)
        with sink(port) as mine:
            relayed = throughput.relayed(ours, mine, peer, LOAD, size.repeats, size.sealed)
        asked = asyncio.run(histories(settings))
    return {
        "urgent": dict(urgent),
        "full_path_per_s": _plain(relayed.rates),
        "full_path_processor_ms": _plain(relayed.costs),
        "full_path_ratio": _reported(relayed.ratios),
        "histories_full_path": dict(asked),
    }


def _plain(rows: Mapping[str, Mapping[str, Measured]]) -> dict[str, dict[str, object]]:
    return {name: _reported(row) for name, row in rows.items()}


def _reported(row: Mapping[str, Measured]) -> dict[str, object]:
    return {column: each.report() for column, each in row.items()}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m experiments.benchmarks.delivery", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under a minute")
    parser.add_argument("--json", action="store_true", help="the JSON on standard output, the rest on standard error")
    parser.add_argument("--report", type=Path, default=REPORT, help="where the JSON goes (default: %(default)s)")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
