"""An example as the model sees it: the mail's own words, without what it quotes, and the history as numbers."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data.history import FEATURES
from data.schema import Message
from data.zones import zones

WORDS = "words"
STYLES = (WORDS, "people", "quoted", "history")
TEXT_LIMIT = 2_000  # characters, more than 256 tokens ever hold


@dataclass(frozen=True, slots=True)
class Example:
    """What the model gets of one (message, recipient): text, and features of shape (len(data.history.FEATURES),)."""

    text: str
    features: NDArray[np.float32]


def render(message: Message, recipient: str, features: NDArray[np.float32], style: str = WORDS) -> Example:
    """The subject and the mail's own words; quotes, signatures and attributions are zoned out.

    The same for every recipient, so that a mail is read once: who they are stands in the features. Other styles are
    for experiments: `people` says who writes to whom, `quoted` keeps everything, `history` says the features in words.
    """
    match style:
        case "people":
            words = f"{_local_part(message.sender)} to {_local_part(recipient)}: {_words(message)}"
        case "quoted":
            words = f"{message.subject}\n{message.body}"
        case "history":
            words = f"{_told(features)}\n{_words(message)}"
        case _:
            words = _words(message)
    return Example(words[:TEXT_LIMIT], features)


def own_words(body: str) -> str:
    """The body without quoted lines, what introduces them, and everything from the signature on (Lampert 2010)."""
    return "\n".join(zones(body).own)


def _words(message: Message) -> str:
    return f"{message.subject}\n{own_words(message.body)}"


def _told(features: NDArray[np.float32]) -> str:
    """The features that are not nothing, by name, with three significant digits."""
    pairs = zip(FEATURES, features.tolist(), strict=True)
    return ", ".join(f"{name.replace('_', ' ')} {value:.3g}" for name, value in pairs if value)


def _local_part(address: str) -> str:
    return address.partition("@")[0].replace(".", " ")
