"""The mails that carry canaries, in all sizes and shapes that take another way through the system."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path
from random import Random
from typing import Any

from tests.torture.canary.cast import Person, recipient_of
from tests.torture.canary.tokens import Tokens

KIB = 1024
LARGE = 10 * KIB * KIB
BY_SMTP = 3
"""One letter in so many."""
NOTICES = Path(__file__).resolve().parents[3] / "data" / "notices"


@dataclass(frozen=True, slots=True)
class Letter:
    """One mail for one recipient, for /v1/notify or for the SMTP intake; `subject` and `body` are the two tokens in
    it."""

    number: int
    person: Person
    media_type: str
    content: bytes
    subject: str
    body: str
    is_by_smtp: bool = False


class Letters:
    """Writes them, each anew from its number: two thousand bodies at once would be too much."""

    def __init__(self, tokens: Tokens, random: Random) -> None:
        self._tokens = tokens
        self._notices = _urgent_notices()
        self._random = random

    def letter(self, number: int) -> Letter:
        """The letter of that number, with tokens of its own; the first is a large one."""
        subject, body = (self._tokens.new(f"canary {number}, {where}") for where in ("subject", "body"))
        notice = self._random.choice(self._notices)
        person = recipient_of(number)
        mail = {
            "from": f"Alarms <ops@{person.sender_domain}>",
            "to": f"{person.name} <{person.address}>",
            "subject": f"{notice['subject']} {subject}",
            "text": f"{notice['body']}\n\n{body}\n",
        }
        is_by_smtp = number % BY_SMTP == 1
        shape = _large if number == 0 else _multipart if is_by_smtp else SHAPES[number % len(SHAPES)]
        media_type, content = shape(mail, body)
        if is_by_smtp:  # by its Message-ID and content a repetition is known as one
            content = f"Message-ID: <{number}@{person.sender_domain}>\r\n".encode() + content
        return Letter(number, person, media_type, content, subject, body, is_by_smtp)

    def questions(self, count: int) -> list[dict[str, Any]]:
        """For /classify: JSON mails with tokens that are never accepted."""
        return [self._question(f"question {number}") for number in range(count)]

    def refused(self) -> list[tuple[str, str, bytes]]:
        """Requests that are turned away with tokens in them: path, media type, body."""
        question = self._question("refused")
        text = json.dumps(question)
        part = 'Content-Disposition: form-data; name="mails"; filename="mail.json"\r\nContent-Type: text/plain\r\n'
        form = f"--limit\r\n{part}\r\n{text}{_padding(question['text'], 2 * KIB * KIB)}\r\n--limit--\r\n".encode()
        return [
            (path, media_type, content)
            for path in ("/v1/notify", "/v1/classify", "/classify")
            for media_type, content in (
                ("multipart/form-data; boundary=limit", form),
                ("application/json", text[:-1].encode()),
                ("application/json", json.dumps(question | {"to": question["text"]}).encode()),
                ("application/json", json.dumps({question["text"]: question["subject"]}).encode()),
                ("message/rfc822", question["text"].encode()),
            )
        ]

    def _question(self, owner: str) -> dict[str, Any]:
        subject, body = (self._tokens.new(f"{owner}, {where}") for where in ("subject", "body"))
        who = {"from": "ops@alarms.canary.invalid", "recipient": "sealed@people.canary.invalid"}
        return who | {"subject": f"Disk full {subject}", "text": f"db1 is full\n{body}\n"}


def _json(size: int) -> Callable[[dict[str, str], str], tuple[str, bytes]]:
    def shape(mail: dict[str, str], token: str) -> tuple[str, bytes]:
        return "application/json", json.dumps(mail | {"text": mail["text"] + _padding(token, size)}).encode()

    return shape


def _html(mail: dict[str, str], token: str) -> tuple[str, bytes]:
    page = f"<html><body><p>{mail['text']}</p><p title='{token}'>{_padding(token, 8 * KIB)}</p></body></html>"
    return "application/json", json.dumps(mail | {"html": page}).encode()


def _multipart(mail: dict[str, str], token: str) -> tuple[str, bytes]:
    """UTF-8 as quoted-printable, and an attachment in base64."""
    message = _message(mail)
    message.set_content(f"{mail['text']}\nGrüße: {token}\n", cte="quoted-printable")
    attachment = _padding(token, 100 * KIB).encode()
    message.add_attachment(attachment, "application", "octet-stream", filename=f"{token}.bin")
    return "message/rfc822", message.as_bytes()


def _large(mail: dict[str, str], token: str) -> tuple[str, bytes]:
    message = _message(mail)
    message.set_content(mail["text"] + _padding(token, LARGE))
    return "message/rfc822", message.as_bytes()


def _message(mail: dict[str, str]) -> EmailMessage:
    message = EmailMessage(policy=SMTP)
    for name in ("from", "to", "subject"):
        message[name] = mail[name]
    return message


def _padding(token: str, size: int) -> str:
    """About `size` octets of text, the token in every 32 KiB of it and at its end."""
    line = "The pump room reports again, in the same words as before.\n"
    piece = f"{token}\n" + line * (32 * KIB // len(line))
    return (piece * (size // len(piece) + 1))[: max(size, 0)] + f"\n{token}\n"


SMALL = _json(1 * KIB)
SHAPES = (SMALL, SMALL, _json(4 * KIB), _html, SMALL, _multipart, _json(64 * KIB), _json(300 * KIB))


def _urgent_notices() -> list[dict[str, Any]]:
    lines = (line for path in sorted(NOTICES.glob("*.jsonl")) for line in path.read_text(encoding="utf-8").splitlines())
    return [notice for notice in map(json.loads, lines) if notice["urgent"]]
