"""The benchmark of delivery runs whole on a few mails: in by SMTP, out to smtp-sink, beside a real Postfix."""

from pathlib import Path

import pytest

from experiments.benchmarks.delivery.__main__ import Size, run


@pytest.mark.timeout(600)
@pytest.mark.slow
def test_every_mail_comes_through_beside_postfix_and_tells_its_history(tmp_path: Path) -> None:
    """A benchmark that nobody runs rots, and a figure without its repeats cannot be judged."""
    report = run(tmp_path, Size(repeats=2, accepted=20, relayed=10, sealed=4, accepting=0.2, urgent=0.3, others=5))

    for name in ("accept_ratio", "relay_ratio", "full_path_ratio"):
        for measured in report[name].values():
            assert len(measured["repeats"]) == 2
            assert 0 < measured["min"] <= measured["median"] <= measured["max"]
    assert report["accept_at_rate"]["mails"] == 20
    assert report["urgent"]["mails"] == 6
    assert report["urgent"]["others_waiting"] >= 5
    open_path, full_path = report["histories"], report["histories_full_path"]
    assert open_path == {"ids": 80, "whole": 80, "states": {"delivered": 80}}
    assert full_path == {"ids": 35, "whole": 35, "states": {"delivered": 30, "deferred": 5}}
    assert {"commit", "command", "load", "seed"} <= set(report)
