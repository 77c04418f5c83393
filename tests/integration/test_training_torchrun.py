"""Two processes train one model: the same command under torchrun, the same figures within noise."""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from training.config import Config

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

NOISE = 0.05


def trained(config: Config, folder: Path, *launcher: str) -> dict[str, float]:
    """The figures of a run that another process, or two, made."""
    own: tuple[str, ...] = (
        "messages",
        "interactions",
        "encoder",
        "validation_from",
        "test_from",
        "train_pairs",
        "head_pairs",
    )
    own += ("max_length", "epochs", "batch_size", "calibration_pairs", "notices", "asides")
    lines = [f"{name} = {json.dumps(getattr(config, name))}" for name in own]
    lines += [f"tracking = 'sqlite:///{folder}/mlflow.db'", f"output = '{folder}/runs'"]
    lines += ["peers = false", "register = false", "threads = 1"]
    folder.mkdir()
    (folder / "run.toml").write_text("\n".join(lines), encoding="utf-8")
    command = [sys.executable, "-m", *launcher, "training.train", str(folder / "run.toml")]
    run(command)
    return figures(folder)


def run(command: list[str]) -> None:
    """To its end; what hangs is ended with all its processes, and said."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, start_new_session=True, env=environment)
    try:
        _, error = process.communicate(timeout=180)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, error[-2000:].decode(errors="replace")


def figures(folder: Path) -> dict[str, float]:
    """What MLflow holds of the only run."""
    import mlflow

    mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
    (run,) = mlflow.search_runs(search_all_experiments=True, output_format="list")
    metrics: dict[str, float] = run.data.metrics
    return metrics


def test_two_processes_give_the_figures_of_one(config: Config, tmp_path: Path) -> None:
    """Whoever has two machines must not get another model; and only one of them may write the run down."""
    alone = trained(config, tmp_path / "alone")
    together = trained(
        config, tmp_path / "together", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m"
    )

    assert alone["validation.auroc"] > 0.8
    assert together["validation.auroc"] == pytest.approx(alone["validation.auroc"], abs=NOISE)
    assert together["validation.average_precision"] == pytest.approx(alone["validation.average_precision"], abs=NOISE)
