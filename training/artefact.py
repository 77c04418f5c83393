"""A trained classifier as serving runs it: one folder, one graph, neither torch nor transformers.

A folder holds `graph.xml` and `graph.bin` (OpenVINO), `tokenizer.json`, and `artefact.json` with everything else.
"""

import json
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from tokenizers import Tokenizer

from data.history import FEATURES
from training.render import Example
from training.tokens import encode, load_tokenizer

STARTER = Path(__file__).parent / "starter"
"""The champion that comes with the repository."""

GRAPH, TOKENIZER, DESCRIPTION = "graph.xml", "tokenizer.json", "artefact.json"


class ArtefactError(Exception):
    """The folder holds no artefact that this code can run; the message says what is wrong and what to do."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Calibrated probabilities: at or above `urgent` it is urgent; at or below `discard` triage may discard a person's
    mail (None: never); a score inside `band` (low, high) is worth a second look."""

    urgent: float
    discard: float | None
    band: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Certificate:
    """With `confidence`, less than the share `bound` of a slice's urgent mail scores at or below `threshold`.

    It rests on `urgent` validation pairs, of which `lost` score that low; `clustered` is the upper bound on the share
    lost when a recipient's pairs count as alike. `training.bound` says how it is made and what it assumes.
    """

    slice: str
    threshold: float
    bound: float
    confidence: float
    urgent: int
    lost: int
    clustered: float


PEOPLE, MACHINES = "people", "machines"


@dataclass(frozen=True, slots=True)
class Description:
    """What an artefact says of itself. `certificates` has at most one a slice; `bound` and `thresholds.discard` repeat
    the people's. `trained_until` is seconds since the epoch; `mean` and `scale` are the features' signed-log scaling.

    The probability is sigmoid(logit / temperature + offset).
    """

    version: str
    encoder: str
    dataset_digest: str
    trained_until: float
    max_length: int
    temperature: float
    offset: float
    thresholds: Thresholds
    bound: float | None
    features: tuple[str, ...]
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    certificates: tuple[Certificate, ...] = ()

    def certificate(self, slice_: str) -> Certificate | None:
        """What is certified for the slice, if anything."""
        return next((each for each in self.certificates if each.slice == slice_), None)

    def write(self, folder: Path) -> None:
        """Writes the folder's `artefact.json`."""
        (folder / DESCRIPTION).write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")


class Artefact:
    """A loaded classifier; its methods may be called from many threads."""

    def __init__(self, description: Description, tokenizer: Tokenizer, graph: ov.CompiledModel) -> None:
        self.description = description
        self._tokenizer = tokenizer
        self._graph = graph
        self._local = threading.local()

    @classmethod
    def load(cls, folder: Path) -> "Artefact":
        """The artefact in `folder`, compiled for this machine's processor. Raises ArtefactError."""
        description = describe(folder)
        try:
            tokenizer = load_tokenizer(folder / TOKENIZER)
            graph = ov.Core().compile_model(folder / GRAPH, "CPU", _PRECISE)
        except Exception as error:  # both libraries raise bare RuntimeError and Exception for any damage
            raise ArtefactError(f"{folder}: cannot be loaded ({_first_line(error)}); export it again") from None
        return cls(description, tokenizer, graph)

    @property
    def version(self) -> str:
        return self.description.version

    @property
    def thresholds(self) -> Thresholds:
        return self.description.thresholds

    @property
    def bound(self) -> float | None:
        return self.description.bound

    def certificate(self, *, is_automated: bool) -> Certificate | None:
        """What is certified for mail that a machine sent, or a person; without it nothing of the sort is discarded."""
        return self.description.certificate(MACHINES if is_automated else PEOPLE)

    @property
    def max_length(self) -> int:
        return self.description.max_length

    @property
    def dataset_digest(self) -> str:
        return self.description.dataset_digest

    @property
    def trained_until(self) -> float:
        return self.description.trained_until

    def predict(self, examples: Sequence[Example], *, max_length: int | None = None) -> NDArray[np.float64]:
        """Calibrated probabilities of "urgent", (N,), each independent of the other examples of the call.

        `max_length` tokens are read of each text, the artefact's own number by default.
        """
        logits = self.logits(examples, max_length=max_length)
        return sigmoid(logits / self.description.temperature + self.description.offset)

    def logits(self, examples: Sequence[Example], *, max_length: int | None = None) -> NDArray[np.float64]:
        """What the graph itself says, (N,), before temperature and offset."""
        rows = encode(self._tokenizer, [example.text for example in examples], max_length or self.max_length)
        request = self._request()
        scores = [_infer(request, ids, example.features) for ids, example in zip(rows, examples, strict=True)]
        return np.array(scores, dtype=np.float64)

    def _request(self) -> ov.InferRequest:
        """This thread's own request: requests are not shared between threads."""
        if not hasattr(self._local, "request"):
            self._local.request = self._graph.create_infer_request()
        request: ov.InferRequest = self._local.request
        return request


# Other precisions would make a score depend on the processor: bfloat16 is on by default where there is hardware for it.
_PRECISE = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}


def describe(folder: Path) -> Description:
    """What `artefact.json` says, without loading the graph. Raises ArtefactError."""
    missing = [name for name in (DESCRIPTION, GRAPH, "graph.bin", TOKENIZER) if not (folder / name).is_file()]
    if missing:
        raise ArtefactError(f"{folder}: {', '.join(missing)} is missing; give an artefact's folder")
    try:
        stated = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in stated.items()
        }
        low, high = values["thresholds"]["band"]
        values["thresholds"] = Thresholds(values["thresholds"]["urgent"], values["thresholds"]["discard"], (low, high))
        values["certificates"] = tuple(Certificate(**each) for each in values.get("certificates", ()))
        described = Description(**values)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ArtefactError(
            f"{folder / DESCRIPTION}: not a description ({_first_line(error)}); export it again"
        ) from None
    if described.features != FEATURES:
        raise ArtefactError(f"{folder}: trained on other features than data.history makes; train or fetch a newer one")
    people = described.certificate(PEOPLE)
    if (described.thresholds.discard, described.bound) != (people and people.threshold, people and people.bound):
        raise ArtefactError(
            f"{folder}: would discard without a certificate; run `python -m training.calibration` on it"
        )
    return described


def redescribe(folder: Path, **changes: Any) -> Description:
    """Changes what `artefact.json` says and returns it. Raises ArtefactError."""
    changed = replace(describe(folder), **changes)
    changed.write(folder)
    return changed


def _infer(request: ov.InferRequest, ids: list[int], features: NDArray[np.float32]) -> float:
    """One example by itself: no padding, so no other example can touch it."""
    tokens = np.array([ids], dtype=np.int64)
    inputs = {"input_ids": tokens, "attention_mask": np.ones_like(tokens), "features": features[None, :]}
    return float(request.infer(inputs, share_inputs=True)[0][0])  # they outlive the call; copying takes 40 µs


def sigmoid(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probabilities from log-odds."""
    probabilities: NDArray[np.float64] = 0.5 * (1.0 + np.tanh(0.5 * logits))  # never overflows
    return probabilities


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
