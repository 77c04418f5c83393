"""Where runs and models are written down: MLflow, its files beside its database."""

from pathlib import Path

import mlflow
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

EXPERIMENT = "clarion"
_SQLITE = "sqlite:///"


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
