"""One mail transaction (RFC 5321 3.3): what the receiver said, as a value."""

import re
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from aiosmtplib import (
    SMTP,
    SMTPException,
    SMTPResponse,
    SMTPResponseException,
    SMTPServerDisconnected,
    SMTPTimeoutError,
)
from aiosmtplib.email import parse_address

from serving.delivery.conversation import Conversation, Unanswered, command, content, conversation
from serving.delivery.parcel import Parcel
from serving.delivery.replies import clean, is_permanent
from serving.delivery.requests import ends_reports, recipient_options, sender_options
from serving.values import Receipt

_PLAIN = re.compile(r"[A-Za-z0-9_=+-]+(?:\.[A-Za-z0-9_=+-]+)*@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*")
_DONE = frozenset({250})
_CONTENT_WANTED = frozenset({354})
_AGREED = (_DONE, frozenset({250, 251}), _CONTENT_WANTED)
"""What agrees to MAIL, to RCPT and to DATA."""


@dataclass(frozen=True, slots=True)
class Failure:
    """The receiver does not have the mail, or nobody knows; `permanent` when another try would end the same,
    `unreachable` when there was nobody to speak to, `broken` when a server stopped answering."""

    reply: str
    permanent: bool
    unreachable: bool = False
    broken: bool = False


class Connect(Protocol):
    """Lends a connection; `asked` where it must have shown just now that it answers."""

    def __call__(self, *, asked: bool) -> AbstractAsyncContextManager[SMTP]: ...


async def send(
    connect: Connect,
    parcel: Parcel,
    *,
    before_data: Callable[[], Awaitable[None]],
    data_timeout: float,
) -> Receipt | Failure:
    """The receiver's 250 or why there is none, over a connection that `connect` lends. `before_data` runs when
    everything is agreed and nothing is sent yet; what it raises ends the transaction. `data_timeout` is seconds for
    the content and the reply to it."""

    async def over(*, asked: bool) -> Receipt | Failure:
        async with connect(asked=asked) as smtp:
            return _refusal(smtp, parcel) or await _transact(smtp, parcel, before_data, data_timeout)

    try:
        try:
            return await over(asked=False)
        except Unanswered:
            return await over(asked=True)
    except SMTPResponseException as error:
        reply = clean(f"{error.code} {error.message}", parcel.mail_from, parcel.rcpt_to)
        return Failure(reply, is_permanent(error.code, error.message))
    except (SMTPServerDisconnected, SMTPTimeoutError) as error:
        return _broken(error)
    except ConnectionError as error:
        return Failure(clean(str(error)), permanent=False, unreachable=True)
    except (SMTPException, OSError) as error:
        return _broken(error)


def _broken(error: Exception) -> Failure:
    reply = f"the connection broke before the content was sent ({type(error).__name__})"
    return Failure(reply, permanent=False, broken=True)


async def _transact(
    smtp: SMTP, parcel: Parcel, before_data: Callable[[], Awaitable[None]], data_timeout: float
) -> Receipt | Failure:
    with conversation(smtp) as talk:
        await _agree(talk, smtp, parcel)
        await before_data()
        return await _hand_over(talk, smtp, parcel, data_timeout)


async def _agree(talk: Conversation, smtp: SMTP, parcel: Parcel) -> None:
    """Until the receiver waits for the content; all at once where it can (RFC 2920), or a command after the other.

    Raises:
        SMTPResponseException: the first refusal, once every command has its reply.
    """
    commands = _commands(smtp, parcel)
    at_once = smtp.supports_extension("pipelining")
    if at_once:
        talk.write(b"".join(commands))
    refusal: SMTPResponse | None = None
    for line, agreed in zip(commands, _AGREED, strict=True):
        if not at_once:
            talk.write(line)
        try:
            reply = await talk.reply(smtp.timeout)
        except SMTPException:
            if refusal is None:
                raise
            smtp.close()
            break
        if reply.code not in agreed:
            refusal = refusal or reply
            if not at_once:
                break
        elif refusal is not None and agreed is _CONTENT_WANTED:
            smtp.close()  # it waits for the content though it refused: a dot would be a mail of nothing (RFC 2920 3.1)
    if refusal is not None:
        raise SMTPResponseException(*refusal)


async def _hand_over(talk: Conversation, smtp: SMTP, parcel: Parcel, data_timeout: float) -> Receipt | Failure:
    try:
        talk.write(content(parcel.mail))
        response = await talk.reply(data_timeout)
    except (SMTPServerDisconnected, SMTPTimeoutError):
        smtp.close()
        lost = "no reply to the content: it may have arrived, and goes again as the same mail"
        return Failure(lost, permanent=False, broken=True)
    if response.code not in _DONE:
        raise SMTPResponseException(*response)
    words = clean(response.message, parcel.mail_from, parcel.rcpt_to)
    return Receipt(response.code, words, parcel.message_id, ends_reports(smtp, parcel))


def _commands(smtp: SMTP, parcel: Parcel) -> tuple[bytes, bytes, bytes]:
    utf8 = parcel.is_international and smtp.supports_extension("smtputf8")
    encoding = "utf-8" if utf8 else "ascii"
    mail = command(f"MAIL FROM:<{parcel.mail_from}>", *_options(smtp, parcel, utf8), encoding=encoding)
    rcpt = command(f"RCPT TO:<{parcel.rcpt_to}>", *recipient_options(smtp, parcel), encoding=encoding)
    return mail, rcpt, b"DATA\r\n"


def _refusal(smtp: SMTP, parcel: Parcel) -> Failure | None:
    """Why not even to begin: an address that is none, or what the receiver has said in its EHLO already."""
    if not (_is_writable(parcel.mail_from) and _is_writable(parcel.rcpt_to)):
        return Failure("501 5.1.3 not sent: an address cannot be written in SMTP", permanent=True)
    if parcel.has_international_address and not smtp.supports_extension("smtputf8"):
        return Failure("553 5.6.7 not sent: the receiver takes no international addresses", permanent=True)
    limit = smtp.esmtp_extensions.get("size", "")
    if limit.isdigit() and 0 < int(limit) < len(parcel.mail):
        return Failure("552 5.3.4 not sent: larger than the receiver's limit", permanent=True)
    return None


def _is_writable(address: str) -> bool:
    """Whether it is one address to aiosmtplib, and just this: what it has to guess at would reach somebody else."""
    if _PLAIN.fullmatch(address):  # as nearly all are, and asking takes a parser of everything that RFC 5322 allows
        return True
    try:
        command(address, encoding="utf-8")  # a control character, or what no encoding holds
        return parse_address(address) == address
    except ValueError:
        return False


def _options(smtp: SMTP, parcel: Parcel, utf8: bool) -> list[str]:
    options = [f"SIZE={len(parcel.mail)}"] if smtp.supports_extension("size") else []
    if parcel.is_eight_bit and smtp.supports_extension("8bitmime"):
        options.append("BODY=8BITMIME")
    options += sender_options(smtp, parcel)
    return [*options, "SMTPUTF8"] if utf8 else options
