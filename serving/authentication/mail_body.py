"""A body's digest under both canonicalizations of RFC 6376 section 3.4, each computed once and in linear time."""

import hashlib
from threading import Lock
from typing import NamedTuple

from serving.mail import with_crlf


class BodyDigest(NamedTuple):
    """SHA-256 of the canonical body, and its length in octets, which l= counts."""

    digest: bytes
    length: int


class Body:
    """A mail's body; safe to ask from several threads."""

    def __init__(self, octets: bytes) -> None:
        self._octets = octets
        self._lock = Lock()
        self._known: dict[bool, BodyDigest] = {}

    @property
    def length(self) -> int:
        """Octets as they came."""
        return len(self._octets)

    def digest(self, *, is_relaxed: bool) -> BodyDigest:
        """The digest of the canonical body; a bare LF counts as CRLF."""
        with self._lock:
            if is_relaxed not in self._known:
                body = canonical(self._octets, is_relaxed=is_relaxed)
                self._known[is_relaxed] = BodyDigest(hashlib.sha256(body).digest(), len(body))
            return self._known[is_relaxed]


def canonical(octets: bytes, *, is_relaxed: bool) -> bytes:
    """The body as it is hashed."""
    body = with_crlf(octets)
    if is_relaxed:
        body = _single_spaces(body).replace(b" \r\n", b"\r\n")
        body = body[:-1] if body.endswith(b" ") else body
    text = _without_empty_lines(body)
    return b"" if is_relaxed and not text else text + b"\r\n"


def _single_spaces(body: bytes) -> bytes:
    body = body.replace(b"\t", b" ")
    while b"  " in body:  # halves the longest run each time, where a pattern could take quadratic time
        body = body.replace(b"  ", b" ")
    return body


def _without_empty_lines(body: bytes) -> bytes:
    """The body without any CRLF at its end."""
    if not body.endswith(b"\r\n"):
        return body
    text = body.rstrip(b"\r\n")
    bare = body.rfind(b"\r\r", len(text))
    return body[: bare + 1] if bare >= 0 else text
