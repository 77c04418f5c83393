"""The parts of a body: its author's own lines, what they quote, and what introduces a quote (Lampert 2010)."""

import re
from dataclasses import dataclass
from functools import lru_cache

_ATTRIBUTION = re.compile(
    r"^(?:On|Le|Am|El|Il|Op|Den|W dniu)\b.{0,200}(?:wrote|écrit|schrieb|escribió|ha scritto|schreef|skrev).{0,40}:\s*$"
)
_QUOTE_FOLLOWS = re.compile(
    r"^\s*(?:-{2,}\s*(?:Original Message|Forwarded (?:by|message)|Weitergeleitet).*|_{20,})\s*$", re.IGNORECASE
)
_QUOTED = (">", "|")


@dataclass(frozen=True, slots=True)
class Zones:
    """`own` holds the author's lines, stripped, none empty; `quoted` counts the lines of others."""

    own: tuple[str, ...]
    quoted: int


@lru_cache(maxsize=16)
def zones(body: str) -> Zones:
    """The zones of a body; what follows the signature, or the word that a whole mail is quoted, belongs to none."""
    own: list[str] = []
    quoted = 0
    for line in body.split("\n"):
        if line.rstrip("\r") == "-- " or _QUOTE_FOLLOWS.match(line):
            break
        stripped = line.strip()
        if stripped.startswith(_QUOTED):
            quoted += 1
        elif stripped and not _ATTRIBUTION.match(stripped):
            own.append(stripped)
    return Zones(tuple(own), quoted)
