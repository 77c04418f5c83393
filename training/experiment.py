"""One experiment from tables to champion: fit, export, calibrate, measure, register; every step can be repeated."""

import json
from dataclasses import asdict
from pathlib import Path

import mlflow
import torch

from data.history import FEATURES
from training.config import Config, ConfigError
from training.fit import fit
from training.model import Classifier, build, encoder_folder
from training.pairs import Pairs, check_labels, digest, load_pairs


def experiment(config: Config) -> None:
    """Runs it, in one MLflow run that a repeated call continues. Raises ConfigError, BadTable, BadPairs, Stopped."""
    _remember(config)
    torch.manual_seed(config.seed)
    if config.threads:
        torch.set_num_threads(config.threads)
    pairs = load_pairs(Path(config.messages), Path(config.interactions), config.label)
    train, validation = split(pairs, config)
    with track(config):
        mlflow.log_params(asdict(config))
        source = digest(Path(config.messages), Path(config.interactions))
        mlflow.log_params({"dataset_digest": source, "pairs_seen": len(train), "features": len(FEATURES)})
        model = fit(_new_model(config), train, tokenizer_file(config), config, _log)
        from training.complete import complete

        complete(model, config, train, validation, source)


def split(pairs: Pairs, config: Config) -> tuple[Pairs, Pairs]:
    """The pairs to learn from and those to choose by, cut by time. Raises BadPairs."""
    start, end = config.cuts
    train = pairs.between(-1e18, start).draw(config.train_pairs, config.seed)
    validation = pairs.between(start, end).draw(config.validation_pairs, config.seed)
    check_labels(train, "training pairs")
    check_labels(validation, "validation pairs")
    return train, validation


def track(config: Config) -> mlflow.ActiveRun:
    """The experiment's MLflow run, the same one after an interruption; its id is kept in the run's folder."""
    if config.tracking.startswith("sqlite:///"):
        Path(config.tracking.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
    mlflow.set_tracking_uri(config.tracking)
    mlflow.set_experiment("clarion")
    kept = config.folder / "run.txt"
    if kept.exists():
        return mlflow.start_run(run_id=kept.read_text(encoding="utf-8").strip())
    run = mlflow.start_run(run_name=config.name, log_system_metrics=False)
    kept.write_text(run.info.run_id, encoding="utf-8")
    return run


def tokenizer_file(config: Config) -> Path:
    """The encoder's own tokenizer."""
    return Path(encoder_folder(config.encoder)) / "tokenizer.json"


def _new_model(config: Config) -> Classifier:
    return build(
        config.encoder,
        len(FEATURES),
        hidden=config.hidden,
        dropout=config.dropout,
        freeze_embeddings=config.freeze_embeddings,
    )


def _remember(config: Config) -> None:
    """Keeps the configuration beside the checkpoints: they cannot go on under another one."""
    kept, stated = config.folder / "config.json", json.dumps(asdict(config), indent=2)
    if kept.exists() and kept.read_text(encoding="utf-8") != stated:
        raise ConfigError(
            f"{config.folder} holds a run with other settings; remove it or give the experiment another name"
        )
    config.folder.mkdir(parents=True, exist_ok=True)
    kept.write_text(stated, encoding="utf-8")


def _log(figures: dict[str, float], step: int) -> None:
    mlflow.log_metrics(figures, step=step)
