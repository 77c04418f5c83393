"""Mails of our own, as they begin: the fields that all of them have."""

from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTPUTF8


def begin_letter(mail_from: str, rcpt_to: str, subject: str, now: datetime) -> EmailMessage:
    """A mail without content, and without Message-ID, which is given where it leaves."""
    letter = EmailMessage(policy=SMTPUTF8)
    letter["From"] = f"Clarion <{mail_from}>"
    letter["To"] = rcpt_to
    letter["Subject"] = subject
    letter["Date"] = now
    letter["Auto-Submitted"] = "auto-generated"
    return letter
