"""What the model reads of a mail: its own words."""

from dataclasses import replace

import numpy as np
import pytest

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


def test_the_example_says_who_writes_to_whom() -> None:
    """A greeting by name means the one who is greeted."""
    features = np.zeros(3, dtype=np.float32)

    example = render(MAIL, "ben@team.invalid", features)

    assert example.text == "ada okafor to ben: Disk\nPlease look."
    assert example.features is features


def test_a_long_mail_is_cut() -> None:
    """The tokenizer must not see megabytes of which it keeps 128 tokens."""
    example = render(replace(MAIL, body="word " * 10_000), "ben@team.invalid", np.zeros(3, dtype=np.float32))

    assert len(example.text) == TEXT_LIMIT
