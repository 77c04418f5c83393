"""Who replied to what: derived from the mails, and checked against the benchmark's own table."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from data.interactions import DAY, HOUR, interactions
from data.schema import Interaction, Message
from data.table import read_interactions, read_messages

START = 1_700_000_000.0


def mail(number: int, sender: str, to: Sequence[str], at: float, parent: int | None = None) -> Message:
    return Message(
        list="team",
        message_id=f"{number}",
        date=START + at,
        sender=f"{sender}@team.invalid",
        sender_name=sender,
        to=tuple(f"{name}@team.invalid" for name in to),
        cc=(),
        subject="matter",
        in_reply_to=None if parent is None else f"{parent}",
        body="words",
        body_len=5,
        sender_id=sender,
    )


def of(rows: list[Interaction], message_id: str) -> list[Interaction]:
    return [row for row in rows if row.message_id == message_id]


def test_the_first_reply_is_the_outcome() -> None:
    """Latency decides the label; a later second answer must not move it."""
    mails = [
        mail(0, "ben", ["ada"], 0),
        mail(1, "ada", ["ben"], HOUR),
        mail(3, "ben", ["ada"], 30 * HOUR, parent=1),
        mail(2, "ben", ["ada"], 3 * HOUR, parent=1),
    ]

    (row,) = of(list(interactions(mails, posts=2)), "1")

    assert (row.replied, row.replied_24h, row.reply_message_id) == (True, True, "2")
    assert row.reply_latency_h == pytest.approx(2.0)


def test_a_late_reply_is_a_reply_but_not_within_a_day() -> None:
    """Urgent means acted within the day."""
    mails = [
        mail(1, "ada", ["ben"], 0),
        mail(2, "ben", ["ada"], 25 * HOUR, parent=1),
        mail(3, "ben", ["ada"], 26 * HOUR),
    ]

    (row,) = of(list(interactions(mails, posts=2)), "1")

    assert (row.replied, row.replied_24h) == (True, False)


def test_a_reply_from_another_address_is_a_reply() -> None:
    """One reply in sixteen on the lists comes from an address that was not written to."""
    mails = [
        mail(0, "ben", ["ada"], 0),
        mail(1, "ada", ["ben"], HOUR),
        replace(mail(2, "ben", ["ada"], 2 * HOUR, parent=1), sender="ben@phone.invalid"),
    ]

    (row,) = of(list(interactions(mails, posts=2)), "1")

    assert row.replied


@pytest.mark.parametrize(
    ("before", "after", "kept"), [(5 * DAY, 5 * DAY, True), (40 * DAY, 5 * DAY, False), (5 * DAY, 20 * DAY, False)]
)
def test_silence_counts_only_of_somebody_who_is_there(before: float, after: float, kept: bool) -> None:
    """Somebody on leave did not find the mail unimportant."""
    mails = [mail(0, "ben", ["ada"], -before), mail(1, "ada", ["ben"], 0), mail(2, "ben", ["ada"], after)]

    rows = of(list(interactions(mails, posts=2)), "1")

    assert bool(rows) is kept


def test_a_person_who_writes_seldom_is_no_row() -> None:
    """Too little is known of them to call silence an answer."""
    mails = [mail(0, "ben", ["ada"], -HOUR), mail(1, "ada", ["ben"], 0), mail(2, "ben", ["ada"], HOUR)]

    assert of(list(interactions(mails, posts=3)), "1") == []


def test_one_person_named_twice_is_one_row() -> None:
    """Two addresses in To are one pair of eyes."""
    phone = replace(mail(0, "ben", ["ada"], 0), sender="ben@phone.invalid")
    mails = [phone, mail(1, "ben", ["ada"], 1), mail(2, "ada", ["ben"], 2), mail(3, "ben", ["ada"], 3)]
    mails[2] = replace(mails[2], cc=("ben@phone.invalid",))

    assert [row.recipient for row in of(list(interactions(mails, posts=2)), "2")] == ["ben@team.invalid"]


@pytest.mark.real_mail
@pytest.mark.slow
def test_the_benchmark_is_derived_again(real_mail: Path) -> None:
    """The labels that the project learns from are ours to explain; a whole list must come out the same."""
    name = "linux-raid"
    mails = [found for found in read_messages(real_mail / "lists" / "messages.parquet") if found.list == name]
    given = {
        (row.message_id, row.recipient): row
        for row in read_interactions(real_mail / "lists" / "interactions.parquet")
        if row.list == name
    }

    derived = {(row.message_id, row.recipient): row for row in interactions(mails)}

    both = given.keys() & derived.keys()
    assert len(both) > 0.99 * len(given.keys() | derived.keys())
    assert sum(given[pair].replied_24h == derived[pair].replied_24h for pair in both) > 0.999 * len(both)
