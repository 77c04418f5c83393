"""The artefact's example input: one pair of the invented mailbox in `data/sample`, rendered as the model sees it."""

import json
from pathlib import Path

from data.readers import read
from data.replay import replay
from training.registry import EXAMPLE
from training.render import render

SAMPLE = Path(__file__).parent.parent / "data" / "sample" / "mailbox.mbox"


def write_example(folder: Path, mailbox: Path = SAMPLE) -> None:
    """Writes the mailbox's latest pair, as a list of one {text, features}, beside the artefact's other files."""
    messages = sorted(read(mailbox, lambda bad: None), key=lambda message: message.date)  # noqa: ARG005
    *_, (message, recipient, features) = replay(messages, lambda message: message.recipients)
    pair = {"text": render(message, recipient, features).text, "features": [float(value) for value in features]}
    (folder / EXAMPLE).write_text(json.dumps([pair], indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
