"""`make bench-queue`: the queue beside those that a user would pick, in one run, taking turns, on this machine.

`QUICK=1` takes fewer repeats of the same; nothing is ever taken from an earlier run.
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from experiments.benchmarks.measuring import Measured, table
from experiments.benchmarks.queue import durable, paying, steady, transport
from experiments.benchmarks.queue.peers import NOT_DURABLE, PEERS
from training.provenance import provenance

REPORT = Path("experiments/results/queue.json")
COUNTS = {durable.OURS: 4_000, durable.OURS_POSTGRESQL: 1_000}
COUNTS |= {"pgmq, batches of 50": 4_000, "JetStream (not durable)": 500}
COUNTS |= {
    "JetStream, sync always": 200,
    "DBOS, PostgreSQL": 100,
    "procrastinate": 100,
    "huey, SQLite": 200,
    "Celery, Redis": 100,
}

Rows = Mapping[str, Mapping[str, Measured]]


def main() -> None:
    """Runs what is asked for, prints the tables, writes the report."""
    arguments = _arguments()
    with TemporaryDirectory(prefix="clarion-bench-") as name:
        report = run(Path(name), quick=arguments.quick, messages=arguments.messages)
    arguments.report.parent.mkdir(parents=True, exist_ok=True)
    arguments.report.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(f"\nratio to the best durable peer, five stages: {report['ratio_to_best_durable_peer']:.2f}")
    print(
        "fsyncs for 100 accepted: " + ", ".join(f"{n} ({who})" for who, n in report["fsyncs_per_100_accepted"].items())
    )
    print(
        "{pairs_per_s[median]:,.0f} holds and captures/s; {share_of_time:.0%} of the time".format(**report["payments"])
    )
    print("urgent, p99: {p99_ms:.0f} ms while {normal_waiting_at_last:,} or more wait".format(**report["urgent"]))
    print("memory: {growth_mib:+.1f} MiB over {messages:,} messages".format(**report["memory"]))
    print(f"{arguments.report} has the repeats")


def run(folder: Path, *, quick: bool, messages: int) -> dict[str, Any]:
    """Everything, and the report of it."""
    repeats, seconds = (2, 0.15) if quick else (7, 0.7)
    about = provenance("experiments.benchmarks.queue")
    trips = transport.measure(_sub(folder, "transport"), repeats, seconds)
    floor = durable.floor(_sub(folder, "floor"), repeats, seconds)
    accepted = durable.accepted(_sub(folder, "accepted"), repeats, seconds * 2)
    fsyncs = durable.fsyncs(_sub(folder, "fsyncs"))
    share = 0.2 if quick else 1.0
    counts = {name: max(int(count * share), 50) for name, count in COUNTS.items()}
    stages = durable.five_stages(_sub(folder, "stages"), 2 if quick else 5, counts)
    money = paying.measure(_sub(folder, "paying"), 2 if quick else 5, 500 if quick else 3_000)
    urgent = steady.urgent(_sub(folder, "urgent"), 2_000 if quick else 100_000, 50 if quick else 500)
    memory = steady.memory(_sub(folder, "memory"), messages or (1_000 if quick else 50_000))
    for title, rows, unit, form in (
        ("round trip", trips["round trip"], "µs", ",.0f"),
        ("pipelined", trips["pipelined"], "trips/s", ",.0f"),
        ("disk", {"SQLite, plain inserts (floor)": floor}, "rows/s", ",.0f"),
        ("accepting", accepted, "accepted/s", ",.0f"),
        ("five stages", {name: {"notifications/s": each} for name, each in stages.items()}, "median (min–max)", ",.0f"),
    ):
        print("\n" + table(title, rows, unit, form))
    return {
        **about,
        "quick": quick,
        "round_trip_us": _plain(trips["round trip"]),
        "pipelined_per_s": _plain(trips["pipelined"]),
        "floor_rows_per_s": _plain({"floor": floor})["floor"],
        "accepted_per_s": _plain(accepted),
        "fsyncs_per_100_accepted": fsyncs,
        "five_stages_per_s": {name: each.report() for name, each in stages.items()},
        "payments": money,
        "urgent": urgent,
        "memory": memory,
        **ratios(stages, accepted, floor),
    }


def ratios(stages: Mapping[str, Measured], accepted: Rows, floor: Mapping[str, Measured]) -> dict[str, float]:
    """What the claims are about, each from the medians of this run."""
    mine = stages[durable.OURS].median
    peers = {name: stages[name].median for name in PEERS if name in stages and name not in NOT_DURABLE}
    return {
        "ratio_to_best_durable_peer": mine / max(peers.values()),
        **{f"ratio_to {name}": mine / median for name, median in peers.items()},
        "five_stages_to_floor": mine / floor[f"{durable.ROWS_A_COMMIT} a commit"].median,
        "accepted_at_16_to_floor": accepted[durable.OURS]["16 clients"].median / floor["16 a commit"].median,
    }


def _plain(rows: Rows) -> dict[str, dict[str, object]]:
    return {name: {column: each.report() for column, each in row.items()} for name, row in rows.items()}


def _sub(folder: Path, name: str) -> Path:
    made = folder / name
    made.mkdir()
    return made


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m experiments.benchmarks.queue", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under a minute")
    parser.add_argument("--messages", type=int, default=0, help="for memory; 1,000,000 takes a quarter of an hour")
    parser.add_argument("--report", type=Path, default=REPORT, help="where the JSON goes (default: %(default)s)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
