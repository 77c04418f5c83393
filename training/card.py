"""The model card: what an artefact is, is for and cannot do, written from its description and its run's figures.

`python -m training.card FOLDER` writes `CARD.md` again from the folder's `artefact.json` and `figures.json`.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from training.artefact import ArtefactError, Certificate, Description, describe

CARD, FIGURES = "CARD.md", "figures.json"
Figures = Mapping[str, float]
Params = Mapping[str, Any]

_LABELS = {"replied_24h": "did the recipient answer within a day", "replied": "did the recipient ever answer"}
_BESIDE = {"without_list": "list left out", "notices": "invented mail beside", "asides": "auxiliary tasks beside"}
_UNKNOWN = "not kept with this artefact"
_RUN = "validation"  # what the names of the run's figures on validation begin with
_COLUMNS = {
    "n": "pairs",
    "positives": "urgent",
    "auroc": "AUROC",
    "average_precision": "average precision",
    "ece": "ECE",
}


class CardError(Exception):
    """The folder's card cannot be made, or is about something else; the message says what to do."""


def card(description: Description, figures: Figures, params: Params) -> str:
    """The card as Markdown. `figures` are the run's metrics by their names in MLflow, `params` its settings with
    `run_id` and `commit`; where both are empty the card says so."""
    sections = {
        "What it is, and for whom": _identity(description),
        "Intended use": _use(),
        "Data": _data(description, params),
        "Figures": _figures(figures),
        "Thresholds and certificates": _thresholds(description),
        "What it cannot do": _limits(description),
        "How to check": _check(),
        "Where it comes from": _origin(description, params),
    }
    body = (f"## {title}\n\n" + "\n".join(lines) for title, lines in sections.items())
    return "\n\n".join([f"# Model card: {description.version}", *body]) + "\n"


def write_card(folder: Path, figures: Figures, params: Params) -> None:
    """Writes `figures.json` and `CARD.md` beside `artefact.json`. Raises ArtefactError."""
    kept = {"params": dict(params), "figures": {name: float(value) for name, value in figures.items()}}
    (folder / FIGURES).write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")
    (folder / CARD).write_text(made(folder), encoding="utf-8")


def made(folder: Path) -> str:
    """The card that `artefact.json` and `figures.json` make now; without figures where there are none.

    Raises ArtefactError and CardError.
    """
    file = folder / FIGURES
    try:
        kept = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {"params": {}, "figures": {}}
        return card(describe(folder), kept["figures"], kept["params"])
    except (ValueError, TypeError, KeyError, AttributeError):
        raise CardError(f"{file}: no figures of a run; copy the file from the run's folder again") from None


def checked(folder: Path) -> str:
    """The folder's card, which says what its artefact says. Raises ArtefactError and CardError."""
    now, file = made(folder), folder / CARD
    if file.exists() and file.read_text(encoding="utf-8") != now:
        raise CardError(f"{file}: does not say what the artefact says; run `python -m training.card {folder}`")
    return now


def tags(description: Description) -> dict[str, str]:
    """What the registry notes of a version beside its card."""
    thresholds = description.thresholds
    return {
        "artefact_version": description.version,
        "dataset_digest": description.dataset_digest,
        "temperature": repr(description.temperature),
        "offset": repr(description.offset),
        "urgent_threshold": repr(thresholds.urgent),
        "discard_threshold": _or_none(thresholds.discard),
        "band": f"{thresholds.band[0]!r} {thresholds.band[1]!r}",
        "bound": _or_none(description.bound),
    }


def main() -> None:
    """Writes the card and says where; exit status 0, or 2 with one line on standard error."""
    parser = argparse.ArgumentParser(prog="training.card", description=__doc__)
    parser.add_argument("folder", type=Path, help="an artefact's folder with figures.json")
    folder: Path = parser.parse_args().folder
    try:
        if not (folder / FIGURES).exists():
            raise CardError(f"{folder / FIGURES}: there is no such file; training.train writes it with the artefact")
        (folder / CARD).write_text(made(folder), encoding="utf-8")
    except (ArtefactError, CardError, OSError) as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    print(folder / CARD)


def _identity(description: Description) -> Iterator[str]:
    yield "A classifier that gives, for one mail and one of its recipients, the probability that the mail is urgent to"
    yield f"that person. `{description.encoder}` reads the mail ({description.max_length} tokens), joined with"
    yield f"{len(description.features)} numbers on the mail's form and on who reacted to whom before. It is for those"
    yield "who run Clarion, or train a successor."


def _use() -> Iterator[str]:
    yield "To decide when each recipient is shown a notification: at once, in a digest, or never where a certificate"
    yield "below allows it. Not for judging the people who answer or do not, nor for mail that somebody's safety"
    yield "depends on without another way to reach them."


def _data(description: Description, params: Params) -> Iterator[str]:
    label, until = params.get("label", ""), _day(description.trained_until)
    yield f"- tables: SHA-256 `{description.dataset_digest}` (messages, then interactions)"
    yield f"- learned from: pairs of mail and recipient before {until}"
    yield f"- calibrated and chosen on: pairs from {until} to before {params.get('test_from', f'({_UNKNOWN})')}"
    yield from (f"- {title}: {params.get(key, _UNKNOWN) or 'none'}" for key, title in _BESIDE.items())
    yield f"- label: {_LABELS.get(label, _UNKNOWN)}{f' (`{label}`)' if label else ''}"
    yield ""
    yield "**A reply is a proxy for urgency, not urgency.** Private replies are invisible; nobody replies to an alarm."


def _figures(figures: Figures) -> Iterator[str]:
    if f"{_RUN}.auroc" not in figures:
        yield f"The run's figures are {_UNKNOWN}; the command below measures them."
        return
    prefixes = {"this model": _RUN, **{name: f"{_RUN}.{name}" for name in _peers(figures)}}
    yield "On validation, whose pairs also chose temperature and thresholds; peers learned from the same tables."
    yield ""
    yield f"| model | {' | '.join(_COLUMNS.values())} |"
    yield "|---" * (1 + len(_COLUMNS)) + "|"
    yield from (f"| {name} | {_cells(figures, prefix)} |" for name, prefix in prefixes.items())
    yield ""
    shown = {f"{prefix}.{key}" for prefix in prefixes.values() for key in _COLUMNS}
    yield from _others({name: value for name, value in figures.items() if name not in shown})


def _others(figures: Figures) -> Iterator[str]:
    """A line for all figures whose names begin alike."""
    groups: dict[str, list[str]] = {}
    for name, value in figures.items():
        prefix, _, key = name.rpartition(".")
        groups.setdefault(prefix, []).append(f"{key} {value:.4g}")
    yield from (f"- {prefix}: {', '.join(said)}" for prefix, said in groups.items())


def _peers(figures: Figures) -> list[str]:
    parts = (name.split(".") for name in figures)
    return [part[1] for part in parts if len(part) == 3 and (part[0], part[2]) == (_RUN, "auroc")]


def _cells(figures: Figures, prefix: str) -> str:
    values = (float(figures[f"{prefix}.{key}"]) for key in _COLUMNS)
    return " | ".join(f"{value:.0f}" if value.is_integer() else f"{value:.4f}" for value in values)


def _thresholds(description: Description) -> Iterator[str]:
    thresholds, (low, high) = description.thresholds, description.thresholds.band
    yield f"- probability: sigmoid(logit / {description.temperature:.6g} + {description.offset:.6g})"
    yield f"- urgent: at or above {thresholds.urgent:.6g}"
    yield f"- looked at again: from {low:.6g} to below {high:.6g}"
    yield from map(_certificate, description.certificates)
    if not description.certificates:
        yield "- certificates: none, so nothing may be discarded"


def _certificate(each: Certificate) -> str:
    return (
        f"- certificate, mail of {each.slice}: with {each.confidence:.0%} confidence less than {each.bound:.2%} of the "
        f"urgent scores at or below {each.threshold:.6g} ({each.lost} of {each.urgent} on validation; at most "
        f"{each.clustered:.2%} when a recipient's pairs count as alike)"
    )


def _limits(description: Description) -> Iterator[str]:
    yield "- Know what is urgent where nobody would reply, or in other languages and trades than its tables'."
    yield "- Know strangers: without history it judges words and form alone."
    yield f"- Read past the first {description.max_length} tokens, attachments, or pictures."
    yield "- Promise that a certificate holds on mail unlike validation's."


def _check() -> Iterator[str]:
    yield "On tables of your own, beside its peers, with intervals over recipients:"
    yield ""
    yield "    python -m training.evaluation --model FOLDER --messages M.parquet --interactions I.parquet \\"
    yield "        --report out.json"


def _origin(description: Description, params: Params) -> Iterator[str]:
    yield f"- version: `{description.version}`"
    yield from (f"- {title}: {_code(params, key)}" for title, key in _ORIGIN.items())


_ORIGIN = {"experiment": "name", "MLflow run": "run_id", "commit": "commit", "seed": "seed"}


def _code(params: Params, key: str) -> str:
    return f"`{params[key]}`" if key in params else _UNKNOWN


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()


def _or_none(value: float | None) -> str:
    return "none" if value is None else repr(value)


if __name__ == "__main__":
    main()
