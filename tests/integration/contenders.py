"""A mailbox in which what is urgent can be known, tiny artefacts that know it or do not, and what a command says."""

import json
import math
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from data.interactions import interactions
from data.schema import Message
from data.table import write_interactions, write_messages
from tests.integration.tiny import CERTAIN, make_artefact
from training.artefact import TOKENIZER, Thresholds, redescribe
from training.card import write_card

CUT = 1_650_931_200.0  # where the benchmark's validation begins
HOUR = 3_600.0
MAILS = 600  # 15 bins of 40: every one of them has the same share of exceptions
EXCEPTION = 20  # one urgent mail in so many stays unanswered, and one other is answered
HONEST = CERTAIN / math.log(EXCEPTION - 1)  # the temperature at which a tiny artefact's probabilities are true
ADA = "ada@x.invalid"


def write_tables(home: Path) -> Path:
    """The mailbox as `m.parquet` and `i.parquet`, with Ada's mails as the pairs; the folder."""
    mails = mailbox()
    write_messages(mails, home / "m.parquet")
    write_interactions((each for each in interactions(mails, posts=2) if each.recipient != ADA), home / "i.parquet")
    return home


def mailbox() -> list[Message]:
    """Ada asks twelve people; those of her mails that say "urgent" are answered, but for one in twenty; and before the
    cut she wrote as many."""
    kinds = random.Random(0).sample(["urgent", "normal"] * (MAILS // 2), MAILS)  # noqa: S311
    seen = {"urgent": 0, "normal": 0}
    mails: list[Message] = []
    for number in range(-MAILS, MAILS):
        kind, who = kinds[number % MAILS], f"r{number % 12}@x.invalid"
        is_exception = seen[kind] % EXCEPTION == 7
        seen[kind] += 1
        at, words = CUT + number * HOUR, f"{kind} {'weekly' if number % 2 else 'random'}"
        mails.append(_mail(f"m{number}", ADA, who, at, words))
        if (kind == "urgent") != is_exception:
            mails.append(_mail(f"a{number}", who, ADA, at + HOUR / 2, "done", f"m{number}"))
    last = CUT + MAILS * HOUR  # everybody is still there: silence of somebody absent is no pair
    return [*mails, *(_mail(f"l{who}", f"r{who}@x.invalid", ADA, last + who, "bye") for who in range(12))]


def _mail(message_id: str, sender: str, to: str, date: float, words: str, parent: str | None = None) -> Message:
    return Message(
        "team", message_id, date, sender, sender, (to,), (), words, parent, words, len(words), sender_id=sender
    )


def contender(folder: Path, word: str = "urgent", temperature: float = HONEST, urgent: float = 0.5) -> Path:
    """A tiny artefact of the folder's name that waits for the word, with its card."""
    make_artefact(folder)
    tokenizer = (folder / TOKENIZER).read_text()
    (folder / TOKENIZER).write_text(tokenizer.replace('"urgent"', f'"{word}"'))
    thresholds = Thresholds(urgent, None, (0.4, 0.6))
    redescribe(folder, version=folder.name, temperature=temperature, thresholds=thresholds)
    write_card(folder, {}, {})
    return folder


def copied(empty: Path, home: Path) -> str:
    """A registry of one's own: making MLflow's database takes seconds, a copy of an empty one none."""
    shutil.copy(empty, home / "mlflow.db")
    return f"sqlite:///{home / 'mlflow.db'}"


def stored(empty: Path, name: str) -> Path:
    """The `artefact.json` of that artefact, as it was registered last, in MLflow's store."""
    files = (empty.parent / "artifacts").glob(f"models/*/artifacts/artifacts/{name}/artefact.json")
    return max(files, key=lambda file: file.stat().st_mtime_ns)


def spoil(file: Path, **changes: Any) -> None:
    """Changes what it says, behind everybody's back."""
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}, indent=2) + "\n")


def outcome(main: Callable[[], None], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """A command's exit status and what it says: its output, or where it fails the line that says why."""
    capsys.readouterr()
    status: Any = 0
    try:
        main()
    except SystemExit as ended:
        status = ended.code or 0
    said = capsys.readouterr()
    if isinstance(status, str):
        return 1, status
    return status, (said.err.strip().splitlines()[-1] if status == 2 else said.out.strip())
