"""Ctrl-C and SIGTERM as an orderly end: the task that runs everything is cancelled, once."""

import asyncio
import signal

SIGNALS = (signal.SIGINT, signal.SIGTERM)


def cancel_on_signals() -> None:
    """The first signal cancels the calling task, which then ends its programs in order; further ones are not heard."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()

    def stop() -> None:
        for number in SIGNALS:
            loop.add_signal_handler(number, _do_nothing)
        if task is not None:
            task.cancel()

    for number in SIGNALS:
        loop.add_signal_handler(number, stop)


def _do_nothing() -> None: ...
