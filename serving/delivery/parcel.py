"""What delivery finds when it opens an envelope: a mail ready to travel, and between whom."""

import json
import re
from dataclasses import dataclass

from serving.addresses import domain_of
from serving.errors import Unsealable
from serving.origin import Origin, read_origin

_END_OF_HEADERS = re.compile(rb"\r?\n\r?\n")


@dataclass(frozen=True, slots=True)
class Parcel:
    """One mail to one recipient; `mail` is RFC 5322 octets with CRLF, and ours or, relayed open, somebody else's."""

    mail_from: str
    rcpt_to: str
    message_id: str
    mail: bytes
    is_ours: bool = False
    origin: Origin | None = None
    """Whom to tell what becomes of it."""

    @property
    def is_eight_bit(self) -> bool:
        """Whether the mail needs 8BITMIME (RFC 6152)."""
        return not self.mail.isascii()

    @property
    def is_international(self) -> bool:
        """Whether an address or a header in UTF-8 needs SMTPUTF8 (RFC 6531)."""
        return self.has_international_address or _has_utf8_headers(self.mail)

    @property
    def has_international_address(self) -> bool:
        """Whether it cannot travel at all without SMTPUTF8."""
        return not (self.mail_from.isascii() and self.rcpt_to.isascii())


def open_parcel(envelope: bytes) -> Parcel:
    """The parcel in an unsealed envelope: a line of JSON, then the mail. Raises Unsealable where there is none."""
    head, _, mail = envelope.partition(b"\n")
    try:
        fields = json.loads(head)
        addresses = _in_a_labels(fields["mail_from"]), _in_a_labels(fields["rcpt_to"])
        message_id, is_ours = str(fields["message_id"]), fields.get("is_ours") is True
        origin = read_origin(fields.get("origin"))
        return Parcel(*addresses, message_id=message_id, mail=mail, is_ours=is_ours, origin=origin)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise Unsealable("the envelope holds no parcel: encryption and delivery differ in version") from None


def _in_a_labels(address: str) -> str:
    """The address with its domain in ASCII (RFC 5891): most servers lack SMTPUTF8, and the domain does not need it."""
    local, _, _ = address.rpartition("@")
    domain = None if address.isascii() else domain_of(address)
    return f"{local}@{domain}" if domain else address


def _has_utf8_headers(mail: bytes) -> bool:
    end = _END_OF_HEADERS.search(mail)
    headers = mail[: end.start()] if end else mail
    if headers.isascii():
        return False
    try:
        headers.decode("utf-8")
    except UnicodeDecodeError:
        return False  # raw 8-bit of some other kind: SMTPUTF8 would claim what is not true
    return True
