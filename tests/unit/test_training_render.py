"""What the model reads of a mail: its own words."""

from dataclasses import replace

import numpy as np
import pytest

from data.history import FEATURES
from data.parse import parse
from training.render import TEXT_LIMIT, own_words, render

MAIL = parse(b"From: ada.okafor@team.invalid\nTo: ben@team.invalid\nSubject: Disk\n\nPlease look.\n\n> old\n-- \nAda\n")


@pytest.mark.parametrize(
    ("body", "kept"),
    [
        ("new\n> old\n>> older\nalso new", "new\nalso new"),
        ("On Mon, Oct 5, 2026 at 2:14 AM Ada <a@b> wrote:\n> old\nnew", "new"),
        ("Am 05.10.26 um 02:14 schrieb Ada:\n> alt\nneu", "neu"),
        ("new\n-----Original Message-----\nFrom: x\nold", "new"),
        ("new\n-- \nsignature", "new"),
        ("a -- b\n--\nkept", "a -- b\n--\nkept"),
        ("> only quotes", ""),
        ("", ""),
    ],
)
def test_quotes_and_signatures_are_zoned_out(body: str, kept: str) -> None:
    """Zoning took request detection from 72 % to 84 % (Lampert 2010)."""
    assert own_words(body) == kept


def test_the_words_are_the_same_for_every_recipient() -> None:
    """So a mail is encoded once; who reads it stands in the features."""
    features = np.zeros(3, dtype=np.float32)

    example = render(MAIL, "ben@team.invalid", features)

    assert example.text == render(MAIL, "cleo@team.invalid", features).text == "Disk\nPlease look."
    assert example.features is features


@pytest.mark.parametrize(
    ("style", "text"),
    [
        ("people", "ada okafor to ben: Disk\nPlease look."),
        ("quoted", "Disk\nPlease look.\n\n> old\n-- \nAda\n"),
        ("history", "is to 1, to count 1\nDisk\nPlease look."),
    ],
)
def test_other_styles_are_there_to_be_compared(style: str, text: str) -> None:
    """Which one reads best is an experiment, not an opinion."""
    features = np.zeros(len(FEATURES), dtype=np.float32)
    features[[FEATURES.index("is_to"), FEATURES.index("to_count")]] = 1.0

    assert render(MAIL, "ben@team.invalid", features, style).text == text


def test_a_long_mail_is_cut() -> None:
    """The tokenizer must not see megabytes of which it keeps 128 tokens."""
    example = render(replace(MAIL, body="word " * 10_000), "ben@team.invalid", np.zeros(3, dtype=np.float32))

    assert len(example.text) == TEXT_LIMIT
