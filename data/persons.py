"""Who is meant: one person behind several addresses, and a person's first name, both as 63-bit hashes.

A display name is the sender's own word. It joins what somebody does from several addresses (when they last wrote, whose
mail was answered); how a recipient treats a *sender* is counted by address alone, which a name cannot borrow.
"""

from collections.abc import Mapping
from functools import lru_cache
from hashlib import blake2b

from data.counters import Counter
from data.schema import Message

LEAST = 3  # letters of a word that may be a name


def named(message: Message) -> int:
    """The person that a mail's sender says to be; one word is no name, so then the address says who it is."""
    return hashed(message.sender_id if " " in message.sender_id else message.sender)


def first_name(message: Message) -> int:
    """The first long enough word of the sender's name; 0 where there is none."""
    words = message.sender_id.split()
    return next((hashed(word) for word in words if len(word) >= LEAST), 0) if len(words) > 1 else 0


def person(address: str, counters: Mapping[str, Counter]) -> int:
    """The person who was first seen to write from the address; the address itself where nobody was."""
    known = counters.get(f"person\n{address}")
    return known.link if known and known.link else hashed(address)


@lru_cache(maxsize=100_000)
def hashed(text: str) -> int:
    """A stable positive 63-bit integer, never 0."""
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()) >> 1 | 1
