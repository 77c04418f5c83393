"""How much of anything one message of the queue may hold. Client and broker both check; the broker's word counts."""

from collections.abc import Iterable

from serving.errors import Refused

MAX_FACTS = 2048
MAX_RECIPIENTS = 10_000
MAX_ADDRESS = 512
MAX_NAME = 255
LOOKUP = 32
MAX_POSTINGS = 16
MAX_ACCOUNT = 255
MAX_AMOUNT = 2**31 - 1
MAX_CAUSE = 256
MAX_REACTION = 64 * 40
MAX_QUESTIONS = 64
"""Questions of one name in one request."""


def parameters_limit(max_body: int) -> int:
    """Octets that the parameters of a question may have, where a body may have `max_body`: one in hexadecimal."""
    return 2 * max_body + (1 << 16)


def check_origin(principal: str, key: str | None, digest: bytes) -> None:
    """Refused `malformed` unless principal, idempotency key and digest can be stored and sent on."""
    if not 0 < len(principal.encode()) <= MAX_NAME:
        raise Refused("malformed", f"a principal has 1 to {MAX_NAME} octets")
    if key is not None and not 0 < len(key.encode()) <= MAX_NAME:
        raise Refused("malformed", f"an idempotency key has 1 to {MAX_NAME} octets")
    if len(digest) > MAX_NAME:
        raise Refused("malformed", f"a digest has at most {MAX_NAME} octets")


def check_recipient(lookup: bytes, address: bytes) -> None:
    """Refused `malformed` or `too_large` unless both can be stored and sent on."""
    if len(lookup) != LOOKUP:
        raise Refused("malformed", f"a lookup has {LOOKUP} octets")
    if len(address) > MAX_ADDRESS:
        raise Refused("too_large", f"a sealed address has at most {MAX_ADDRESS} octets")


def check_size(octets: int, limit: int, what: str) -> None:
    """Refused `too_large` when it is."""
    if octets > limit:
        raise Refused("too_large", f"{what} of {octets} octets; at most {limit} are taken")


def check_postings(postings: Iterable[tuple[str, int]]) -> None:
    """Refused `too_large` unless a hop can carry them."""
    listed = list(postings)
    if len(listed) > MAX_POSTINGS:
        raise Refused("too_large", f"at most {MAX_POSTINGS} postings a hop")
    if any(len(account.encode()) > MAX_ACCOUNT or abs(amount) > MAX_AMOUNT for account, amount in listed):
        raise Refused("too_large", "an account's name or an amount over the limit")
