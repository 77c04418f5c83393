"""One experiment from tables to challenger: learn, export, calibrate, measure, register; every step can be repeated."""

import json
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path

import mlflow
import torch

from data.history import FEATURES
from training.batches import rows_of
from training.config import Config, ConfigError
from training.fit import Log, fit
from training.forest import planted
from training.lessons import Lessons, prepare
from training.model import Classifier, build, encoder_folder, merge_adapters, plant, take_encoder
from training.pairs import Pairs, check_labels, check_recipients, digest, load_pairs
from training.ranks import is_first
from training.refit import refit
from training.severity import no_asides, read_asides
from training.tracking import connect, log_datasets

_folded = lru_cache(maxsize=1)(load_pairs)  # experiments of one call share the minutes that it takes


def experiment(config: Config) -> None:
    """Runs it, in one MLflow run that a repeated call continues. Raises ConfigError, BadTable, BadPairs, BadNotices,
    Stopped.

    Under torchrun every process tunes the encoder, on its share of each batch; the first alone does all the rest.
    """
    if is_first():
        _remember(config)
    torch.manual_seed(config.seed)
    if config.threads:
        torch.set_num_threads(config.threads)
    tables = Path(config.messages), Path(config.interactions)
    pairs = _folded(*tables, config.label, without=config.without_list, text=config.text)
    everything, validation = split(pairs, config)
    if not is_first():
        lessons = prepare(everything, config)
        tune(_new_model(lessons, everything, config), lessons, config, _ignore)
        return
    with track(config):
        source = digest(*tables)
        mlflow.log_params({**asdict(config), "dataset_digest": source, "features": len(FEATURES)})
        log_datasets(tables, source)
        lessons = prepare(everything, config)
        model = learn(lessons, everything, config)
        model.save_pretrained(config.folder / "model")
        from training.complete import complete

        complete(model, config, everything, validation, lessons, source)


def split(pairs: Pairs, config: Config) -> tuple[Pairs, Pairs]:
    """The pairs to learn from and those to choose by, cut by time. Raises BadPairs."""
    start, end = config.cuts
    train = pairs.between(-1e18, start).draw_mails(config.learn_pairs, config.seed)
    validation = pairs.between(start, end).draw_mails(config.validation_pairs, config.seed)
    check_labels(train, "training pairs")
    check_labels(validation, "validation pairs")
    check_recipients(train, "training pairs")
    return train, validation


def learn(lessons: Lessons, everything: Pairs, config: Config) -> Classifier:
    """The model, every part fitted. Raises ConfigError, BadTable and Stopped."""
    model = tune(_new_model(lessons, everything, config), lessons, config, _log)
    if len(everything) > config.train_pairs > 0:  # some mails are new to the encoder
        refit(model, lessons.head, tokenizer_file(config), config, _log)
    return model


def tune(model: Classifier, lessons: Lessons, config: Config, log: Log) -> Classifier:
    """The model with a tuned encoder: another run's, or tuned now. Raises ConfigError, BadTable and Stopped."""
    if not config.encoder_from:
        asides = read_asides(Path(config.asides)) if config.asides else no_asides()
        rows = rows_of(lessons.encoder, asides, tokenizer_file(config), config.max_length)
        tuned = fit(model, rows, config, log)
        merge_adapters(tuned)
        return tuned
    saved = Path(config.output) / config.encoder_from / "model"
    try:
        take_encoder(model, saved)
    except OSError:
        raise ConfigError(f"encoder_from: {saved} holds no model; run that experiment first") from None
    return model


def track(config: Config) -> mlflow.ActiveRun:
    """The experiment's MLflow run, the same one after an interruption; its id is kept in the run's folder."""
    connect(config.tracking)
    # Seconds; a second thread that writes often may lock sqlite.
    mlflow.set_system_metrics_sampling_interval(30)  # type: ignore[no-untyped-call]
    kept = config.folder / "run.txt"
    if kept.exists():
        return mlflow.start_run(run_id=kept.read_text(encoding="utf-8").strip(), log_system_metrics=True)
    run = mlflow.start_run(run_name=config.name, log_system_metrics=True)
    kept.write_text(run.info.run_id, encoding="utf-8")
    return run


def tokenizer_file(config: Config) -> Path:
    """The encoder's own tokenizer."""
    return Path(encoder_folder(config.encoder)) / "tokenizer.json"


def _new_model(lessons: Lessons, everything: Pairs, config: Config) -> Classifier:
    """A model that knows the trees and the features' scale, and has read nothing."""
    model = build(
        config.encoder,
        len(FEATURES),
        hidden=config.hidden,
        heads=config.heads,
        dropout=config.dropout,
        freeze=config.freeze,
    )
    model.aside_weight, model.urgent_weight = config.aside_weight, config.urgent_weight
    plant(model, planted(lessons.trees))
    model.scale_to(everything.features)
    if config.history == "nothing":
        model.hide_history()
    return model


def _remember(config: Config) -> None:
    """Keeps the configuration beside the checkpoints: they cannot go on under another one.

    A setting that came later is taken to have had its default then.
    """
    kept, stated = config.folder / "config.json", asdict(config)
    if kept.exists() and {**asdict(Config(config.name)), **json.loads(kept.read_text(encoding="utf-8"))} != stated:
        raise ConfigError(
            f"{config.folder} holds a run with other settings; remove it or give the experiment another name"
        )
    config.folder.mkdir(parents=True, exist_ok=True)
    kept.write_text(json.dumps(stated, indent=2), encoding="utf-8")


def _ignore(figures: dict[str, float], step: int) -> None:
    """What the processes beside the first do with their figures."""


def _log(figures: dict[str, float], step: int) -> None:
    mlflow.log_metrics(figures, step=step)
