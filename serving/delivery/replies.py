"""A receiver's replies: what they mean for the mail, and their words fit to be kept, without anybody's address.

when it comes           what         meaning for the mail                                        RFC
connection, greeting,   any refusal  about us or the server: the next server is tried, then it   5321 3.1, 5.1
  EHLO, STARTTLS, AUTH               waits; nothing bounces for it
MAIL, RCPT, DATA,       4yz          it waits; 421 closes the connection, 450 may be             5321 4.2.1, 6647
  after the dot                      greylisting, 452 room or too many recipients
                        5yz          refused for good; also 551, nobody's forwarding is          5321 4.2.1, 3.4
                                     followed, and 552 of a full mailbox
                        552, 5.5.3   what 452 says today of too many recipients: it waits        5321 4.5.3.1.10
                        503          the dialogue got out of step: it waits                      5321 4.2.4
                        530, 534,    a login is wanted: our set-up, it waits                     4954 6
                          535, 538
after the dot           nothing      nobody knows: sent again as the same mail                   1047
before MAIL             EHLO         larger than SIZE, no SMTPUTF8 for an address that needs     1870, 6531
                                     it: refused for good, by ourselves
before any server       the DNS      no such domain 5.1.2, takes no mail 5.1.10, no such         5321 5.1, 7505,
                                     server 5.4.4, a loop 5.4.6: for good; silence: it waits     3463
"""

import re

LONGEST = 200
_ENOUGH = 1000
_ADDRESS = re.compile(r"""<?(?:"[^"]*"|[^\s<>"]+)(?:@|%40)[^\s<>"]+>?""", re.IGNORECASE)
_STRANGE = re.compile(r"[^\x20-\x7e]")
_CLOSING = 421
# The server wants a login from us: our set-up is wrong, not the mail (RFC 4954 6).
_LOGIN_WANTED = frozenset({530, 534, 535, 538})
_OUT_OF_STEP = 503
_TOO_MANY = re.compile(r"5\.5\.3\b|too many recipients", re.IGNORECASE)


def clean(text: str, *addresses: str) -> str:
    """The text in one line of printable ASCII, `LONGEST` characters at most, addresses and the named ones replaced."""
    line = _ADDRESS.sub("<address>", _shorten(" ".join(text.split())))
    for address in addresses:
        local = address.rpartition("@")[0].strip('"')
        line = _named(local).sub("<address>", line) if len(local) > 1 and _may_hold(line, local) else line
    return _STRANGE.sub("?", line)[:LONGEST]


def is_permanent(code: int, words: str = "") -> bool:
    """Whether the same mail will be refused again; `words` are what the receiver said with the code."""
    if code in _LOGIN_WANTED or code == _OUT_OF_STEP:
        return False
    return 500 <= code <= 599 and not (code == 552 and _TOO_MANY.search(words))


def is_in_step(code: int) -> bool:
    """Whether the server answered properly and stays: a 421 closes, and 503 is out of step, as are other codes."""
    return 400 <= code <= 599 and code not in (_CLOSING, _OUT_OF_STEP)


def _shorten(line: str) -> str:
    """Enough to clean in little time, not ending within a word that may be an address."""
    return line if len(line) <= _ENOUGH else line[:_ENOUGH].rpartition(" ")[0]


def _may_hold(line: str, local: str) -> bool:
    """Whether it is worth compiling an expression, which takes longer than all else; only ASCII folds so simply."""
    return local.lower() in line.lower() or not (line.isascii() and local.isascii())


def _named(local: str) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w){re.escape(local)}(?!\w)", re.IGNORECASE)
