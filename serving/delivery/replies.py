"""A receiver's replies, fit to be kept: the codes and its words, without anybody's address (RFC 5321 4.2, RFC 3463)."""

import re

LONGEST = 200
_ENOUGH = 1000
_ADDRESS = re.compile(r"""<?(?:"[^"]*"|[^\s<>"]+)(?:@|%40)[^\s<>"]+>?""", re.IGNORECASE)
_STRANGE = re.compile(r"[^\x20-\x7e]")
_CLOSING = 421
# The server wants a login from us: our set-up is wrong, not the mail (RFC 4954 6).
_LOGIN_WANTED = frozenset({530, 534, 535, 538})


def clean(text: str, *addresses: str) -> str:
    """The text in one line of printable ASCII, `LONGEST` characters at most, addresses and the named ones replaced."""
    line = _ADDRESS.sub("<address>", _shorten(" ".join(text.split())))
    for address in addresses:
        local = address.rpartition("@")[0].strip('"')
        line = _named(local).sub("<address>", line) if len(local) > 1 else line
    return _STRANGE.sub("?", line)[:LONGEST]


def is_permanent(code: int) -> bool:
    """Whether the same mail will be refused again."""
    return 500 <= code <= 599 and code not in _LOGIN_WANTED


def is_in_step(code: int) -> bool:
    """Whether the server answered properly and stays: a 421 closes, and another code than 4yz or 5yz is out of step."""
    return 400 <= code <= 599 and code != _CLOSING


def _shorten(line: str) -> str:
    """Enough to clean in little time, not ending within a word that may be an address."""
    return line if len(line) <= _ENOUGH else line[:_ENOUGH].rpartition(" ")[0]


def _named(local: str) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w){re.escape(local)}(?!\w)", re.IGNORECASE)
