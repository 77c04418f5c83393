"""The payments' torture: python -m tests.torture.payments [--n 20000] [--seed 1] [--json]

N paid notifications pass payment, delivery and settlement while everything that can go wrong does: the provider times
out after committing, answers with web pages and refuses; its webhooks come twice and out of order; 250s are lost;
recipients pay late or do not exist; and broker, workers, provider and receiver are killed with -9. Then all is quiet,
the queue drains, and three books are compared from outside: the receiver's, the provider's, and our ledger (see
`audit`). Exit status 0 when they agree, 1 when not, 2 when it could not start, 130 when it was interrupted.

The seed decides the cast, which process is killed after how many seconds, which top-ups and 250s fail, and how their
webhooks are delayed and repeated. It does not decide what the operating system does: which instruction a kill hits,
which of two processes is first, and how fast the disk is; nor which releases fail and how their webhooks come, because
their keys hold ids that the broker makes of time and chance: the shares hold, the notifications are others. The same
seed is the same torture, not the same run.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console

from serving.errors import ClarionError, ConfigurationError
from serving.queue.client import Client
from serving.stopping import cancel_on_signals
from tests.torture.arguments import count, positive
from tests.torture.payments import report as reports
from tests.torture.payments.bank import BUGS
from tests.torture.payments.books import read_arrivals, read_journal, read_ledger
from tests.torture.payments.cast import cast
from tests.torture.payments.play import Pace, Play, Run
from tests.torture.payments.processes import Fleet, running
from tests.torture.payments.world import World

REPORT = Path("experiments/results/payments.json")
INTERRUPTED = 130


def main() -> int:
    """The command."""
    arguments = _parser().parse_args()
    console = Console(stderr=arguments.json)
    try:
        with _folder(arguments.keep) as folder:
            report = asyncio.run(_torture(World.create(folder, arguments.seed, arguments.bug or ""), arguments))
    except ClarionError as error:
        console.print(str(error), markup=False, highlight=False, soft_wrap=True)
        return 2
    arguments.report.parent.mkdir(parents=True, exist_ok=True)
    arguments.report.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    if arguments.json:
        print(json.dumps(report, indent=1))
    console.print(reports.table(report))
    if report["interrupted"]:
        return INTERRUPTED
    return 0 if reports.is_good(report) else 1


async def _torture(world: World, arguments: argparse.Namespace) -> dict[str, Any]:
    cancel_on_signals()
    run = Run(cast(world, arguments.n))
    limit = arguments.limit or 120.0 + arguments.n / 5
    with running(world) as fleet:
        try:
            await _perform(world, fleet, run, Pace(arguments.rate, arguments.every, limit))
            return await _judge(world, fleet, run)
        except asyncio.CancelledError:
            return reports.partial(world, run, fleet, read_arrivals(world.arrivals), read_journal(world.journal))


async def _perform(world: World, fleet: Fleet, run: Run, pace: Pace) -> None:
    client = await Client.connect(world.socket, timeout=60.0)
    try:
        await Play(world, fleet, client, run, pace).perform()
    except TimeoutError:
        print(f"not everything ended within {pace.limit:.0f} s; what did is judged", file=sys.stderr)
    finally:
        await client.close()


async def _judge(world: World, fleet: Fleet, run: Run) -> dict[str, Any]:
    client = await Client.connect(world.socket, timeout=60.0)
    try:
        ledger = await read_ledger(client, run.cast, run.accepted)
    finally:
        await client.close()
    return reports.judged(world, run, fleet, read_arrivals(world.arrivals), read_journal(world.journal), ledger)


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    if keep is None:
        with TemporaryDirectory(prefix="clarion-payments-", ignore_cleanup_errors=True) as name:
            yield Path(name)
        return
    if keep.exists():
        raise ConfigurationError(f"{keep} exists; name a new folder, or remove it")
    keep.mkdir(parents=True)
    yield keep


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.torture.payments", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--n", type=count, default=2_000, help="notifications (default %(default)s)")
    parser.add_argument("--seed", type=int, default=20261122, help="of everything that is random (default %(default)s)")
    parser.add_argument("--rate", type=positive, default=25.0, help="notifications a second (default %(default)s)")
    parser.add_argument("--every", type=positive, default=2.0, help="seconds between two kills (default %(default)s)")
    parser.add_argument(
        "--limit", type=positive, help="seconds for the run (default 120 and a fifth for each notification)"
    )
    parser.add_argument("--bug", choices=BUGS, help="make a mistake on purpose: the audit must find it")
    parser.add_argument("--report", type=Path, default=REPORT, help="where the JSON goes (default %(default)s)")
    parser.add_argument("--json", action="store_true", help="the JSON on standard output, the rest on standard error")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="leave books, store and logs in a new folder")
    return parser


if __name__ == "__main__":
    sys.exit(main())
