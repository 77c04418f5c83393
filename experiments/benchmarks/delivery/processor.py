"""Processor time of a program and all that it has started: what other work on the machine changes least."""

from collections.abc import Callable
from contextlib import suppress

import psutil


def spent(process_id: int) -> float:
    """Seconds of a program, of all below it, and of those below that have ended."""
    try:
        root = psutil.Process(process_id)
        processes = [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0.0
    seconds = 0.0
    for process in processes:
        with suppress(psutil.Error):
            seconds += sum(process.cpu_times()[:4])  # its own, and that of its children that it has waited for
    return seconds


def per_mail(run: Callable[[], float], process_id: int, count: int, into: list[float]) -> Callable[[], float]:
    """The case, with its milliseconds of processor time a mail noted `into` the list."""

    def measured() -> float:
        before = spent(process_id)
        value = run()
        into.append((spent(process_id) - before) / count * 1e3)
        return value

    return measured
