"""What a person sees of a demo: a live picture on a terminal, plain lines elsewhere, and the summary at the end."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from serving.pipeline import TABLE

PLAIN_EVERY = 5.0
"""Seconds between two lines where there is no terminal."""
PLAIN_WIDTH = 120
ENDS = ("delivered", "discarded", "rejected", "dead")

Depths = Sequence[Mapping[str, Any]]


@dataclass(slots=True)
class Picture:
    """What is known at the moment."""

    mails: int = 0
    posted: int = 0
    accepted: int = 0
    depths: Depths = ()
    restarts: Mapping[str, int] = field(default_factory=dict)

    def count(self, **where: str | None) -> int:
        """Notifications whose row has these values."""
        return sum(row["count"] for row in self.depths if all(row[name] == value for name, value in where.items()))


def wide_console(*, stderr: bool) -> Console:
    """A console that does not break lines at 80 columns when nobody's terminal says how wide it is."""
    console = Console(stderr=stderr)
    return console if console.is_terminal else Console(stderr=stderr, width=PLAIN_WIDTH)


class View:
    """Use it with `with`; call `show` whenever the picture has changed."""

    def __init__(self, console: Console, picture: Picture) -> None:
        self._console, self.picture = console, picture
        self._live = Live(console=console, refresh_per_second=4, transient=True) if console.is_terminal else None
        self._progress = Progress(
            TextColumn("{task.description:<10}"),
            BarColumn(40),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        self._posting = self._progress.add_task("posted", start=False, total=None)
        self._finishing = self._progress.add_task("finished", start=False, total=None)
        self._told_at = time.monotonic()
        self._told = ""

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def say(self, step: str) -> None:
        """A new step has begun."""
        self._told_at = time.monotonic()
        self._console.print(f"[bold]{step}[/bold]" if self._live is not None else step, soft_wrap=True)

    def show(self) -> None:
        """Draw the picture as it is."""
        picture = self.picture
        moving = sum(picture.count(state=state) for state in ("queued", "leased"))
        if picture.mails:
            self._progress.start_task(self._posting)
            self._progress.start_task(self._finishing)
        self._progress.update(self._posting, completed=picture.posted, total=picture.mails or None)
        self._progress.update(
            self._finishing, completed=max(picture.accepted - moving, 0), total=picture.accepted or None
        )
        if self._live is not None:
            self._live.update(Group(self._progress, stages(picture)))
        elif time.monotonic() - self._told_at > PLAIN_EVERY:
            self._tell(_line(picture, moving))

    def _tell(self, line: str) -> None:
        """Without a terminal: a line now and then, and none that says nothing new."""
        self._told_at = time.monotonic()
        if line == self._told:
            return
        self._told = line
        left = self._progress.tasks[self._finishing].time_remaining
        self._console.print(f"{line} · about {left:.0f} s left" if left else line, highlight=False, soft_wrap=True)


def stages(picture: Picture) -> RenderableType:
    """What waits where."""
    table = Table(box=None, pad_edge=False)
    for heading in ("stage", "waiting", "working", "deferred", "parked"):
        table.add_column(heading, justify="left" if heading == "stage" else "right")
    for stage in TABLE:
        counts = [picture.count(stage=stage.value, state=state) for state in ("queued", "leased", "deferred", "parked")]
        table.add_row(stage.value, *(str(count) if count else "·" for count in counts))
    ends = "  ".join(f"{end} {picture.count(state=end)}" for end in ENDS)
    restarts = "  ".join(f"{name} ×{count}" for name, count in sorted(picture.restarts.items()))
    return Group(table, ends, f"restarted: {restarts}" if restarts else "")


def summary(report: Mapping[str, Any]) -> Table:
    """The report as a table for people."""
    table = Table(title="Clarion demo", show_header=False, title_justify="left")
    table.add_column(style="bold")
    table.add_column(justify="right")
    table.add_column(style="dim")
    for name, meaning in MEANINGS.items():
        table.add_row(name, "not judged" if report[name] is None else str(report[name]), meaning)
    return table


MEANINGS = {
    "messages": "mails posted",
    "unreadable": "mails of the mailbox kept in aside/, never posted",
    "refused": "mails answered 4xx: never accepted",
    "accepted": "notifications in 202 answers: one for each recipient of a mail",
    "delivered": "the receiver said 250, and the mail lies in its Maildir",
    "discarded": "certified as not urgent, and the recipient wishes it so",
    "deferred": "not urgent: waits for a digest or its time",
    "rejected": "the sender claims a domain that is not its own",
    "dead": "could not be delivered; nothing was charged",
    "parked": "waits for a key or for money",
    "in_flight": "still under way when the run ended",
    "unaccounted": "the evidence does not bear out what the system says; must be 0",
    "double_charged": "by the provider's own log; must be 0",
    "charged_undelivered": "charged, but not in the Maildir",
    "delivered_twice": "allowed only where a 250 was lost; same Message-ID",
    "seconds": "from the first post to the last hop",
}


def _line(picture: Picture, moving: int) -> str:
    ends = ", ".join(f"{picture.count(state=end)} {end}" for end in ENDS)
    waits = ", ".join(f"{picture.count(state=state)} {state}" for state in ("deferred", "parked"))
    return f"{picture.posted}/{picture.mails} posted, {picture.accepted} accepted: {moving} moving, {ends}, {waits}"
