"""The mails that are sealed: plain text of about a size, and an attachment, both made of chance from one seed."""

import base64
import random

SEED = 20261125
SENDER, GATEWAY, RECIPIENT = "ops@bank.example", "clarion@gate.example", "ann@home.example"
SIZES = {"4 KiB": 4 << 10, "1 MiB": 1 << 20}

_WORDS = ("disk", "full", "db-3", "replica", "lag", "queue", "page", "operator", "restart", "grows", "minute", "before")
_LINE = 72
_HEAD = f"""\
From: Operations <{SENDER}>
To: {RECIPIENT}
Subject: db-3 is full in 20 minutes
Date: Wed, 25 Nov 2026 09:00:00 +0000
Message-ID: <20261125090000.7@bank.example>
MIME-Version: 1.0
"""
_TEXT = 'Content-Type: text/plain; charset="utf-8"\nContent-Transfer-Encoding: 7bit\n\n'
_ATTACHMENT = """\
Content-Type: multipart/mixed; boundary="part"

--part
Content-Type: text/plain; charset="utf-8"

The report is attached.
--part
Content-Type: application/pdf
Content-Transfer-Encoding: base64
Content-Disposition: attachment; filename="report.pdf"

"""


def mails(sizes: dict[str, int]) -> dict[str, bytes]:
    """Each as SMTP brings it, CRLF, by its name; of the largest size also one that is nearly all attachment."""
    chance = random.Random(SEED)  # noqa: S311
    made = {name: _crlf(_HEAD + _TEXT + _text(size, chance)) for name, size in sizes.items()}
    name, size = max(sizes.items(), key=lambda item: item[1])
    octets = base64.encodebytes(chance.randbytes(size * 57 // 78)).decode()
    return made | {f"{name}, attachment": _crlf(f"{_HEAD}{_ATTACHMENT}{octets}--part--\n")}


def _text(size: int, chance: random.Random) -> str:
    lines: list[str] = []
    while size > 0:
        line = " ".join(chance.choices(_WORDS, k=20))[:_LINE] + f" {chance.randrange(100)}"
        lines.append(line)
        size -= len(line) + 2
    return "\n".join([*lines, ""])


def _crlf(text: str) -> bytes:
    return text.replace("\n", "\r\n").encode()
