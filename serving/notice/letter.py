"""Our own mails about a notification: that money is needed, that nobody paid, that it is held for want of a key.

None holds anything of the message itself: no subject, no word of its text.
"""

import io
from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage
from email.utils import make_msgid
from html import escape

import segno

from serving.letters import begin_letter
from serving.web.amounts import money, utc

_STYLE = "font-family:sans-serif;max-width:32em;margin:2em auto;line-height:1.5"
_BUTTON = "display:inline-block;padding:.8em 1.6em;background:#0a5;color:#fff;text-decoration:none;border-radius:.4em"


@dataclass(frozen=True, slots=True)
class Request:
    """Who writes, what delivery costs (minor units), until when (seconds since the epoch), and where it is paid.

    `statement` is the payer's own: who forwards `link`, for somebody else to pay, leaves it out.
    """

    sender: str
    amount: int
    currency: str
    until: float
    link: str
    statement: str


@dataclass(frozen=True, slots=True)
class About:
    """A message, as its sender knows it: our public id, and the Message-ID that it came with, empty where with none."""

    id: str
    message_id: str


def write_request(request: Request, mail_from: str, rcpt_to: str, now: datetime) -> bytes:
    """The request for payment, with a link and a QR code; RFC 5322 octets, without Message-ID, which is given where it
    leaves."""
    price = money(request.amount, request.currency)
    letter = begin_letter(mail_from, rcpt_to, f"An urgent message waits for you: {price}", now)
    letter.set_content(_request_text(request, price))
    picture = make_msgid(domain="clarion.invalid")
    letter.add_alternative(_request_html(request, price, picture), subtype="html")
    html = letter.get_payload()[1]  # type: ignore[index]
    html.add_related(_qr(request.link), "image", "png", cid=picture, filename="pay.png")  # type: ignore[union-attr]
    return letter.as_bytes()


def write_lapse(about: About, mail_from: str, rcpt_to: str, now: datetime) -> bytes:
    """The notice to the sender; RFC 5322 octets, a reply to what it is about (RFC 3834, section 3)."""
    return _reply(
        about,
        begin_letter(mail_from, rcpt_to, "Not delivered: nobody paid for it", now),
        "A message of yours was urgent for its recipient, and nobody paid for its delivery in time.\n"
        "It was not delivered and will not be.\n",
        "Where a message must arrive whoever pays, its sender can pay, or be registered as life-safety.\n",
    )


def write_keyless(mail_from: str, rcpt_to: str, now: datetime) -> bytes:
    """The notice to the recipient whose mail cannot be sealed; it travels open, and so names nobody."""
    letter = begin_letter(mail_from, rcpt_to, "A message for you is held", now)
    letter.set_content(
        "A message for you waits here. It may only leave sealed, and there is no certificate of yours that it can be\n"
        "sealed to: there is none at all, or it has expired, or is revoked.\n\n"
        "Give your OpenPGP or S/MIME certificate to whoever runs this service; then it arrives at once. Check by\n"
        "another way than this mail that you give it to them and to nobody else.\n\n"
        "More messages may wait than this one; you are told once a day. Nobody needs to answer this mail.\n"
    )
    return letter.as_bytes()


def write_held(about: About, reason: str, mail_from: str, rcpt_to: str, now: datetime) -> bytes:
    """The notice to the sender whose mail is held; RFC 5322 octets, a reply to what it is about."""
    return _reply(
        about,
        begin_letter(mail_from, rcpt_to, "Held, not delivered yet: it cannot be sealed", now),
        f"A message of yours may only leave sealed, and it cannot be sealed: {reason}.\n"
        f"It is kept, its recipient was told if we know them, and it is delivered when there is a certificate.\n",
        "If it cannot wait, reach its recipient in another way.\n",
    )


def write_not_passed_on(reason: str, message_id: str, mail_from: str, rcpt_to: str, now: datetime) -> bytes:
    """The notice to a recipient whose answer reaches nobody; `message_id` is the answer's, empty where it has none."""
    letter = begin_letter(mail_from, rcpt_to, "Your answer was not passed on", now)
    letter.replace_header("Auto-Submitted", "auto-replied")
    if message_id:
        letter["In-Reply-To"] = letter["References"] = message_id
    letter.set_content(
        f"An answer of yours to a mail that came through this service could not be passed on to the sender of that\n"
        f"mail: {reason}.\n\n"
        f"That you have seen the mail is known here. If the sender must have your words, write to them directly.\n"
    )
    return letter.as_bytes()


def _reply(about: About, letter: EmailMessage, news: str, advice: str) -> bytes:
    """To the sender, about its message."""
    letter.replace_header("Auto-Submitted", "auto-replied")
    if about.message_id:
        letter["In-Reply-To"] = letter["References"] = about.message_id
    name = about.message_id or "(none was given)"
    letter.set_content(f"{news}\nNotification  {about.id}\nMessage-ID    {name}\n\n{advice}")
    return letter.as_bytes()


def _request_text(request: Request, price: str) -> str:
    return (
        f"{request.sender} has written something urgent to you.\n\n"
        f"Its delivery costs {price}. It waits until {utc(request.until)}.\n\n"
        f"Pay here, and it arrives at once:\n{request.link}\n\n"
        f"What you have paid so far, for your eyes alone:\n{request.statement}\n\n"
        f"Nobody needs to answer this mail.\n"
    )


def _request_html(request: Request, price: str, picture: str) -> str:
    link, statement = escape(request.link, quote=True), escape(request.statement, quote=True)
    return (
        f'<!DOCTYPE html>\n<html lang="en"><body style="{_STYLE}">\n'
        f"<p><bdi><b>{escape(request.sender)}</b></bdi> has written something urgent to you.</p>\n"
        f"<p>Its delivery costs <b>{escape(price)}</b>. It waits until {utc(request.until)}.</p>\n"
        f'<p><a href="{link}" style="{_BUTTON}">Pay {escape(price)}</a></p>\n'
        f'<p>Or with a phone:<br><img src="cid:{picture[1:-1]}" alt="The same link as a QR code" width="180"></p>\n'
        f'<p><a href="{statement}">What you have paid so far</a>, for your eyes alone.</p>\n'
        f"</body></html>\n"
    )


def _qr(link: str) -> bytes:
    """A PNG of the link; error correction M reads off a screen (ISO/IEC 18004)."""
    picture = io.BytesIO()
    segno.make(link, error="m", micro=False).save(picture, kind="png", scale=5, border=4)
    return picture.getvalue()
