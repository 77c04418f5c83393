"""A rehearsal: the whole chain of training in about a minute, on any mailbox; its figures are no result."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from data.interactions import interactions
from data.notices import NOTICES
from data.readers import Aside, read
from data.table import read_interactions, write_interactions, write_messages
from training.benchmark import Tables
from training.config import Config
from training.pairs import BadPairs
from training.practice import write_mailbox

POSTS = 5  # mails that a person must have written before silence of theirs counts
SHARES = 0.6, 0.8  # of the pairs lie before validation begins, and before testing does
MAILS = 240
NOTICE_LINES = 14  # of each file of notices: all of them would take longer than everything else


def practice_tables(folder: Path, mails: int = MAILS, seed: int = 0) -> Tables:
    """The tables of an invented mailbox (training.practice)."""
    write_mailbox(folder / "practice.mbox", mails, seed)
    return tables_of(folder / "practice.mbox", folder)


def tables_of(mail: Path, folder: Path, posts: int = POSTS) -> Tables:
    """The two tables of a mailbox, written into the folder; what cannot be read goes to its `aside`.

    Raises data.containers.MailboxError and data.inbox.InboxError.
    """
    tables = Tables(folder / "messages.parquet", folder / "interactions.parquet")
    messages = list(read(mail, Aside(folder / "aside"), source=mail.name.partition(".")[0]))
    write_messages(messages, tables.messages)
    write_interactions(interactions(messages, posts=posts), tables.interactions)
    return tables


def rehearsal(name: str, tables: Tables, folder: Path, tracking: str) -> Config:
    """A run that is small in everything, cut by time where SHARES of the pairs lie; `dataclasses.replace` changes it.

    Raises BadTable, BadPairs, and ConfigError where all mail is of a few days.
    """
    validation_from, test_from = cuts_of(tables)
    return Config(
        name,
        messages=str(tables.messages),
        interactions=str(tables.interactions),
        validation_from=validation_from,
        test_from=test_from,
        train_pairs=48,
        notices=str(_few_notices(folder / "notices")),
        notice_copies=1,
        asides="",
        max_length=32,
        batch_size=16,
        refit_epochs=20,
        calibration_pairs=20,
        tracking=tracking,
        output=str(folder / "runs"),
        peers=False,
        register=False,
    )


def cuts_of(tables: Tables) -> tuple[str, str]:
    """The days on which validation and testing begin, by SHARES. Raises BadTable and BadPairs."""
    dates = [pair.date for pair in read_interactions(tables.interactions)]
    if not dates:
        raise BadPairs(f"{tables.interactions}: no pair of mail and recipient in it; give a mailbox with recipients")
    first, second = (datetime.fromtimestamp(float(date), UTC).date() for date in np.quantile(dates, SHARES))
    return first.isoformat(), max(second, first + timedelta(days=1)).isoformat()


def _few_notices(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for file in NOTICES.glob("*.jsonl"):
        lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
        (folder / file.name).write_text("".join(lines[:NOTICE_LINES]), encoding="utf-8")
    return folder
