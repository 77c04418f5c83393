"""API keys: random, shown once, and kept as a digest."""

import hashlib
import hmac
import re
import secrets
from typing import NamedTuple

KEY_PREFIX = "clk_"
KEY_OCTETS = 32

_KEY = re.compile(rf"{KEY_PREFIX}[A-Za-z0-9_-]{{43}}")


class ApiKey(NamedTuple):
    """A new key. `key` is shown once and never stored; `id` names it in logs; `hash` is what the store keeps."""

    key: str
    id: str
    hash: str


def new_key() -> ApiKey:
    """A key of 256 random bits."""
    key = KEY_PREFIX + secrets.token_urlsafe(KEY_OCTETS)
    return ApiKey(key, f"key_{secrets.token_hex(8)}", hash_key(key))


def hash_key(key: str) -> str:
    """The SHA-256 digest in hex; a plain digest is enough, since the key is random and long."""
    return hashlib.sha256(key.encode(errors="surrogatepass")).hexdigest()


def is_key(text: str) -> bool:
    """Whether the text has the form of a key; says nothing about who owns it."""
    return _KEY.fullmatch(text) is not None


def matches(key: str, key_hash: str) -> bool:
    """Whether the key has this digest, in a time that does not depend on where they differ."""
    return hmac.compare_digest(hash_key(key).encode(), key_hash.encode(errors="surrogatepass"))
