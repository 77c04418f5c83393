"""What a method of mail authentication found, in the words of RFC 8601."""

from dataclasses import dataclass
from enum import StrEnum


class Method(StrEnum):
    """RFC 8601 section 2.7, RFC 8617 section 10.1."""

    SPF = "spf"
    DKIM = "dkim"
    DMARC = "dmarc"
    ARC = "arc"


class Result(StrEnum):
    """RFC 8601 section 2.7; `policy` is a proof that is none for us, whatever it proves to others."""

    NONE = "none"
    PASS = "pass"  # noqa: S105
    FAIL = "fail"
    SOFTFAIL = "softfail"
    NEUTRAL = "neutral"
    POLICY = "policy"
    TEMPERROR = "temperror"
    PERMERROR = "permerror"


@dataclass(frozen=True, slots=True)
class Finding:
    """One method's result. `domain` is canonical, or "" where none can be named; `reason` never holds mail.

    The domain is of MAIL FROM or HELO (SPF), of the signature (DKIM), of From (DMARC), of the newest seal (ARC).
    `signed` are the fields that a genuine signature lists, lower-case; the result is `policy` where one that counts is
    not among them.
    """

    method: Method
    result: Result
    reason: str = ""
    domain: str = ""
    selector: str = ""
    is_helo: bool = False
    is_aligned: bool = False
    signed: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Flaw:
    """Why something cannot be used as a proof."""

    result: Result
    reason: str
