"""Invented pairs of mail that differ in one thing only, read from TOML, each side as the model would see it."""

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime, formataddr, parseaddr
from pathlib import Path
from typing import Any

from data.parse import parse
from data.replay import History
from data.schema import Message
from training.pairs import digest
from training.render import Example, render

_EVENT = re.compile(r"(?P<wrote>wrote )?(?P<ago>\d+)(?P<unit>[mhd])(?:, reacted (?P<after>\d+)(?P<span>[mhd]))?")
_NAMED = re.compile(r"(.*\S)\s*<(\S+)>")
_SECONDS = {"m": 60.0, "h": 3_600.0, "d": 86_400.0}

Fields = Mapping[str, Any]


class BadTwins(ValueError):
    """These files hold no pairs; the message says which and why."""


@dataclass(frozen=True, slots=True)
class Twins:
    """Two examples, of which the first should score higher. `known`: the sender has a history with the recipient."""

    kind: str
    name: str
    known: bool
    automated: bool
    urgent: Example
    trivial: Example


def load_twins(folder: Path) -> tuple[Twins, ...]:
    """Every pair of the folder's `*.toml`, by file name and then as written. Raises BadTwins."""
    twins = tuple(pair for path in _files(folder) for pair in _kind(path))
    if not twins:
        raise BadTwins(f"{folder}: no pair in it; give a folder like tests/model/twins")
    return twins


def twins_digest(folder: Path) -> str:
    """SHA-256 over the octets of those files."""
    return digest(*_files(folder))


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.toml"))


def _kind(path: Path) -> Iterable[Twins]:
    try:
        stated = tomllib.loads(path.read_text(encoding="utf-8"))
        for pair in stated["pair"]:
            yield _twins(str(stated["kind"]), pair)
    except KeyError as error:
        raise BadTwins(f"{path}: {error} is missing; see tests/model/README.md for a file's form") from None
    except (ValueError, TypeError, AttributeError) as error:
        raise BadTwins(f"{path}: {error}; see tests/model/README.md for a file's form") from None


def _twins(kind: str, pair: Fields) -> Twins:
    name, urgent, trivial = str(pair["name"]), {**pair, **pair["urgent"]}, {**pair, **pair["trivial"]}
    return Twins(
        kind=kind,
        name=name,
        known=bool(urgent.get("history")),
        automated=_message(urgent, name).is_automated,
        urgent=_example(urgent, name),
        trivial=_example(trivial, name),
    )


def _example(fields: Fields, name: str) -> Example:
    """The side's mail with the history that it tells, folded as for any mailbox."""
    message, recipient = _message(fields, name), str(fields.get("recipient", fields["to"][0]))
    history = History()
    for text in fields.get("history", ()):
        _happen(history, text, message, recipient)
    return render(message, recipient, history.features(message, recipient))


def _happen(history: History, text: str, message: Message, recipient: str) -> None:
    """One earlier mail between the two and what the recipient did with it; both before `message`."""
    event = _EVENT.fullmatch(text)
    if event is None:
        raise ValueError(f"history {text!r}: write '30d', '30d, reacted 2h' or 'wrote 30d'")
    sender, to = (recipient, message.sender) if event["wrote"] else (message.sender, recipient)
    ago = int(event["ago"]) * _SECONDS[event["unit"]]
    after = int(event["after"]) * _SECONDS[event["span"]] if event["after"] else 0.0
    if not after < ago:
        raise ValueError(f"history {text!r}: a reaction that comes after the mail cannot be known to it")
    earlier = replace(
        message,
        message_id=f"{sender}.{text}.{message.message_id}",
        date=message.date - ago,
        sender=sender,
        to=(to,),
        cc=(),
        is_automated=message.is_automated and not event["wrote"],
    )
    history.observe(earlier)
    if event["after"]:
        history.react(earlier, recipient, earlier.date + after)


def _message(fields: Fields, name: str) -> Message:
    """The mail as a mail server would hand it over, read as serving reads it."""
    mail = EmailMessage()
    mail["From"] = _mailbox(fields["from"])
    mail["To"] = ", ".join(fields["to"])
    if fields.get("cc"):
        mail["Cc"] = ", ".join(fields["cc"])
    mail["Subject"] = fields["subject"]
    mail["Date"] = format_datetime(_moment(fields["at"]))
    mail["Message-ID"] = f"<{'-'.join(re.findall(r'[a-z0-9]+', name.lower()))}@twins.example>"
    if fields.get("automated"):
        mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(fields["body"], subtype="html" if fields.get("html") else "plain", charset="utf-8")
    return parse(mail.as_bytes())


def _mailbox(text: str) -> str:
    """The mailbox with its display name quoted where the name needs it."""
    named = _NAMED.fullmatch(text)
    return formataddr((named[1], named[2])) if named else parseaddr(text)[1]


def _moment(at: object) -> datetime:
    if not isinstance(at, datetime) or at.tzinfo is None:
        raise ValueError(f"at = {at}: give date, time and zone, like 2026-11-10T02:14:09Z")
    return at
