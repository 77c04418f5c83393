"""What an owner of a mailbox says of a mail by what its flags and its folder show.

| in the mailbox | says |
|---|---|
| `\\Answered` | `acknowledged` |
| `\\Flagged`, `$Important` (RFC 8457) | `was_urgent` |
| `$NotImportant` | `not_urgent` |
| `\\Seen` with `$Junk` (RFC 9051 section 2.3.2), or in the folder for junk (`\\Junk`, RFC 6154) | `not_urgent` |

Junk counts only where somebody has read the mail and says nothing else by it: a filter files mail before anybody has
seen it, and its mistake must not teach that an alarm can wait. Who says both `was_urgent` and `not_urgent` says the
first, since missing an alarm costs more.
"""

from collections.abc import Collection, Mapping

from serving.web.token import Reaction

SAYS: Mapping[str, Reaction] = {
    "\\answered": "acknowledged",
    "\\flagged": "was_urgent",
    "$important": "was_urgent",
    "$notimportant": "not_urgent",
}
"""By flag, in lower case: servers keep the case of a flag as they like (RFC 9051 section 2.3.2)."""

_SEEN, _JUNK = "\\seen", "$junk"


def said(flags: Collection[str], *, in_junk: bool) -> frozenset[Reaction]:
    """What these flags say; nothing, where they say nothing."""
    held = {flag.lower() for flag in flags}
    told: set[Reaction] = {SAYS[flag] for flag in held & SAYS.keys()}
    if not told and _SEEN in held and (in_junk or _JUNK in held):
        told = {"not_urgent"}
    if "was_urgent" in told:
        told.discard("not_urgent")
    return frozenset(told)


def criteria(*, in_junk: bool) -> str:
    """The search that finds every mail whose flags may say something (RFC 9051 section 6.4.4)."""
    last = "SEEN" if in_junk else "KEYWORD $Junk"
    return f"OR ANSWERED OR FLAGGED OR KEYWORD $Important OR KEYWORD $NotImportant {last}"
