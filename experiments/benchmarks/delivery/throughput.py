"""Mails a second beside Postfix on the same disk: accepted with fsync before 250, and handed on to `smtp-sink`."""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from experiments.benchmarks.delivery.smtp import Load, Sink
from experiments.benchmarks.measuring import Measured, interleaved
from tests.interop.postfix import Postfix

OURS, POSTFIX = "ours", "Postfix"
HOLD = {"smtpd_client_restrictions": "check_client_access static:HOLD"}
"""Postfix accepts and keeps it: nobody does anything with what was accepted, as with ours when no stage runs."""
QUIET = {"maillog_file": ""}
"""It logs to syslog, which nobody reads: the cheapest of its ways to log."""
PATIENCE = 600.0

Case = Callable[[], float]


def accepted(ours: int, load: Load, repeats: int, count: int) -> dict[str, dict[str, Measured]]:
    """accepted/s by peer and way of connecting; `ours` is our port."""
    found: dict[str, dict[str, Measured]] = {OURS: {}, POSTFIX: {}}
    with Postfix(HOLD | QUIET) as held:
        for name, each in ways(load).items():
            cases = {OURS: _sending(each, ours, count), POSTFIX: _sending(each, held.port, count)}
            for who, measured in interleaved(cases, repeats, f"accepting, {name}").items():
                found[who][name] = measured
    return found


def relayed(ours: int, sink: Sink, other: Sink, load: Load, repeats: int, count: int) -> dict[str, dict[str, Measured]]:
    """delivered/s by peer and way of connecting, from the first connection to the last mail in the sink."""
    found: dict[str, dict[str, Measured]] = {OURS: {}, POSTFIX: {}}
    with Postfix({"relayhost": f"[127.0.0.1]:{other.port}"} | QUIET) as postfix:
        for name, each in ways(load).items():
            cases = {OURS: _through(each, ours, sink, count), POSTFIX: _through(each, postfix.port, other, count)}
            for who, measured in interleaved(cases, repeats, f"relaying, {name}").items():
                found[who][name] = measured
    return found


def ways(load: Load) -> Mapping[str, Load]:
    """The two ways in which senders connect."""
    return {"a connection for each": replace(load, keep=False), "connections kept": replace(load, keep=True)}


def ratios(found: Mapping[str, Mapping[str, Measured]]) -> dict[str, Measured]:
    """Ours over Postfix, round by round: what was measured one after the other had the same neighbours."""
    return {
        way: Measured(tuple(a / b for a, b in zip(ours.values, found[POSTFIX][way].values, strict=True)))
        for way, ours in found[OURS].items()
    }


def _sending(load: Load, port: int, count: int) -> Case:
    return lambda: count / load.send(port, count)


def _through(load: Load, port: int, sink: Sink, count: int) -> Case:
    def run() -> float:
        goal, begin = sink.count + count, time.perf_counter()
        load.send(port, count)
        sink.wait_for(goal, PATIENCE)
        return count / (time.perf_counter() - begin)

    return run
