"""`clarion schedule` prints what the stage does."""

import json
from random import Random

import pytest

from serving.delivery.schedule import Schedule
from serving.schedule_cli import schedule, tries


def test_every_try_of_the_stage_lies_between_the_printed_bounds() -> None:
    """A table that is computed beside the code it tells of would soon tell of another."""
    retrying, expiry = Schedule(first=60.0, cap=3600.0), 86_400.0
    rows = list(tries(retrying, expiry))
    for seed in range(50):
        random, at = Random(seed), 0.0  # noqa: S311
        for row in rows:
            if at >= expiry:
                break
            assert row["after"][0] - 1 <= at <= row["after"][1] + 1
            at += retrying.delay(row["attempt"], random)

        assert at >= expiry


def test_it_is_told_to_people_and_to_programs(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the settings of this machine."""
    monkeypatch.setenv("CLARION_FIRST_RETRY", "30")
    monkeypatch.setenv("CLARION_DELIVERY_EXPIRY", "7200")
    schedule()
    told = capsys.readouterr().out
    schedule(as_json=True)
    said = json.loads(capsys.readouterr().out)

    assert "24 s to 36 s" in told
    assert "given up 2 h after the first failure" in told
    assert said["expiry"] == 7200
    assert said["tries"][0] == {"attempt": 1, "after": [0.0, 0.0], "wait": [24.0, 36.0]}
    assert said["tries"][-1]["after"][0] < 7200
