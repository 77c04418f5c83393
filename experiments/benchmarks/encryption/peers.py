"""What one way of sealing is measured with: ours, the library beneath it, and the program that people would call."""

import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from experiments.benchmarks.encryption.mails import GATEWAY, RECIPIENT
from serving.encryption.outside import Outside
from serving.encryption.sealed import HIDDEN_SUBJECT

OUTSIDE = Outside("0000000000007", GATEWAY, RECIPIENT, datetime(2026, 11, 25, 9, tzinfo=UTC))
OUTER = (*OUTSIDE.header, ("Subject", HIDDEN_SUBJECT))
OURS, LIBRARY = "ours", "library"


@dataclass(frozen=True, slots=True)
class Peer:
    """`seal` makes one message of a payload (ours: of a mail); `opened` is what the foreign program finds in it, and
    raises SystemExit where it does not open or is not signed."""

    seal: Callable[[bytes], bytes]
    opened: Callable[[bytes], bytes]


Peers = Mapping[str, Peer]


def run(*command: str | Path, stdin: bytes = b"") -> bytes:
    """What a program answers. Raises SystemExit with its complaint where it fails."""
    done = subprocess.run([*map(str, command)], input=stdin, capture_output=True, check=False, timeout=120)
    if done.returncode != 0:
        raise SystemExit(f"{command[0]} failed: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout
