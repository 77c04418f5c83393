"""The main job while its processes are killed: the promises are kept, or the demo says so and fails."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SEED = 20261122


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_nothing_is_lost_and_nobody_charged_twice_while_processes_are_killed(tmp_path: Path) -> None:
    """kill -9 of a random process every few seconds, the broker, the provider and the receiver among them."""
    command = [sys.executable, "-m", "serving.demo", "--home", str(tmp_path / "d"), "--json", "--chaos", str(SEED)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=580, check=False)

    assert run.returncode == 0, run.stderr[-2000:]
    report = json.loads(run.stdout)
    assert len(report["killed"]) >= 3
    assert report["accepted"] > 0
    assert report["delivered"] > 0
    assert (report["unaccounted"], report["in_flight"]) == (0, 0)
    assert (report["double_charged"], report["charged_undelivered"]) == (0, 0)
