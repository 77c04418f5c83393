"""`clarion schedule`: when mail that a receiver does not take now is tried again, with the present settings."""

import json
from collections.abc import Iterator
from typing import Any

from serving.commands import AsJson, duration, show
from serving.delivery.schedule import Schedule
from serving.settings import Settings

MOST_ROWS = 10_000


def schedule(as_json: AsJson = False) -> None:
    """Print when mail that a receiver does not take now is tried again, and when it is given up."""
    settings = Settings.read()
    rows = list(tries(Schedule(first=settings.first_retry, cap=settings.longest_retry), settings.delivery_expiry))
    if as_json:
        print(json.dumps({"expiry": settings.delivery_expiry, "tries": rows}, indent=2))
        return
    steady = next((place for place, row in enumerate(rows) if row["wait"] == rows[-1]["wait"]), len(rows) - 1)
    show([_row(row) for row in rows[: steady + 1]], as_json=False)
    least, most = rows[-1]["wait"]
    if steady + 1 < len(rows):
        print(f"and so on, every {_between(least, most)}")
    print(f"given up {duration(settings.delivery_expiry)} after the first failure, with one last try")


def tries(schedule: Schedule, expiry: float) -> Iterator[dict[str, Any]]:
    """Each try with how long after the first it comes and how long is waited after it, at least and at most, in
    seconds; the last is the one that may come before `expiry` if every wait is the shortest."""
    least = most = 0.0
    for attempt in range(1, MOST_ROWS):
        if least >= expiry:
            return
        shortest, longest = schedule.bounds(attempt)
        yield {
            "attempt": attempt,
            "after": [round(least, 1), round(min(most, expiry), 1)],
            "wait": [round(shortest, 1), round(longest, 1)],
        }
        least, most = least + shortest, most + longest


def _row(row: dict[str, Any]) -> dict[str, Any]:
    after = "at once" if row["attempt"] == 1 else _between(*row["after"])
    return {"try": row["attempt"], "after": after, "then waits": _between(*row["wait"])}


def _between(least: float, most: float) -> str:
    return f"{duration(least)} to {duration(most)}"
