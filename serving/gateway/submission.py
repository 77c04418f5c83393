"""Reads a request into the octets of one mail and the addresses it is for."""

import asyncio
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from email.parser import BytesHeaderParser
from email.policy import compat32
from email.utils import getaddresses
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError
from starlette.requests import Request

from serving.addresses import canonical_address
from serving.envelope import without_envelope
from serving.gateway.mail import Mail, compose, mailbox
from serving.gateway.problems import Problem, problem
from serving.trace import header_size

Value = TypeVar("Value")

MOST_RECIPIENTS = 10_000
_FIRST_HEADER = re.compile(rb"[!-9;-~]+[ \t]*:")


@dataclass(frozen=True, slots=True)
class Draft:
    """A mail (RFC 5322 octets), whom it is for (each once, as the sender wrote it) and the octets of the request."""

    mail: bytes
    recipients: tuple[str, ...]
    request: bytes


async def read_body(request: Request, limit: int) -> bytes:
    """The body's octets.

    Raises:
        Problem: 413 as soon as it is known to be longer than `limit`; the rest is not read.
    """
    if int(_declared_length(request)) > limit:
        raise _too_large(limit)
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise _too_large(limit)
        chunks.append(chunk)
    return b"".join(chunks)


async def read_draft(request: Request, limit: int, *, now: float, make_id: Callable[[], str]) -> Draft:
    """The mail in the request, JSON or RFC 5322.

    Raises:
        Problem: 400, 413, 415 or 422 with what is wrong.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type not in ("application/json", "message/rfc822"):
        raise problem(
            415,
            "unsupported_media_type",
            "the body is of a type we do not read",
            "send application/json or message/rfc822",
        )
    body = await read_body(request, limit)
    if media_type == "application/json":
        draft = await asyncio.to_thread(_from_json, body, now, make_id)
    else:
        draft = await asyncio.to_thread(_from_mail, body, request.query_params.getlist("to"))
    if len(draft.mail) > limit:
        raise _too_large(limit)
    return draft


def parse_json(kind: TypeAdapter[Value], body: bytes) -> Value:
    """The body as `kind`.

    Raises:
        Problem: 400 where it is no JSON, 422 where it is another JSON; no input is quoted.
    """
    try:
        return kind.validate_json(body)
    except ValidationError as error:
        raise _invalid(error) from None


def _from_json(body: bytes, now: float, make_id: Callable[[], str]) -> Draft:
    mail = parse_json(_MAIL, body)
    recipients = distinct([*mail.to, *mail.cc])
    return Draft(compose(mail, now=now, message_id=make_id()), recipients, body)


def _from_mail(body: bytes, asked: list[str]) -> Draft:
    if not _FIRST_HEADER.match(body):
        raise problem(400, "malformed_mail", "the body does not begin with a header", "send a mail as in RFC 5322")
    return Draft(without_envelope(body), distinct(asked or _addressed(body)), body)


def _addressed(mail: bytes) -> list[str]:
    headers = BytesHeaderParser(policy=compat32).parsebytes(mail[: header_size(mail)])  # of 1 MiB at most
    fields = [str(value) for name in ("to", "cc") for value in headers.get_all(name, [])]
    return [address for _, address in getaddresses(fields) if address]


def distinct(addresses: Iterable[str]) -> tuple[str, ...]:
    """The bare addresses, each once however it is spelt, in the order given.

    Raises:
        Problem: 422 for none, for too many, and for what is no address.
    """
    found: dict[str, str] = {}
    for address in addresses:
        bare = mailbox(address).address
        found.setdefault(canonical_address(bare), bare)
    if not found:
        raise problem(422, "no_recipient", "the mail names no recipient", "set `to`, or a To header")
    if len(found) > MOST_RECIPIENTS:
        raise problem(422, "too_many_recipients", f"more than {MOST_RECIPIENTS} recipients", "split the list")
    return tuple(found.values())


def _declared_length(request: Request) -> str:
    declared = request.headers.get("content-length", "0")
    return declared if declared.isdecimal() and len(declared) < 20 else "0"


def _too_large(limit: int) -> Problem:
    return problem(413, "too_large", f"the mail is larger than {limit} octets", "send less, or a link to it")


def _invalid(error: ValidationError) -> Problem:
    first = error.errors(include_input=False, include_context=False, include_url=False)[0]
    if first["type"] == "json_invalid":
        return problem(400, "malformed_json", "the body is not JSON in UTF-8", "check it with a JSON tool")
    where = ".".join(str(part) for part in first["loc"] if str(part).isidentifier() or isinstance(part, int))
    return problem(
        422, "invalid", f"`{where or 'body'}`: {first['msg']}", "see the fields of POST /v1/notify in the README"
    )


_MAIL = TypeAdapter(Mail)
