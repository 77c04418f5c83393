"""The examples of a run, from tables: aligned, causal, and refused where nothing can be learned."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data.schema import Interaction, Message
from data.table import read_interactions, read_messages, write_interactions, write_messages
from training.pairs import BadPairs, check_labels, check_recipients, load_pairs

START = 1_700_000_000.0


def tables(folder: Path, count: int = 30) -> tuple[Path, Path]:
    """A small mailbox of two lists, every third mail answered within the hour."""
    messages, interactions = [], []
    for number in range(count):
        name = "one" if number % 2 else "two"
        answer = number % 3 == 2
        sender, recipient = ("ben@x.invalid", "ada@x.invalid") if answer else ("ada@x.invalid", "ben@x.invalid")
        messages.append(
            Message(
                name, f"{number}", START + number * 600.0, sender, sender, (recipient,), (), f"matter {number}",
                f"{number - 2}" if answer and number > 2 else None, f"words {number}", 7, sender_id=sender,
            )
        )  # fmt: skip
        replied = (number + 2) % 3 == 2
        interactions.append(
            Interaction(
                name, f"{number}", recipient, recipient, "to", START + number * 600.0, 1, replied, replied,
                0.3 if replied else None, None, sender, sender, "matter", False, False,
            )
        )  # fmt: skip
    write_messages(messages, folder / "m.parquet")
    write_interactions(interactions, folder / "i.parquet")
    return folder / "m.parquet", folder / "i.parquet"


def test_pairs_are_aligned_and_in_order_of_time(tmp_path: Path) -> None:
    """A label beside the wrong text would only show as a mediocre model."""
    pairs = load_pairs(*tables(tmp_path), "replied_24h")

    assert len(pairs) == 30
    assert np.all(np.diff(pairs.dates) > 0)
    assert all(text.endswith(f"matter {n}\nwords {n}") for n, text in enumerate(pairs.texts))
    assert pairs.labels.tolist() == [int((n + 2) % 3 == 2) for n in range(30)]


@pytest.mark.parametrize(
    "change",
    [
        lambda row: replace(row, replied=not row.replied, replied_24h=not row.replied_24h),
        lambda row: replace(row, reply_latency_h=1.0, reply_message_id="99"),
    ],
)
def test_outcomes_are_labels_and_change_no_feature(
    tmp_path: Path, change: Callable[[Interaction], Interaction]
) -> None:
    """What the recipient did is what we predict; a feature that knew it would be worthless in life."""
    messages, interactions = tables(tmp_path)
    permuted = tmp_path / "p.parquet"
    write_interactions([change(row) for row in read_interactions(interactions)], permuted)

    given, changed = load_pairs(messages, interactions, "replied_24h"), load_pairs(messages, permuted, "replied_24h")

    assert np.array_equal(given.features, changed.features)
    assert given.texts == changed.texts


def test_no_mail_lies_on_both_sides_of_a_split(tmp_path: Path) -> None:
    """The head must be fitted on mails that the encoder has not seen, to whomever they went."""
    pairs = load_pairs(*tables(tmp_path), "replied_24h")
    doubled = pairs.joined(pairs)

    drawn, rest = doubled.split_by_mail(24, seed=3)

    assert sorted((*drawn, *rest)) == list(range(60))
    assert (len(drawn), len(rest)) == (24, 36)
    assert not set(doubled.take(drawn).texts) & set(doubled.take(rest).texts)
    assert drawn.tolist() != doubled.split_by_mail(24, seed=4)[0].tolist()


def test_a_mail_is_read_once_for_all_its_recipients(tmp_path: Path) -> None:
    """Encoding is what costs; ten recipients must not cost ten times as much."""
    pairs = load_pairs(*tables(tmp_path), "replied_24h")
    texts, of = pairs.joined(pairs).mails()

    assert texts == pairs.texts
    assert of.tolist() == [*range(30), *range(30)]


def test_pairs_of_another_mailbox_are_refused(tmp_path: Path) -> None:
    """Tables that do not belong together would silently lose rows."""
    messages, interactions = tables(tmp_path)
    write_interactions(
        [replace(row, message_id="x" + row.message_id) for row in read_interactions(interactions)], interactions
    )

    with pytest.raises(BadPairs, match="are not in"):
        load_pairs(messages, interactions, "replied_24h")


def test_no_pair_at_all_is_said(tmp_path: Path) -> None:
    """A mailbox of one's own mail has none."""
    messages, interactions = tables(tmp_path)
    write_interactions([], interactions)

    with pytest.raises(BadPairs, match="no pair of mail and recipient"):
        load_pairs(messages, interactions, "replied_24h")


def test_equal_labels_are_said(tmp_path: Path) -> None:
    """A mailbox without replies teaches nothing."""
    messages, interactions = tables(tmp_path)
    write_interactions(
        [replace(row, replied=False, replied_24h=False) for row in read_interactions(interactions)], interactions
    )

    with pytest.raises(BadPairs, match="none was answered"):
        check_labels(load_pairs(messages, interactions, "replied_24h"), "training pairs")


def test_an_unknown_label_is_said(tmp_path: Path) -> None:
    """Only outcomes of the table can be learned."""
    with pytest.raises(BadPairs, match="replied or replied_24h"):
        load_pairs(*tables(tmp_path), "reply_latency_h")


def test_a_list_held_out_is_not_even_history(tmp_path: Path) -> None:
    """A list that was seen as history is not one that was never seen."""
    files = tables(tmp_path)

    rest, alone = load_pairs(*files, "replied_24h", without="two"), load_pairs(*files, "replied_24h", only="two")

    write_messages([mail for mail in read_messages(files[0]) if mail.list == "two"], files[0])
    write_interactions([row for row in read_interactions(files[1]) if row.list == "two"], files[1])
    fresh = load_pairs(*files, "replied_24h")
    assert len(rest) == len(alone) == 15
    assert not set(rest.texts) & set(alone.texts)
    assert np.array_equal(alone.features, fresh.features)


def test_one_recipient_alone_is_said(tmp_path: Path) -> None:
    """What one person does says nothing about others, and gives no interval."""
    pairs = load_pairs(*tables(tmp_path), "replied_24h")
    ada = np.flatnonzero(np.array(pairs.recipients) == "ada@x.invalid")

    with pytest.raises(BadPairs, match="one recipient; give a mailbox of several"):
        check_recipients(pairs.take(ada), "training pairs")


def test_an_outcome_counts_as_known_when_it_happened(tmp_path: Path) -> None:
    """A peer that adapts must hear of a reply when it was sent, and of silence after a day."""
    pairs = load_pairs(*tables(tmp_path), "replied_24h")

    waited = pairs.settled - pairs.dates

    assert waited[pairs.labels == 1] == pytest.approx(0.3 * 3_600)
    assert waited[pairs.labels == 0] == pytest.approx(86_400)
