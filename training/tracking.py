"""Where runs and models are written down: MLflow, its files beside its database."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT

EXPERIMENT = "clarion"
_SQLITE = "sqlite:///"
_DIGEST = 36  # characters of a data set's digest that MLflow keeps
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


def log_datasets(tables: Sequence[Path], digest: str) -> None:
    """Notes in the active run which tables it learns from and is chosen by; `digest` is training.pairs' of them all.

    MLflow keeps one entry a run for each name and digest, so the names hold the context; a second call adds nothing.
    """
    run = mlflow.active_run()
    if run is None:
        raise RuntimeError("no run is active; call this inside mlflow.start_run()")
    each = [_dataset(table, context, digest) for context in ("training", "validation") for table in tables]
    MlflowClient().log_inputs(run.info.run_id, each)


def log_promotion(tracking_uri: str, report: dict[str, Any]) -> str:
    """Keeps the judgement on a challenger as an MLflow run of its own, with the report as an artifact; the run's id."""
    connect(tracking_uri)
    precision = report["paired"]["average_precision"]
    low, high = precision["interval"]
    with mlflow.start_run(run_name=f"promotion-{report['challenger']['model']}") as run:
        settings = ("dataset_digest", "split", "seed", "commit", "passed")
        mlflow.log_params({name: report[name] for name in settings})
        for role in ("challenger", "champion"):
            mlflow.log_params({role: report[role]["model"], f"{role}_version": report[role]["version"]})
            mlflow.log_metrics({f"{role}.{name}": value for name, value in report[role]["figures"].items()})
        mlflow.log_metrics({"average_precision_difference": precision["difference"]})
        mlflow.log_metrics({"average_precision_low": low, "average_precision_high": high})
        mlflow.log_dict(report, "promotion.json")
    return str(run.info.run_id)


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


def _dataset(table: Path, context: str, digest: str) -> DatasetInput:
    source = json.dumps({"uri": str(table)})
    named = Dataset(f"{table.stem}, {context}", digest[:_DIGEST], source_type="local", source=source)
    return DatasetInput(named, [InputTag(MLFLOW_DATASET_CONTEXT, context)])


def _numbers(prefix: str, figures: dict[str, Any]) -> dict[str, float]:
    names = ("n", "positives", "auroc", "average_precision", "ece", *_AT_BOUND)
    return {f"{prefix}{name}": float(figures[name]) for name in names if figures[name] is not None}
