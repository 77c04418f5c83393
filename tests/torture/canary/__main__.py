"""The canary: python -m tests.torture.canary [--n 200] [--seed 1] [--leak store|log|scratch] [--json]

N notifications, each with one random token in its subject and another in its body, pass through a running `clarion
serve` while its processes are killed with -9. Once everything is killed at the same time, and in the end it is stopped
in order; both times every file that it owns is searched for every token, in every form in which text is written down:
store, WAL, logs, ledger, provider's log, MLflow, BentoML, Maildir, temporary files, shared memory, core files. Files
without a name that a process holds open are searched while it runs. The last line is `canaries N, files F, hits H`.

Exit status 0 when no token was found, 1 when one was, 2 when it could not run or the canaries did not fly: each must
have a history, the recipients must be able to read what is said to be delivered, and no process with keys or plaintext
may be one that dumps core. 130 when it was interrupted.

The seed decides which notice is written, and who is killed after how many seconds; tokens are never the same again.
"""

import argparse
import asyncio
import json
import shutil
import sys
import time
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import asdict
from pathlib import Path
from random import Random
from tempfile import mkdtemp
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from serving.errors import ClarionError, ConfigurationError
from serving.queue.client import Client
from serving.stopping import cancel_on_signals
from tests.torture.arguments import count, positive
from tests.torture.canary.cast import Cast, enrol
from tests.torture.canary.house import House
from tests.torture.canary.leaks import LEAKS
from tests.torture.canary.places import Found, Places
from tests.torture.canary.play import Play
from tests.torture.canary.posting import Post
from tests.torture.canary.proof import faults, opened
from tests.torture.canary.search import Search, size_of
from tests.torture.canary.tokens import Tokens

INTERRUPTED = 130


def main() -> int:
    """The command."""
    arguments = _parser().parse_args()
    console = Console(stderr=True, highlight=False)
    try:
        with _house(arguments.keep) as house, _progress(console) as progress:
            report = asyncio.run(Run(house, arguments, progress).perform())
    except ClarionError as error:
        console.print(str(error), markup=False, soft_wrap=True)
        return 2
    except asyncio.CancelledError:
        console.print("interrupted; nothing is left running")
        return INTERRUPTED
    _publish(report, arguments, console)
    if report["hits"]:
        return 1
    return 2 if report["faults"] else 0


class Run:
    """One run in a house."""

    def __init__(self, house: House, arguments: argparse.Namespace, progress: Progress) -> None:
        self._house, self._arguments, self._progress = house, arguments, progress
        self._tokens = Tokens()
        self._found = Found()
        self._places = Places(house)

    async def perform(self) -> dict[str, Any]:
        """The report.

        Raises:
            ConfigurationError: it does not start, or something in it does not answer.
        """
        cancel_on_signals()
        began = time.monotonic()
        try:
            fallen = await self._perform()
        finally:
            self._house.crash()
        hits = [asdict(hit) for hit in self._found.hits.values()]
        return {
            "n": self._arguments.n,
            "seed": self._arguments.seed,
            "leaks": self._arguments.leak,
            "hits": hits,
            "files": len(self._found.files),
            **fallen,
            "seconds": round(time.monotonic() - began, 1),
        }

    async def _perform(self) -> dict[str, Any]:
        await self._start("starting")
        cast = await enrol(self._house.settings)
        async with AsyncExitStack() as resources:
            post = Post(self._house.url, self._house.settings.intake_port, cast.api_key)
            resources.push_async_callback(post.close)
            client = await Client.connect(self._house.settings.socket, timeout=60.0)
            resources.push_async_callback(client.close)
            random = Random(self._arguments.seed)  # noqa: S311 - to be repeated, not to be secret
            play = Play(self._house, post, client, self._tokens, random, self._arguments.n)
            resources.push_async_callback(play.abandon)
            return await self._fly(play, cast)

    async def _fly(self, play: Play, cast: Cast) -> dict[str, Any]:
        unsafe = [f"a crash would write down the memory of {name}" for name in self._house.dumpable()]
        flight = self._progress.add_task("canaries", total=self._arguments.n)
        async with _beside(play.look_into_unlinked_files(Search(self._tokens), self._found)):
            async with _beside(play.kill_at_random(self._arguments.every)):
                leaks, rate = self._arguments.leak, self._arguments.rate
                await play.until_crash(rate, leaks, lambda count: self._progress.advance(flight, count))
            await asyncio.to_thread(self._house.crash)
        await self._search("after kill -9 of everything")
        if self._found.hits:
            return {"faults": unsafe, "kills": play.flight.kills}
        await self._start("starting again")
        async with _beside(play.look_into_unlinked_files(Search(self._tokens), self._found)):
            async with _beside(play.kill_at_random(self._arguments.every)):
                await play.until_calm()
            await play.to_the_end()
        await asyncio.to_thread(self._house.stop)
        await self._search("after an orderly stop")
        return self._judged(play, cast, unsafe)

    def _judged(self, play: Play, cast: Cast, unsafe: list[str]) -> dict[str, Any]:
        texts = opened(self._house.settings.maildir, cast.secrets)
        states = [answer["state"] for answer in play.flight.found.values() if answer is not None]
        return {
            "faults": unsafe + faults(play.flight.letters, play.flight.found, texts),
            "kills": play.flight.kills,
            "states": {state: states.count(state) for state in sorted(set(states))},
            "read": len(texts),
        }

    async def _start(self, what: str) -> None:
        task = self._progress.add_task(what, total=None)
        self._house.start()
        await asyncio.to_thread(self._house.wait_until_ready)
        self._progress.update(task, total=1, completed=1)

    async def _search(self, when: str) -> None:
        octets = sum(map(size_of, self._places.files()))
        task = self._progress.add_task(f"searching {octets >> 20} MiB {when}", total=octets)
        await asyncio.to_thread(
            self._places.search, Search(self._tokens), self._found, lambda size: self._progress.advance(task, size)
        )
        self._progress.update(task, completed=octets)


@asynccontextmanager
async def _beside(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """The work goes on for as long as the block, and its failure is the block's."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
    if not task.cancelled():
        task.result()


@contextmanager
def _house(keep: Path | None) -> Iterator[House]:
    """A house in a folder that is removed afterwards, unless it is to be kept."""
    if keep is not None and keep.exists():
        raise ConfigurationError(f"{keep} exists; name a new folder, or remove it")
    folder = Path(mkdtemp(prefix="canaries-")) if keep is None else keep.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    house = House(folder)
    try:
        yield house
    finally:
        if keep is None:
            for each in (folder, house.scratch):
                shutil.rmtree(each, ignore_errors=True)


def _progress(console: Console) -> Progress:
    times = (TimeElapsedColumn(), TimeRemainingColumn())
    return Progress(TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), *times, console=console)


def _publish(report: dict[str, Any], arguments: argparse.Namespace, console: Console) -> None:
    if arguments.report is not None:
        arguments.report.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    if arguments.json:
        print(json.dumps(report, indent=1))
    kills = ", ".join(f"{name} {count}" for name, count in sorted(report["kills"].items()))
    states = ", ".join(f"{name} {count}" for name, count in report.get("states", {}).items())
    lines = [f"kill -9: {kills or 'nothing'}, once everything; {report['seconds']:.0f} s"]
    lines += [f"ends: {states}; {report['read']} mails read by their recipients"] if states else []
    lines += [f"no proof: {fault}" for fault in report["faults"]]
    lines += ["{file}, offset {offset}: {owner} ({form})".format(**hit) for hit in report["hits"]]
    for line in lines:
        console.print(line, markup=False, soft_wrap=True)
    print(
        f"canaries {report['n']}, files {report['files']}, hits {len(report['hits'])}",
        file=sys.stderr if arguments.json else sys.stdout,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.torture.canary", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--n", type=count, default=200, help="notifications (default %(default)s)")
    parser.add_argument("--seed", type=int, default=20261125, help="of notices and kills (default %(default)s)")
    parser.add_argument("--rate", type=positive, default=25.0, help="canaries a second (default %(default)s)")
    parser.add_argument("--every", type=positive, default=1.0, help="seconds between two kills (default %(default)s)")
    parser.add_argument(
        "--leak", action="append", choices=LEAKS, default=[], help="write one on purpose: it must be found; repeatable"
    )
    parser.add_argument("--report", type=Path, help="where the JSON goes, too")
    parser.add_argument("--json", action="store_true", help="the JSON on standard output, the rest on standard error")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="leave everything in a new folder")
    return parser


if __name__ == "__main__":
    sys.exit(main())
