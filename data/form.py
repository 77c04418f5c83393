"""The form of a mail, as numbers: how long, how much of it quoted or asked, and whether it names the recipient."""

import re

from data.persons import LEAST, hashed
from data.schema import Message
from data.zones import zones

FORM = (
    "body_length",
    "own_length",
    "own_lines",
    "quoted_lines",
    "questions",
    "ends_asking",
    "lines_added",
    "lines_removed",
    "series_length",
    "series_version",
    "signed_off",
    "reviewed",
    "reviewed_by_recipient",
    "greets_recipient",
    "greets_another",
    "names_recipient",
    "thanks",
    "asks_politely",
)

_LETTERS = re.compile(r"[^\W\d_]+")
_NO_LETTERS = {code: " " for code in range(128) if not chr(code).isalpha()}
_HELLO = "hi hello hey dear hallo liebe lieber bonjour hola ciao"
_NOBODY = frozenset(
    f"{_HELLO} all there both everyone everybody folks team sir madam guys again alle thanks note".split()
)
_GREETING = re.compile(rf"^(?:(?:{_HELLO.replace(' ', '|')})\b[ ,]*([^\W\d_]+)|([^\W\d_]+) ?[,:]$)", re.IGNORECASE)
_SERIES = re.compile(r"\b\d{1,4}/(\d{1,4})\b")
_VERSION = re.compile(r"\bv(\d{1,2})\b", re.IGNORECASE)
_REVIEWED = re.compile(r"^(?:reviewed|acked|tested)-by:", re.IGNORECASE)
_SIGNED = re.compile(r"^signed-off-by:", re.IGNORECASE)


class _Phrases:
    """Phrases at the beginning of a word, and at the end of one too where they are `whole`, in any case. A pattern that
    begins with its letters is found many times faster than one that begins with a boundary."""

    def __init__(self, *phrases: str, whole: bool) -> None:
        end = r"\b" if whole else ""
        self._any_case = re.compile(rf"\b(?:{'|'.join(phrases)}){end}", re.IGNORECASE)
        self._quick = {phrase: re.compile(rf"{phrase}(?<!\w{phrase}){end}") for phrase in phrases}

    def count(self, text: str, folded: str) -> int:
        """How often they stand there; `folded` is the text's case folding."""
        there = [phrase for phrase in self._quick if phrase in folded]
        if there and not text.isascii():
            return len(self._any_case.findall(text))
        return sum(len(self._quick[phrase].findall(folded)) for phrase in there)


_THANKS = _Phrases("thank", whole=False)
_PLEASE = _Phrases("please", "pls", "could you", "can you", "would you", whole=True)


def form(message: Message, recipient: str, first_name: int) -> tuple[float, ...]:
    """The values of FORM; `first_name` is what is known of the recipient's (data.persons), 0 for nothing."""
    parts = zones(message.body)
    text, own = "\n".join(parts.own), parts.own
    folded = text.casefold()  # a search in it is quick, and tells where no pattern needs to be tried
    reviewed = [line for line in own if _REVIEWED.match(line)] if "-by:" in folded else []
    return (
        float(message.body_len),
        float(len(text)),
        float(len(own)),
        float(parts.quoted),
        float(text.count("?")),
        float(any(line.endswith("?") for line in own[-3:])),
        float(sum(line.startswith("+") for line in own)),
        float(sum(line.startswith("-") for line in own)),
        _number(_SERIES, message.subject),
        _number(_VERSION, message.subject),
        float(sum(bool(_SIGNED.match(line)) for line in own)) if "-by:" in folded else 0.0,
        float(len(reviewed)),
        float(any(recipient in line.lower() for line in reviewed)),
        *_mentions(own, text, recipient, first_name),
        float(_THANKS.count(text, folded)),
        float(_PLEASE.count(text, folded)),
    )


def _mentions(own: tuple[str, ...], text: str, recipient: str, first_name: int) -> tuple[float, float, float]:
    """Whether the first line greets the recipient, or somebody else, and how often the recipient is named."""
    names = {hashed(word) for word in _words(recipient.partition("@")[0])} | {first_name}
    greeting = _GREETING.match(own[0]) if own else None
    word = (greeting[1] or greeting[2]).lower() if greeting else ""
    greeted = hashed(word) if word and word not in _NOBODY else None
    words = _words(text)
    named = sum(words.count(word) for word in set(words) if hashed(word) in names)
    return float(greeted in names), float(greeted is not None and greeted not in names), float(named)


def _words(text: str) -> list[str]:
    lower = text.lower()
    words = lower.translate(_NO_LETTERS).split() if lower.isascii() else _LETTERS.findall(lower)
    return [word for word in words if len(word) >= LEAST]


def _number(pattern: re.Pattern[str], text: str) -> float:
    found = pattern.search(text)
    return float(found[1]) if found else 0.0
