"""The invented notices beside this file: what a machine or a person writes to somebody, and whether it can wait.

They were written by hand for this project, for training alone; `README.md` says how. Each line of `notices/*.jsonl` has
`from`, `subject`, `body`, `automated` and `urgent`.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import parseaddr
from pathlib import Path
from typing import Any

from data.schema import Message

NOTICES = Path(__file__).parent / "notices"
RECIPIENT = "reader@notices.example"
_BLOCK, _EVERY = (
    14,
    8,
)  # lines that stay together, since neighbours are about one thing; one block in so many is held out


class BadNotices(ValueError):
    """The folder holds no notices of this form; the message says where."""


@dataclass(frozen=True, slots=True)
class Notice:
    """A mail to RECIPIENT, whether a human would want it to interrupt, and whether it is kept for judging."""

    message: Message
    urgent: bool
    held_out: bool


def read_notices(folder: Path = NOTICES) -> Iterator[Notice]:
    """Every notice, by file name and then as written. Raises BadNotices."""
    files = sorted(folder.glob("*.jsonl"))
    if not files:
        raise BadNotices(f"{folder}: no .jsonl file in it; give a folder like data/notices")
    for path in files:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines()):
            yield Notice(*_read(path, number, line), held_out=number // _BLOCK % _EVERY == _EVERY - 1)


def _read(path: Path, number: int, line: str) -> tuple[Message, bool]:
    try:
        row: dict[str, Any] = json.loads(line)
        name, sender = parseaddr(row["from"])
        body = str(row["body"])
        message = Message(
            list="notices",
            message_id=f"{path.stem}.{number}@notices.example",
            date=0.0,
            sender=sender.lower(),
            sender_name=row["from"],
            to=(RECIPIENT,),
            cc=(),
            subject=str(row["subject"]),
            in_reply_to=None,
            body=body,
            body_len=len(body),
            is_automated=bool(row["automated"]),
            sender_id=name.lower() or sender.lower(),
        )
        return message, bool(row["urgent"])
    except (ValueError, KeyError, TypeError) as error:
        raise BadNotices(f"{path}, line {number + 1}: {error!r}; see data/notices.py for the form") from None
