"""Senders and words that always or never pass, as a recipient wrote them down.

An entry is an address, a domain with all below it, or words (`words:server down`) that stand side by side in subject
or text, whole and in any case. Where several entries fit, a sender counts before words, an address before its domain,
a longer domain before a shorter, and `always` before `never`.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from unicodedata import normalize

from serving.addresses import canonical_address, canonical_domain, domain_of, is_within

Name = Literal["always", "never"]
NAMES: tuple[Name, Name] = ("always", "never")
MOST_ENTRIES = 50
LONGEST_ENTRY = 120
WORDS = "words:"

_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Match:
    """Which entry fits: the list, what it goes by, and its number there, from 1 on. It tells nothing of its words."""

    list: Name
    by: Literal["sender", "words"]
    number: int


@dataclass(frozen=True, slots=True)
class Lists:
    """Entries as `entry_of` makes them."""

    always: tuple[str, ...] = ()
    never: tuple[str, ...] = ()

    @classmethod
    def read(cls, octets: bytes) -> "Lists":
        """The lists in an opened blob. Raises ValueError where it holds none."""
        stored = json.loads(octets)
        if not isinstance(stored, dict):
            raise ValueError("no lists")
        return cls(*(_entries(stored.get(name, [])) for name in NAMES))

    def written(self) -> bytes:
        """What is sealed."""
        return json.dumps({"always": self.always, "never": self.never}).encode()

    def match(self, sender: str, *texts: str) -> Match | None:
        """The entry that counts for a mail from that bare address with these texts; None where none fits."""
        found = max(self._matches(canonical_address(sender), texts), default=None, key=lambda pair: pair[0])
        return None if found is None else found[1]

    def _matches(self, sender: str, texts: Sequence[str]) -> Iterator[tuple[tuple[int, int, bool], Match]]:
        """Each match behind its weight."""
        domain, plain = domain_of(sender) or "", [_plain(text) for text in texts]
        for name, entries in (("always", self.always), ("never", self.never)):
            for number, entry in enumerate(entries, 1):
                weight = _weight(entry, sender, domain, plain)
                if weight is not None:
                    by: Literal["sender", "words"] = "sender" if weight[0] else "words"
                    yield (*weight, name == "always"), Match("always" if name == "always" else "never", by, number)


def entry_of(text: str) -> str:
    """What somebody wrote, as it is kept: an address, a domain, or `words:` and the words. Raises ValueError."""
    stripped = " ".join(text.split())
    if len(stripped) > LONGEST_ENTRY:
        raise ValueError(f"an entry has at most {LONGEST_ENTRY} characters")
    if not stripped.startswith(WORDS):
        if domain_of(stripped) is not None:
            return canonical_address(stripped)
        domain = canonical_domain(stripped.removeprefix("@"))
        if domain is not None:
            return domain
    words = _plain(stripped.removeprefix(WORDS)).strip()
    if not words or "@" in stripped:
        raise ValueError("an entry is an address, a domain or words")
    return f"{WORDS}{words}"


def _weight(entry: str, sender: str, domain: str, texts: Sequence[str]) -> tuple[int, int] | None:
    if entry.startswith(WORDS):
        return (0, 0) if any(f" {entry.removeprefix(WORDS)} " in text for text in texts) else None
    if "@" in entry:
        return (2, 0) if entry == sender else None
    return (1, len(entry)) if is_within(domain, entry) else None


def _plain(text: str) -> str:
    """The words alone, a blank around each, in one case and form."""
    return f" {' '.join(_WORD.findall(normalize('NFKC', text).casefold()))} "


def _entries(stored: Any) -> tuple[str, ...]:
    if not isinstance(stored, list) or not all(isinstance(each, str) for each in stored):
        raise ValueError("no list")
    return tuple(stored)
