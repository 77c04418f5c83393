"""The benchmark of sealing runs whole, on tiny mails, and refuses to time what a foreign program does not open."""

import os

import pytest

from experiments.benchmarks.encryption.__main__ import SLICES, check, run
from experiments.benchmarks.encryption.peers import Peer


@pytest.mark.timeout(300)
def test_everybody_is_opened_by_a_foreign_program_then_timed() -> None:
    """A benchmark that nobody runs rots, and a figure without its repeats cannot be judged."""
    cores = os.sched_getaffinity(0)
    report = run({"tiny": 256, "small": 2_048}, repeats=2, seconds=0.001)
    sealed = report["sealed"]

    assert set(sealed) == {"OpenPGP, Curve25519", "OpenPGP, RSA-3072", "S/MIME, RSA-3072"}
    for name, variant in sealed.items():
        foreign = "times_openssl" if name.startswith("S/MIME") else "times_gpg"
        assert set(variant[foreign]) == {"tiny", "small", "small, attachment"}
        overhead = variant["overhead_over_library"]["tiny"]
        assert len(overhead["repeats"]) == 2 * SLICES
        for measured in (overhead, *variant[foreign].values()):
            assert len(measured["repeats"]) >= 2
            assert 0 < measured["min"] <= measured["median"] <= measured["max"]
    assert sum(report["stage"]["share"].values()) > 0
    assert {"commit", "command", "load", "seed"} <= set(report)
    assert os.sched_getaffinity(0) == cores


def test_what_opens_as_something_else_is_never_timed() -> None:
    """A quick way to make broken output would win every benchmark."""
    broken = Peer(seal=bytes.upper, opened=bytes)

    with pytest.raises(SystemExit, match="not what was to be sealed"):
        check(broken, b"payload", b"payload", "broken")
