"""The form of a mail as numbers, and whether it names its reader."""

import pytest

from data.form import FORM, form
from data.parse import parse
from data.persons import hashed


def formed(
    body: str, subject: str = "s", recipient: str = "ben.stone@team.invalid", name: str = ""
) -> dict[str, float]:
    mail = parse(f"From: ada@team.invalid\nTo: ben@team.invalid\nSubject: {subject}\n\n{body}".encode())
    return dict(zip(FORM, form(mail, recipient, hashed(name) if name else 0), strict=True))


@pytest.mark.parametrize(
    ("body", "me", "another"),
    [
        ("Hi Ben,\nplease look", 1.0, 0.0),
        ("Ben,\nplease look", 1.0, 0.0),
        ("Hallo Stone, bitte schauen", 1.0, 0.0),
        ("Dear Cleo,\nplease look", 0.0, 1.0),
        ("Hi,\nplease look", 0.0, 0.0),
        ("Hi all,\nplease look", 0.0, 0.0),
        ("please look", 0.0, 0.0),
    ],
)
def test_a_greeting_says_whom_a_mail_waits_for(body: str, me: float, another: float) -> None:
    """Of eight recipients the one who is greeted answers."""
    found = formed(body)

    assert (found["greets_recipient"], found["greets_another"]) == (me, another)


def test_a_first_name_that_was_learned_is_known_whatever_the_address() -> None:
    """Half of all addresses do not hold their owner's name."""
    assert formed("Hi Ben, look", recipient="b12@team.invalid")["greets_recipient"] == 0.0
    assert formed("Hi Ben, look", recipient="b12@team.invalid", name="ben")["greets_recipient"] == 1.0
    assert formed("ask Ben or ben", recipient="b12@team.invalid", name="ben")["names_recipient"] == 2.0


def test_the_authors_own_words_are_told_from_what_they_quote() -> None:
    """A question in a quote was asked by somebody else, and long ago."""
    found = formed("On Monday Cleo wrote:\n> why?\n> how?\nBecause.\nCan you test it?\n-- \nAda?")

    assert found["questions"] == found["ends_asking"] == found["asks_politely"] == 1.0
    assert (found["own_lines"], found["quoted_lines"]) == (2.0, 2.0)


def test_a_patch_tells_its_place_in_a_series_and_who_has_seen_it() -> None:
    """Nobody answers the eleventh of twelve patches that they have reviewed already."""
    tags = "Signed-off-by: Ada <a@x>\nReviewed-by: Ben <ben.stone@team.invalid>\nTested-by: Cleo <c@x>"
    found = formed(f"words\n{tags}\n---\n+ new\n- old", subject="[PATCH v3 11/12] x")

    assert (found["series_length"], found["series_version"]) == (12.0, 3.0)
    assert (found["signed_off"], found["reviewed"], found["reviewed_by_recipient"]) == (1.0, 2.0, 1.0)
    assert (found["lines_added"], found["lines_removed"]) == (1.0, 2.0)


def test_nothing_at_all_has_a_form() -> None:
    """An empty mail is scored too."""
    assert set(formed("").values()) <= {0.0, 1.0}
