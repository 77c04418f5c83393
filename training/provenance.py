"""Where a figure comes from: what was run, on which commit, on how busy a machine."""

import os
import shlex
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

ROOT = Path(__file__).parent.parent


def provenance(module: str = "") -> dict[str, object]:
    """The commit (`-dirty` where files were changed, "unknown" outside a checkout), the command, the load, and which
    Python: one that was built with profile and link-time optimisation is a quarter faster than one that was not.

    `module` is what `python -m` was given; without it, the one of this package that was started.
    """
    module = module or f"training.{Path(sys.argv[0]).stem}"
    return {
        "commit": _commit(),
        "command": shlex.join(["python", "-m", module, *sys.argv[1:]]),
        "load": [round(load, 2) for load in os.getloadavg()],
        "processors": os.cpu_count(),
        "python": " ".join(sys.version.split()),
    }


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    try:
        found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S603
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return found.stdout.strip()


def pseudonym(address: str) -> str:
    """What stands for an address in a report that others may read: the first 12 digits of its SHA-256."""
    return sha256(address.encode("utf-8", "surrogatepass")).hexdigest()[:12]
