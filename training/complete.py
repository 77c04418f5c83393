"""What comes after the fit: the artefact, its calibration, its figures beside its peers', its place in the registry."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import torch
from numpy.typing import NDArray

from data.history import FEATURES
from training.artefact import Artefact, Certificate, Description, Thresholds, redescribe, sigmoid
from training.baselines.peer import Material, Peer
from training.baselines.peers import PEERS
from training.bootstrap import Ranked
from training.bound import certify_slices, consequences, stated
from training.calibration import calibrated, choose_thresholds, fit_scale
from training.card import write_card
from training.config import Config
from training.example import write_example
from training.export import export
from training.lessons import Lessons
from training.metrics import measure
from training.model import Classifier, encoder_folder
from training.pairs import Pairs
from training.progress import chunks
from training.provenance import provenance
from training.refit import embeddings
from training.registry import register

_COMPARED = 2_000  # pairs on which full precision and eight bits are compared


def complete(
    model: Classifier, config: Config, everything: Pairs, validation: Pairs, lessons: Lessons, source: str
) -> Path:
    """The artefact's folder: exported, calibrated on the validation pairs and measured; MLflow has the figures."""
    folder, tokenizer = config.folder / "artefact", Path(encoder_folder(config.encoder)) / "tokenizer.json"
    seen = lessons.encoder.pairs.draw(config.calibration_pairs, config.seed + 1)
    export(model, tokenizer, folder, seen, config.max_length)
    write_example(folder)
    _describe(model, config, source).write(folder)
    artefact = Artefact.load(folder)
    logits = judge(artefact, validation)
    temperature, offset = fit_scale(logits, validation.labels)
    scores = calibrated(logits, temperature, offset)
    thresholds = choose_thresholds(scores, validation.labels, recall=config.urgent_recall, band=config.band)
    slices = (scores, validation.labels, validation.recipients, validation.automated)
    certificates = certify_slices(*slices, alpha=config.alpha)
    redescribe(folder, temperature=temperature, offset=offset, **stated(thresholds, certificates))
    noted: dict[str, float] = {}
    _log(noted, "validation.bound", _at_bound(scores, validation, certificates))
    chosen = _operating_point(scores, validation.labels, thresholds)
    _log(noted, "validation", measure(scores, validation.labels) | chosen)
    if len(lessons.held_out):
        _log(noted, "notices", _notices(judge(artefact, lessons.held_out), lessons.held_out))
    if config.peers:
        learned, judged = Material(everything), Material(validation)
        for name, peer in PEERS.items():
            _log(noted, f"validation.{name}", _peer(peer, learned, judged, config))
    _log(noted, "quantisation", _compare(model, config, tokenizer, logits, validation))
    write_card(folder, noted, _about(config))
    if config.register:
        print(f"registered as version {register(config.tracking, folder)}, challenger")
    return folder


def judge(artefact: Artefact, pairs: Pairs) -> NDArray[np.float64]:
    """The artefact's logits, (N,), with a progress bar."""
    examples = pairs.examples()
    return np.concatenate([artefact.logits(chunk) for chunk in chunks(examples, "scoring")])


def _peer(peer: Peer, learned: Material, judged: Material, config: Config) -> dict[str, float]:
    return measure(peer(learned, config.seed)(judged, np.arange(len(judged))), judged.pairs.labels)


def _notices(logits: NDArray[np.float64], notices: Pairs) -> dict[str, float]:
    """How well invented mail that was kept aside is told apart, each with several histories."""
    return {"auroc": Ranked(logits, notices.labels).areas()[0], "n": float(len(notices))}


def _describe(model: Classifier, config: Config, source: str) -> Description:
    run = mlflow.active_run()
    return Description(
        version=f"{config.name}-{run.info.run_id[:8]}" if run else config.name,
        encoder=config.encoder,
        dataset_digest=source,
        trained_until=config.cuts[0],
        max_length=config.max_length,
        temperature=1.0,
        offset=0.0,
        thresholds=Thresholds(0.5, None, (0.5, 0.5)),
        bound=None,
        features=FEATURES,
        mean=tuple(model.mean.tolist()),
        scale=tuple(model.scale.tolist()),
    )


def _about(config: Config) -> dict[str, Any]:
    """What the card says of the run: its settings, its id and its commit."""
    run = mlflow.active_run()
    return {**asdict(config), "run_id": run.info.run_id if run else "none", "commit": provenance()["commit"]}


def _compare(
    model: Classifier, config: Config, tokenizer: Path, logits: NDArray[np.float64], validation: Pairs
) -> dict[str, float]:
    """What eight bits cost: the same pairs by the fine-tuned model itself in full precision."""
    rows = np.sort(np.random.default_rng(config.seed).permutation(len(validation))[:_COMPARED])
    pairs, small = validation.take(rows), sigmoid(logits[rows])
    full = sigmoid(_full_precision(model, pairs, tokenizer, config))
    figures = {f"full_{name}": value for name, value in measure(full, pairs.labels).items()}
    figures |= {f"int8_{name}": value for name, value in measure(small, pairs.labels).items()}
    return figures | {
        "mean_difference": float(np.abs(full - small).mean()),
        "max_difference": float(np.abs(full - small).max()),
    }


@torch.inference_mode()
def _full_precision(model: Classifier, pairs: Pairs, tokenizer: Path, config: Config) -> NDArray[np.float64]:
    texts, of = pairs.mails()
    pooled, features = embeddings(model, texts, tokenizer, config.max_length), torch.from_numpy(pairs.features)
    logits = model.judge(pooled[torch.from_numpy(of)], features, model.forest(features))
    return logits.double().numpy()


def _operating_point(
    scores: NDArray[np.float64], labels: NDArray[np.int64], thresholds: Thresholds
) -> dict[str, float]:
    """What the urgent threshold means on these pairs."""
    urgent, band = scores >= thresholds.urgent, (scores >= thresholds.band[0]) & (scores < thresholds.band[1])
    return {
        "urgent_threshold": thresholds.urgent,
        "urgent_share": float(urgent.mean()),
        "urgent_recall": float(urgent[labels == 1].mean()),
        "urgent_precision": float(labels[urgent].mean()),
        "band_share": float(band.mean()),
    }


def _at_bound(scores: NDArray[np.float64], validation: Pairs, certificates: Sequence[Certificate]) -> dict[str, float]:
    """What each certificate says and costs; nothing where there is none."""
    told = consequences(scores, validation, certificates)
    return {f"{of['slice']}.{name}": value for of in told for name, value in of.items() if name != "slice"}


def _log(noted: dict[str, float], prefix: str, figures: dict[str, float]) -> None:
    named = {f"{prefix}.{name}": value for name, value in figures.items()}
    noted.update(named)
    mlflow.log_metrics(named)
    print(prefix, " ".join(f"{name}={value:.4g}" for name, value in figures.items()))
