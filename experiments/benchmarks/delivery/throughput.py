"""Mails a second beside Postfix on the same disk: accepted with fsync before 250, and handed on to `smtp-sink`."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

from experiments.benchmarks.delivery.processor import per_mail
from experiments.benchmarks.delivery.smtp import Load, Sink, sink
from experiments.benchmarks.measuring import Measured, interleaved
from tests.interop.postfix import Postfix

OURS, POSTFIX = "ours", "Postfix"
HOLD = {"smtpd_client_restrictions": "check_client_access static:HOLD"}
"""Postfix accepts and keeps it: nobody does anything with what was accepted, as with ours when no stage runs."""
QUIET = {"maillog_file": ""}
"""It logs to syslog, which nobody reads: the cheapest of its ways to log."""
PATIENCE = 600.0

Case = Callable[[], float]
Cases = Callable[[Load], Mapping[str, Case]]


@dataclass(frozen=True, slots=True)
class Ours:
    """Where our intake is, and the program above all of ours."""

    port: int
    process_id: int


@dataclass(frozen=True, slots=True)
class Relay:
    """A running Postfix that relays to its own sink."""

    postfix: Postfix
    sink: Sink


@dataclass(frozen=True, slots=True)
class Found:
    """By peer and way of connecting: mails a second, and milliseconds of processor time a mail."""

    rates: Mapping[str, Mapping[str, Measured]]
    costs: Mapping[str, Mapping[str, Measured]]

    @property
    def ratios(self) -> dict[str, Measured]:
        """Ours over Postfix, round by round: what was measured one after the other had the same neighbours."""
        return {
            way: Measured(tuple(a / b for a, b in zip(ours.values, self.rates[POSTFIX][way].values, strict=True)))
            for way, ours in self.rates[OURS].items()
        }


def accepted(ours: Ours, load: Load, repeats: int, count: int) -> Found:
    """Accepting alone, each way of connecting."""
    with Postfix(HOLD | QUIET) as held:

        def cases(way: Load) -> Mapping[str, Case]:
            return {OURS: _sending(way, ours.port, count), POSTFIX: _sending(way, held.port, count)}

        programs = {OURS: ours.process_id, POSTFIX: _master(held)}
        return _measured("accepting", cases, load, programs, repeats, count)


@contextmanager
def relaying() -> Iterator[Relay]:
    """Postfix as shipped, until the block is left."""
    with sink() as other, Postfix({"relayhost": f"[127.0.0.1]:{other.port}"} | QUIET) as postfix:
        yield Relay(postfix, other)


def relayed(ours: Ours, taken: Sink, peer: Relay, load: Load, repeats: int, count: int) -> Found:
    """From the first connection to the last mail in the sink; ours hands on to `taken`."""

    def cases(way: Load) -> Mapping[str, Case]:
        through = _through(way, ours.port, taken, count)
        return {OURS: through, POSTFIX: _through(way, peer.postfix.port, peer.sink, count)}

    programs = {OURS: ours.process_id, POSTFIX: _master(peer.postfix)}
    return _measured("relaying", cases, load, programs, repeats, count)


def ways(load: Load) -> Mapping[str, Load]:
    """The two ways in which senders connect."""
    return {"a connection for each": replace(load, keep=False), "connections kept": replace(load, keep=True)}


def _measured(what: str, cases: Cases, load: Load, programs: Mapping[str, int], repeats: int, count: int) -> Found:
    rates: dict[str, dict[str, Measured]] = {who: {} for who in programs}
    costs: dict[str, dict[str, Measured]] = {who: {} for who in programs}
    for name, way in ways(load).items():
        spent: dict[str, list[float]] = {who: [] for who in programs}
        noting = {who: per_mail(case, programs[who], count, spent[who]) for who, case in cases(way).items()}
        for who, measured in interleaved(noting, repeats, f"{what}, {name}").items():
            rates[who][name], costs[who][name] = measured, Measured(tuple(spent[who][1:]))
    return Found(rates, costs)


def _master(postfix: Postfix) -> int:
    return int((postfix.folder / "queue" / "pid" / "master.pid").read_text(encoding="ascii"))


def _sending(load: Load, port: int, count: int) -> Case:
    return lambda: count / load.send(port, count)


def _through(load: Load, port: int, taken: Sink, count: int) -> Case:
    def run() -> float:
        goal, begin = taken.count + count, time.perf_counter()
        load.send(port, count)
        taken.wait_for(goal, PATIENCE)
        return count / (time.perf_counter() - begin)

    return run
