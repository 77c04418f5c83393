"""One mail transaction (RFC 5321 3.3): what the receiver said, as a value."""

import re
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from aiosmtplib import SMTP, SMTPException, SMTPResponseException, SMTPServerDisconnected, SMTPTimeoutError
from aiosmtplib.email import parse_address

from serving.delivery.parcel import Parcel
from serving.delivery.replies import clean, is_permanent
from serving.delivery.requests import ends_reports, recipient_options, sender_options
from serving.values import Receipt

_PLAIN = re.compile(r"[A-Za-z0-9_=+-]+(?:\.[A-Za-z0-9_=+-]+)*@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*")


@dataclass(frozen=True, slots=True)
class Failure:
    """The receiver does not have the mail, or nobody knows; `permanent` when another try would end the same,
    `unreachable` when there was nobody to speak to, `broken` when a server stopped answering."""

    reply: str
    permanent: bool
    unreachable: bool = False
    broken: bool = False


async def send(
    connect: Callable[[], AbstractAsyncContextManager[SMTP]],
    parcel: Parcel,
    *,
    before_data: Callable[[], Awaitable[None]],
    data_timeout: float,
) -> Receipt | Failure:
    """The receiver's 250 or why there is none, over a connection that `connect` lends. `before_data` runs when
    everything is agreed and nothing is sent yet; what it raises ends the transaction. `data_timeout` is seconds for
    the content and the reply to it."""
    try:
        async with connect() as smtp:
            return _refusal(smtp, parcel) or await _transact(smtp, parcel, before_data, data_timeout)
    except SMTPResponseException as error:
        reply = clean(f"{error.code} {error.message}", parcel.mail_from, parcel.rcpt_to)
        return Failure(reply, is_permanent(error.code, error.message))
    except ConnectionError as error:
        return Failure(clean(str(error)), permanent=False, unreachable=True)
    except (SMTPException, OSError) as error:
        return Failure(
            f"the connection broke before the content was sent ({type(error).__name__})", permanent=False, broken=True
        )


async def _transact(
    smtp: SMTP, parcel: Parcel, before_data: Callable[[], Awaitable[None]], data_timeout: float
) -> Receipt | Failure:
    utf8 = parcel.is_international and smtp.supports_extension("smtputf8")
    await smtp.mail(parcel.mail_from, options=_options(smtp, parcel, utf8), encoding="utf-8" if utf8 else "ascii")
    await smtp.rcpt(parcel.rcpt_to, options=recipient_options(smtp, parcel), encoding="utf-8" if utf8 else "ascii")
    await before_data()
    return await _data(smtp, parcel, data_timeout)


async def _data(smtp: SMTP, parcel: Parcel, data_timeout: float) -> Receipt | Failure:
    try:
        response = await smtp.data(parcel.mail, timeout=data_timeout)
    except (SMTPServerDisconnected, SMTPTimeoutError):
        smtp.close()
        lost = "no reply to the content: it may have arrived, and goes again as the same mail"
        return Failure(lost, permanent=False, broken=True)
    words = clean(response.message, parcel.mail_from, parcel.rcpt_to)
    return Receipt(response.code, words, parcel.message_id, ends_reports(smtp, parcel))


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
    """Whether aiosmtplib would write just this address: it guesses at odd ones, and so reaches somebody else."""
    if _PLAIN.fullmatch(address):  # as nearly all are, and asking takes a parser of everything that RFC 5322 allows
        return True
    try:
        address.encode("utf-8")
        return parse_address(address) == address
    except ValueError:
        return False


def _options(smtp: SMTP, parcel: Parcel, utf8: bool) -> list[str]:
    options = [f"SIZE={len(parcel.mail)}"] if smtp.supports_extension("size") else []
    if parcel.is_eight_bit and smtp.supports_extension("8bitmime"):
        options.append("BODY=8BITMIME")
    options += sender_options(smtp, parcel)
    return [*options, "SMTPUTF8"] if utf8 else options
