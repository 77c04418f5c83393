"""`make bench-encryption`: sealing beside the bare libraries and beside gpg and openssl, in one run, taking turns.

Everything runs on one core. Whatever is timed was opened once by gpg or openssl, and held the payload to the octet.
`QUICK=1` takes fewer repeats of the same; nothing is ever taken from an earlier run.
"""

import argparse
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from experiments.benchmarks.encryption import mails, openpgp, smime, stage
from experiments.benchmarks.encryption.peers import LIBRARY, OURS, OUTER, Peer, Peers
from experiments.benchmarks.measuring import Measured, interleaved, table
from serving.encryption.sealed import payload
from training.provenance import provenance

REPORT = Path("experiments/results/encryption.json")
STAGE_KIND = "Curve25519"
SLICES = 10
"""Into how many parts a repeat of a comparison in processor time is cut: a neighbour that begins or ends work changes
a core's speed by half within a second, and is to meet both."""

Times = Mapping[str, Mapping[str, Measured]]


def main() -> None:
    """Runs what is asked for, prints the tables, writes the report."""
    arguments = _arguments()
    repeats, seconds = (2, 0.1) if arguments.quick else (9, 0.5)
    report = run(mails.SIZES, repeats, seconds) | {"quick": arguments.quick}
    arguments.report.parent.mkdir(parents=True, exist_ok=True)
    arguments.report.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(f"{arguments.report} has the repeats")


def run(sizes: dict[str, int], repeats: int, seconds: float) -> dict[str, Any]:
    """Everything, and the report of it; each measurement takes `seconds`, or one message where that takes longer."""
    for program in ("gpg", "openssl"):
        if shutil.which(program) is None:
            raise SystemExit(f"no {program}; `make bench-encryption` installs it")
    os.environ.pop("RUST_BACKTRACE", None)  # PySequoia takes a tenth longer with it, and few machines have it set
    about = provenance("experiments.benchmarks.encryption")
    bodies = mails.mails(sizes)
    with ExitStack() as stack:
        stack.enter_context(_one_core())
        keyrings = {kind: stack.enter_context(openpgp.keyring(kind)) for kind in openpgp.KINDS}
        variants: dict[str, Peers] = {f"OpenPGP, {kind}": openpgp.peers(keys) for kind, keys in keyrings.items()}
        folder = stack.enter_context(TemporaryDirectory(prefix="smime-"))
        variants["S/MIME, RSA-3072"] = smime.peers(Path(folder))
        sealed = {name: _variant(name, peers, bodies, repeats, seconds) for name, peers in variants.items()}
        keys = keyrings[STAGE_KIND]
        first = next(iter(bodies.values()))
        count = max(int(seconds * 1000), 5)
        whole = stage.measure(first, keys.exported(), keys.signer(), repeats, count)
    _say(whole)
    return {**about, "seed": mails.SEED, "cores": 1, "octets": {name: len(mail) for name, mail in bodies.items()}} | {
        "sealed": sealed,
        "stage": {"mail": next(iter(bodies)), "keys": STAGE_KIND, **whole},
    }


def check(peer: Peer, given: bytes, expected: bytes, what: str) -> None:
    """Raises SystemExit where the foreign program does not open what the peer makes of `given`, or not as expected."""
    if peer.opened(peer.seal(given)) != expected:
        raise SystemExit(f"{what}: what was sealed opens, but is not what was to be sealed")


def _variant(
    name: str, peers: Peers, bodies: Mapping[str, bytes], repeats: int, seconds: float
) -> dict[str, dict[str, Any]]:
    """Messages/s of everybody by the clock; what ours takes over the library, in processor time; the ratios."""
    rates: dict[str, dict[str, Measured]] = {}
    costs: dict[str, dict[str, Measured]] = {}
    for size, mail in bodies.items():
        inputs = {who: mail if who == OURS else payload(mail, OUTER) for who in peers}
        for who, peer in peers.items():
            check(peer, inputs[who], payload(mail, OUTER), f"{name}, {who}, {size}")
        clock = {who: _rate(peer.seal, inputs[who], seconds) for who, peer in peers.items()}
        processor = {who: _cost(peers[who].seal, inputs[who], seconds / SLICES) for who in (OURS, LIBRARY)}
        for who, each in interleaved(clock, repeats, f"{name}, {size}").items():
            rates.setdefault(who, {})[size] = each
        costs[size] = interleaved(processor, repeats * SLICES, f"{name}, {size}, processor")
    print("\n" + table(name, rates, "messages/s", ",.0f"))
    overhead = {size: _ratios(each[OURS], each[LIBRARY]) for size, each in costs.items()}
    print("over the library: " + ", ".join(f"{size} {each.median:.2f}" for size, each in overhead.items()), flush=True)
    times = {
        f"times_{who.replace(', ', '_')}": {s: _ratios(rates[OURS][s], each).report() for s, each in row.items()}
        for who, row in rates.items()
        if who not in (OURS, LIBRARY)
    }
    return {
        "messages_per_s": _plain(rates),
        "processor_us": _plain(costs),
        "overhead_over_library": {size: each.report() for size, each in overhead.items()},
        **times,
    }


def _rate(seal: Callable[[bytes], bytes], octets: bytes, seconds: float) -> Callable[[], float]:
    """Messages a second by the clock."""

    def measured() -> float:
        count, begin = 0, time.perf_counter()
        while not count or time.perf_counter() - begin < seconds:
            seal(octets)
            count += 1
        return count / (time.perf_counter() - begin)

    return measured


def _cost(seal: Callable[[bytes], bytes], octets: bytes, seconds: float) -> Callable[[], float]:
    """Microseconds of processor time a message, which other programs on the machine hardly change."""

    def measured() -> float:
        count, begin = 0, time.process_time()
        while not count or time.process_time() - begin < seconds:
            seal(octets)
            count += 1
        return (time.process_time() - begin) / count * 1e6

    return measured


def _ratios(ours: Measured, other: Measured) -> Measured:
    """Round by round: what was measured one after the other had the same neighbours."""
    return Measured(tuple(a / b for a, b in zip(ours.values, other.values, strict=True)))


@contextmanager
def _one_core() -> Iterator[None]:
    """This process, and what it starts, on one core until the block is left."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _plain(rows: Times) -> dict[str, dict[str, object]]:
    return {name: {column: each.report() for column, each in row.items()} for name, row in rows.items()}


def _say(whole: Mapping[str, Any]) -> None:
    print(f"\nthe stage, {STAGE_KIND}: {whole['processor_us'][stage.WHOLE]['median']:,.0f} µs of processor time a mail")
    for part, share in whole["share"].items():
        print(f"  {share:4.0%} {part}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m experiments.benchmarks.encryption", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under a minute")
    parser.add_argument("--report", type=Path, default=REPORT, help="where the JSON goes (default: %(default)s)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
