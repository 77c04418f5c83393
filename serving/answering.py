"""Whom a recipient's answer to a sealed mail goes to, and how the mail says so: by an address of ours in Reply-To."""

import contextlib
import re
from collections.abc import Mapping
from email.errors import MessageError
from email.header import Header, decode_header, make_header
from email.utils import getaddresses, quote
from typing import Any

from serving.addresses import domain_of
from serving.mail import split
from serving.origin import is_writable, sender_of
from serving.trace import fields_of, header_size

FIELD = "Reply-To"
KEPT_AS = b"Clarion-Reply-To"
"""Under which a sealed mail still tells where its sender wanted answers."""
VIA = "via Clarion"
LONGEST_NAME = 64
"""Characters of a person's name."""

_FIELD_LIMIT = 65_536  # octets of one field worth reading
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


def answered_at(raw: bytes, facts: Mapping[str, Any], ours: str) -> str:
    """The bare address that an answer to the stored mail goes to: the first of its Reply-To, else its From.

    Empty where nobody is to be written to: of what we wrote ourselves (digests and notices), of bounces, of another
    Clarion's mail, and where the sender's domain is not proven. `ours` is our own address.
    """
    mail = None if _is_of_ours(facts) or not _is_proven(facts) else split(raw)
    if mail is None or mail.first("return-path") == b"<>" or mail.first("clarion-notification"):
        return ""
    wished = [address for _, address in people_in(mail.first("reply-to"))[:1]]
    return next((each for each in (*wished, sender_of(raw)) if is_writable(each, ours)), "")


def answered_through(raw: bytes, address: str, goes_to: str) -> bytes:
    """The mail with `address` of ours as its Reply-To, that of the mail itself kept as `Clarion-Reply-To`.

    The name beside the address tells whoever answers where it goes; all else stays as it came.
    """
    size = header_size(raw)
    fields = (KEPT_AS + each[len(FIELD) :] if _is_reply_to(each) else each for each in fields_of(raw[:size]))
    own = f"{FIELD}: {named(goes_to, address)}".encode()
    return b"".join(fields).rstrip(b"\r\n") + b"\r\n" + own + (raw[size:] or b"\r\n\r\n")


def people_in(value: bytes) -> list[tuple[str, str]]:
    """Name and bare address of everybody in a field's value; a name is decoded, and empty where there is none."""
    try:
        pairs = getaddresses([value[:_FIELD_LIMIT].decode("utf-8", "replace")])
    except (ValueError, IndexError, RecursionError):  # the standard library breaks on hostile fields
        return []
    return [(_decoded(name), address) for name, address in pairs if domain_of(address) is not None]


def named(whom: str, address: str) -> str:
    """An address of ours as a field shows it, for somebody that we stand between."""
    name = f"{_in_a_line(whom)[:LONGEST_NAME]} {VIA}"
    shown = f'"{quote(name)}"' if name.isascii() else Header(name, "utf-8").encode(linesep="\r\n")
    return f"{shown} <{address}>"


def _decoded(name: str) -> str:
    """The name without encoded words (RFC 2047)."""
    with contextlib.suppress(ValueError, LookupError, MessageError):
        name = str(make_header(decode_header(name)))
    return _in_a_line(name)


def _in_a_line(text: str) -> str:
    """The text without control characters and what is no Unicode."""
    return " ".join(_CONTROL.sub(" ", text).encode(errors="replace").decode().split())


def _is_of_ours(facts: Mapping[str, Any]) -> bool:
    return "notice" in facts or facts.get("waiver") == "digest"


def _is_proven(facts: Mapping[str, Any]) -> bool:
    """Only what is proven is escalated, and that is a notification of its own, without what was found."""
    return "escalated" in facts or facts.get("authentication", {}).get("outcome") == "authenticated"


def _is_reply_to(field: bytes) -> bool:
    return field.partition(b":")[0].strip().lower() == FIELD.lower().encode()
