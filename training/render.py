"""An example as the model sees it: the mail's own words, without what it quotes, and the history as numbers."""

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data.schema import Message

TEXT_LIMIT = 2_000  # characters, more than 256 tokens ever hold

_ATTRIBUTION = re.compile(
    r"^(?:On|Le|Am|El|Il|Op|Den|W dniu)\b.{0,200}(?:wrote|écrit|schrieb|escribió|ha scritto|schreef|skrev).{0,40}:\s*$"
)
_QUOTE_FOLLOWS = re.compile(
    r"^\s*(?:-{2,}\s*(?:Original Message|Forwarded (?:by|message)|Weitergeleitet).*|_{20,})\s*$", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Example:
    """What the model gets of one (message, recipient): text, and features of shape (len(data.history.FEATURES),)."""

    text: str
    features: NDArray[np.float32]


def render(message: Message, recipient: str, features: NDArray[np.float32]) -> Example:
    """Who writes to whom, the subject and the mail's own words; quotes, signatures and attributions are zoned out."""
    heading = f"{_local_part(message.sender)} to {_local_part(recipient)}: {message.subject}"
    return Example(f"{heading}\n{own_words(message.body)}"[:TEXT_LIMIT], features)


def own_words(body: str) -> str:
    """The body without quoted lines, what introduces them, and everything from the signature on (Lampert 2010)."""
    kept: list[str] = []
    for line in body.split("\n"):
        if line.rstrip("\r") == "-- " or _QUOTE_FOLLOWS.match(line):
            break
        if line.lstrip().startswith((">", "|")) or _ATTRIBUTION.match(line.strip()):
            continue
        kept.append(line.strip())
    return "\n".join(line for line in kept if line)


def _local_part(address: str) -> str:
    return address.partition("@")[0].replace(".", " ")
