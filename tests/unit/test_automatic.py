"""A vacation notice is no person: it must not acknowledge an alarm."""

import pytest

from serving.automatic import is_automatic
from serving.mail import split

STAMP = b"Return-Path: <%s>\r\nReceived: from mail.example ([192.0.2.1])\r\n\tby gate.example (Clarion); now\r\n"
FROM = b"From: ada@home.example\r\n"


def judged(fields: bytes, mail_from: bytes = b"ada@home.example") -> bool:
    raw = STAMP % mail_from + FROM + fields + b"\r\nI am away.\r\n"
    mail = split(raw)
    assert mail is not None
    return is_automatic(raw, mail)


@pytest.mark.parametrize(
    "fields",
    [
        b"Auto-Submitted: auto-replied\r\n",
        b"Auto-Submitted: auto-generated; owner=x\r\n",
        b"Auto-submitted: AUTO-NOTIFIED\r\n",
        b"Precedence: bulk\r\n",
        b"Precedence: Junk\r\n",
        b"Precedence: auto_reply\r\n",
        b"X-Autoreply: yes\r\n",
        b"X-Autorespond: yes\r\n",
        b"List-Id: <x.example>\r\n",
        b"X-POST-MessageClass: 9; Autoresponder\r\n",
        b"Content-Type: multipart/report; report-type=disposition-notification; boundary=x\r\n",
        b"Subject: Out of Office: Lab value\r\n",
        b"Subject: Automatic reply: Lab value\r\n",
        b"Subject: =?utf-8?q?R=C3=A9ponse_automatique_:_x?=\r\n",
        b"Subject: Abwesenheitsnotiz: x\r\n",
    ],
)
def test_what_a_machine_wrote_is_told_by_its_marks(fields: bytes) -> None:
    """RFC 3834, and what is older."""
    assert judged(fields)


@pytest.mark.parametrize(
    "fields",
    [
        b"",
        b"Auto-Submitted: no\r\n",
        b"Auto-Submitted: No (a person)\r\n",
        b"Precedence: first-class\r\n",
        b"Subject: Re: Out of office rota\r\n",
        b"Subject: Re: [...]\r\n",
        b"Subject: AW: Automatische Antwort\r\n",
        b"Content-Type: multipart/encrypted; boundary=x\r\n",
    ],
)
def test_a_person_is_taken_for_one(fields: bytes) -> None:
    """Else nobody could acknowledge by an answer."""
    assert not judged(fields)


def test_what_nothing_may_answer_is_no_answer() -> None:
    """A bounce has an empty path (RFC 5321 section 4.5.5), whatever its words."""
    assert judged(b"", mail_from=b"")
