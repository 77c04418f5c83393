"""The invented mailbox and its rehearsal: fit to practise on, the same every time, and nobody's."""

from pathlib import Path

import numpy as np
import pytest

from data.readers import Aside, read
from training.pairs import BadPairs
from training.practice import invented_mails, write_mailbox
from training.rehearsal import cuts_of, practice_tables, rehearsal, tables_of


def test_every_invented_mail_is_read_back(tmp_path: Path) -> None:
    """A notebook shows how a mailbox is read; its own must not be the exception."""
    aside = Aside(tmp_path / "aside")

    count = write_mailbox(tmp_path / "practice.mbox", 60)
    messages = list(read(tmp_path / "practice.mbox", aside))

    assert aside.reasons == []
    assert len(messages) == count == len({message.message_id for message in messages}) > 60
    assert all(message.date > 0 and message.recipients for message in messages)


def test_the_same_seed_invents_the_same_mailbox(tmp_path: Path) -> None:
    """Two runs are only comparable on the same mail."""
    for name, seed in (("one", 3), ("two", 3), ("other", 4)):
        write_mailbox(tmp_path / name, 30, seed)

    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes() != (tmp_path / "other").read_bytes()


def test_an_answer_comes_after_a_mail_that_its_author_received() -> None:
    """An answer out of nowhere would be a label that no history can explain."""
    mails = {mail["Message-ID"]: mail for mail in invented_mails(60)}
    answers = [(mail, mails[mail["In-Reply-To"]]) for mail in mails.values() if mail["In-Reply-To"]]

    assert answers
    assert all(answer["Date"].datetime > mail["Date"].datetime for answer, mail in answers)
    assert all(answer["From"] in mail["To"] and mail["From"] == answer["To"] for answer, mail in answers)


def test_invented_addresses_reach_nobody() -> None:
    """Whatever reads the mailbox may also send."""
    fields = [str(mail[name]) for mail in invented_mails(60) for name in ("From", "To", "Cc") if mail[name]]

    assert all(address.rstrip(">").endswith(".example") for field in fields for address in field.split(", "))


def test_each_span_of_the_rehearsal_holds_answers_and_silence(tmp_path: Path) -> None:
    """A span with one label only would end the notebooks with an error."""
    tables = practice_tables(tmp_path)
    config, pairs = rehearsal("r", tables, tmp_path, "sqlite://"), tables.pairs()

    start, end = config.cuts
    spans = [pairs.between(*span) for span in ((-np.inf, start), (start, end), (end, np.inf))]

    assert [round(len(span) / len(pairs), 1) for span in spans] == [0.6, 0.2, 0.2]
    assert all(10 <= span.labels.sum() < len(span) / 2 for span in spans)
    assert pairs.automated.any()
    assert pairs.labels[pairs.automated].sum() == 0


def test_a_mailbox_without_pairs_is_said(tmp_path: Path) -> None:
    """A mailbox that only holds one's own mail is the first that somebody will try."""
    (tmp_path / "one.eml").write_bytes(b"From: ada@x.invalid\nSubject: alone\n\nwords\n")

    with pytest.raises(BadPairs, match="no pair of mail and recipient"):
        cuts_of(tables_of(tmp_path / "one.eml", tmp_path))
