"""What the sender asked to be told, passed on to a server that reports by itself (RFC 3461 sections 4 and 5.2).

Its reports come to us, since MAIL FROM is ours, and we tell the sender.
"""

from aiosmtplib import SMTP

from serving.delivery.parcel import Parcel

_RETURNS = {"full": "FULL", "headers": "HDRS"}


def sender_options(smtp: SMTP, parcel: Parcel) -> list[str]:
    """RET and ENVID for MAIL; none where the server knows nothing of them or the sender has not asked."""
    origin = parcel.origin
    if origin is None or not smtp.supports_extension("dsn"):
        return []
    options = [f"RET={_RETURNS[origin.returns]}"] if origin.returns in _RETURNS else []
    return [*options, f"ENVID={xtext(origin.envelope_id)}"] if origin.envelope_id else options


def recipient_options(smtp: SMTP, parcel: Parcel) -> list[str]:
    """NOTIFY and ORCPT for RCPT."""
    origin = parcel.origin
    if origin is None or not smtp.supports_extension("dsn"):
        return []
    events = None if origin.notify is None else ",".join(origin.notify).upper() or "NEVER"
    options = [f"NOTIFY={events}"] if events else []
    kind, _, address = (origin.original or "").partition(";")
    if not address.isascii():  # an address of type utf-8 may travel as it is only where all of the way takes it
        return options
    return [*options, f"ORCPT={kind};{xtext(address)}"] if address else options


def xtext(text: str) -> str:
    """Printable ASCII as a parameter holds it (RFC 3461 section 4)."""
    return "".join(each if "!" <= each <= "~" and each not in "+=" else f"+{ord(each):02X}" for each in text)
