"""MAIL and RCPT read: paths (RFC 5321 section 4.1.2) and parameters (RFC 1870, 3461, 4954, 6152 and 6531)."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from serving.envelope import Event, Request, Returns
from serving.gateway.mail import is_address
from serving.intake.replies import TOO_LARGE, Refusal

LONGEST_ENVID, LONGEST_ORCPT = 100, 500
_LONGEST_PATH, _LONGEST_LOCAL_PART = 254, 64

_PATH = re.compile(
    r"[ \t]*(?:<(?:@[^<>:\s]+(?:,@[^<>:\s]+)*:)?(?P<path>(?:\"(?:[^\"\\]|\\.)*\"|[^<>\"\s])*)>|(?P<bare>[^<>\s]+))"
    r"(?P<rest>(?:[ \t].*)?)",
    re.DOTALL,
)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*")
_XTEXT = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})+")
_UNITEXT = re.compile(r"[!-*,-<>-~\u0080-\U0010ffff]+")
_HEX = re.compile(r"\+([0-9A-F]{2})")
_ATOM = re.compile(r"[A-Za-z0-9-]{1,40}")
_EVENTS: dict[str, Event] = {"SUCCESS": "success", "FAILURE": "failure", "DELAY": "delay"}
_RETURNS: dict[str, Returns] = {"FULL": "full", "HDRS": "headers"}

Value = TypeVar("Value")
Parameters = dict[str, str | None]


@dataclass(frozen=True, slots=True)
class Mail:
    """What MAIL says. `sender` is a bare address, "" for a bounce."""

    sender: str
    is_utf8: bool = False
    envelope_id: str | None = None
    returns: Returns | None = None


@dataclass(frozen=True, slots=True)
class Rcpt:
    """What RCPT says: a bare address, and what its sender wants to be told."""

    recipient: str
    request: Request


def read_mail(argument: str | None, *, largest: int, is_extended: bool) -> Mail:
    """What stands behind `MAIL`; `largest` is the SIZE that we offer.

    Raises:
        Refusal: 501, 552, 553 or 555.
    """
    path, parameters = _read(argument, "FROM:", is_extended=is_extended)
    is_utf8 = _flag(parameters, "SMTPUTF8")
    _check_ascii(path, is_utf8=is_utf8)
    if path and not _is_sender(path):
        raise Refusal("553 5.1.7 The sender is no address; write MAIL FROM:<name@example.org>, or <> for none")
    _check_size(parameters.pop("SIZE", None), largest)
    if (parameters.pop("BODY", None) or "7BIT").upper() not in ("7BIT", "8BITMIME"):
        raise Refusal("501 5.5.4 BODY is 7BIT or 8BITMIME")
    parameters.pop("AUTH", None)  # who wrote it is not what we go by (RFC 4954 section 5)
    envelope_id = _value(parameters, "ENVID", _envelope_id)
    returns: Returns | None = _value(parameters, "RET", _returns)
    _check_nothing_left(parameters)
    return Mail(path, is_utf8, envelope_id, returns)


def read_rcpt(argument: str | None, *, is_utf8: bool, is_extended: bool) -> Rcpt:
    """What stands behind `RCPT`; a source route is left out, as RFC 5321 appendix C wants it.

    Raises:
        Refusal: 501, 553 or 555.
    """
    path, parameters = _read(argument, "TO:", is_extended=is_extended)
    _check_ascii(path, is_utf8=is_utf8)
    if not is_address(path):
        raise Refusal("553 5.1.3 The recipient is no address; write RCPT TO:<name@example.org>")
    notify = _value(parameters, "NOTIFY", _notify)
    original = _value(parameters, "ORCPT", lambda value: _original(value, is_utf8=is_utf8))
    _check_nothing_left(parameters)
    return Rcpt(path, Request(notify, original))


def _read(argument: str | None, keyword: str, *, is_extended: bool) -> tuple[str, Parameters]:
    said = argument or ""
    found = _PATH.fullmatch(said[len(keyword) :]) if said[: len(keyword)].upper() == keyword else None
    if found is None:
        raise Refusal(f"501 5.5.4 Syntax: {'MAIL FROM' if keyword == 'FROM:' else 'RCPT TO'}:<address>")
    words = found["rest"].split()
    if words and not is_extended:
        raise Refusal("555 5.5.4 Parameters need EHLO")
    parameters: Parameters = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not _NAME.fullmatch(name) or (equals and not value) or name.upper() in parameters:
            raise Refusal("501 5.5.4 A parameter is malformed, or stands there twice")
        parameters[name.upper()] = value if equals else None
    return found["path"] if found["bare"] is None else found["bare"], parameters


def _is_sender(path: str) -> bool:
    """Less strict than for recipients: machines write as root@localhost, and nobody but their reports go there."""
    local, _, domain = path.rpartition("@")
    is_short = len(path) <= _LONGEST_PATH and 0 < len(local) <= _LONGEST_LOCAL_PART
    return is_short and bool(domain) and path.isprintable()


def _check_ascii(path: str, *, is_utf8: bool) -> None:
    if path.isascii() or (is_utf8 and _is_unicode(path)):
        return
    raise Refusal("553 5.6.7 An address beyond ASCII needs SMTPUTF8 and UTF-8")


def _is_unicode(text: str) -> bool:
    """Whether the octets were UTF-8: others come as surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _check_size(size: str | None, largest: int) -> None:
    if size is None:
        return
    if not (size.isascii() and size.isdecimal() and len(size) <= 20):
        raise Refusal("501 5.5.4 SIZE is a number of octets")
    if int(size) > largest:
        raise Refusal(TOO_LARGE)


def _flag(parameters: Parameters, name: str) -> bool:
    if name not in parameters:
        return False
    if parameters.pop(name) is not None:
        raise Refusal(f"501 5.5.4 {name} takes no value")
    return True


def _value(parameters: Parameters, name: str, read: Callable[[str], Value | None]) -> Value | None:
    """What `read` makes of the parameter, None where it is not there; 501 where it makes nothing of it."""
    if name not in parameters:
        return None
    value = read(parameters.pop(name) or "")
    if value is None:
        raise Refusal(f"501 5.5.4 {name} is not as RFC 3461 has it")
    return value


def _check_nothing_left(parameters: Parameters) -> None:
    if parameters:
        raise Refusal("555 5.5.4 There is a parameter that is not known here")


def _envelope_id(value: str) -> str | None:
    """Printable ASCII in xtext (RFC 3461 section 4.4)."""
    text = _decoded(value) if len(value) <= LONGEST_ENVID else None
    return text if text is not None and text.isascii() and text.isprintable() else None


def _returns(value: str) -> Returns | None:
    return _RETURNS.get(value.upper())


def _notify(value: str) -> tuple[Event, ...] | None:
    names = value.upper().split(",")
    if names == ["NEVER"]:
        return ()
    events = [_EVENTS[name] for name in names if name in _EVENTS]
    return tuple(events) if len(events) == len(names) == len(set(names)) else None


def _original(value: str, *, is_utf8: bool) -> str | None:
    """`type;address`, decoded; an address of type utf-8 stays in the form of RFC 6533 section 3."""
    kind, _, address = value.partition(";")
    if len(value) > LONGEST_ORCPT or not _ATOM.fullmatch(kind):
        return None
    if kind.lower() == "utf-8":
        is_fit = _UNITEXT.fullmatch(address) and (address.isascii() or (is_utf8 and _is_unicode(address)))
        return f"{kind};{address}" if is_fit else None
    text = _decoded(address)
    return f"{kind};{text}" if text and text.isprintable() else None


def _decoded(xtext: str) -> str | None:
    """See RFC 3461 section 4."""
    if not _XTEXT.fullmatch(xtext):
        return None
    return _HEX.sub(lambda found: chr(int(found[1], 16)), xtext)
