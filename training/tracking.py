"""Where runs and models are written down: MLflow, its files beside its database."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import mlflow
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

EXPERIMENT = "clarion"
_SQLITE = "sqlite:///"
_AT_BOUND = ("urgent_lost_at_bound", "nonurgent_discarded_at_bound")


def connect(tracking_uri: str) -> MlflowClient:
    """A client whose runs and models go to `tracking_uri`; a sqlite file is made where it is missing."""
    files = None
    if tracking_uri.startswith(_SQLITE):
        folder = Path(tracking_uri.removeprefix(_SQLITE)).resolve().parent
        folder.mkdir(parents=True, exist_ok=True)
        files = (folder / "artifacts").as_uri()
    mlflow.set_tracking_uri(tracking_uri)
    mlflow.set_registry_uri(tracking_uri)
    if mlflow.get_experiment_by_name(EXPERIMENT) is None:
        _create(files)
    mlflow.set_experiment(EXPERIMENT)
    return MlflowClient()


def _create(files: str | None) -> None:
    try:
        mlflow.create_experiment(EXPERIMENT, artifact_location=files)
    except MlflowException:  # another process was quicker
        if mlflow.get_experiment_by_name(EXPERIMENT) is None:
            raise


def log_evaluation(tracking_uri: str, report: dict[str, Any], file: Path, pictures: Iterable[Path]) -> str:
    """Keeps an evaluation as an MLflow run of its own, with report and pictures as artifacts; the run's id."""
    connect(tracking_uri)
    settings = ("model", "dataset_digest", "split", "limit", "seed", "held_out_list", "commit")
    with mlflow.start_run(run_name=f"evaluation-{report['model']}-{report['split']}") as run:
        mlflow.log_params({name: report[name] for name in settings})
        mlflow.log_metrics(_numbers("", report))
        for name, figures in report["peers"].items():
            mlflow.log_metrics(_numbers(f"{name}.", figures))
        mlflow.log_artifact(str(file))
        for picture in pictures:
            mlflow.log_artifact(str(picture), "pictures")
    return str(run.info.run_id)


def _numbers(prefix: str, figures: dict[str, Any]) -> dict[str, float]:
    names = ("n", "positives", "auroc", "average_precision", "ece", *_AT_BOUND)
    return {f"{prefix}{name}": float(figures[name]) for name in names if figures[name] is not None}
