"""An answer on its way to the sender: the body as it was written, below a header of ours."""

from email import message_from_bytes, policy

import pytest

from serving.mail import split
from serving.notice.forwarding import MOST_REFERENCES, Answered, forward

OURS, ADA = "clarion@gate.example", "ada@home.example"
ANSWERED = Answered("<0000000000007@gate.example>", "<lab-1@hospital.example>", "ward7@hospital.example")
HEAD = (
    b"Return-Path: <ada@home.example>\r\nReceived: from mail.home.example ([192.0.2.1])\r\n\tby gate.example; now\r\n"
    b"DKIM-Signature: v=1; d=home.example\r\nAuthentication-Results: gate.example; none\r\nBcc: x@home.example\r\n"
    b"Auto-Submitted: no\r\nSender: ada@home.example\r\nReply-To: elsewhere@evil.example\r\n"
    b"From: =?utf-8?q?Ad=C3=A4?= <ada@home.example>\r\nTo: reply+7-abcdefghijklmnop@gate.example\r\n"
    b"Subject: Re: [...]\r\nDate: Sun, 29 Nov 2026 10:05:00 +0000\r\nMessage-ID: <a@home.example>\r\n"
)


def forwarded(fields: bytes = b"", body: bytes = b"Coming.\r\n", answered: Answered = ANSWERED) -> bytes:
    mail = split(HEAD + fields + b"\r\n" + body)
    assert mail is not None
    return forward(mail, ADA, OURS, answered)


def test_nothing_of_the_old_header_is_carried_over_but_what_a_reader_needs() -> None:
    """Its traces are of another way, its signature covers another mail, its To holds our address of proof."""
    mail = message_from_bytes(forwarded(b"MIME-Version: 1.0\r\nContent-Type: text/plain\r\n"), policy=policy.SMTP)

    assert mail.items() == [
        ("From", f"Adä via Clarion <{OURS}>"),
        ("Reply-To", ADA),
        ("To", "ward7@hospital.example"),
        ("In-Reply-To", "<lab-1@hospital.example>"),
        ("References", "<lab-1@hospital.example>"),
        ("Subject", "Re: [...]"),
        ("Date", "Sun, 29 Nov 2026 10:05:00 +0000"),
        ("Message-ID", "<a@home.example>"),
        ("MIME-Version", "1.0"),
        ("Content-Type", "text/plain"),
    ]


@pytest.mark.parametrize(
    ("fields", "parent", "references"),
    [
        (b"", "<lab-1@hospital.example>", ["<lab-1@hospital.example>"]),
        (
            b"In-Reply-To: <0000000000007@GATE.example>\r\n"
            b"References: <old@x.example>\r\n <0000000000007@gate.example>\r\n",
            "<lab-1@hospital.example>",
            ["<old@x.example>", "<lab-1@hospital.example>"],
        ),
        (
            b"References: <lab-1@hospital.example> <other@home.example>\r\n",
            "<lab-1@hospital.example>",
            ["<other@home.example>", "<lab-1@hospital.example>"],
        ),
    ],
)
def test_what_it_answers_is_named_as_its_sender_knows_it(fields: bytes, parent: str, references: list[str]) -> None:
    """A ticket system finds together by its own Message-ID, and has never seen ours."""
    mail = message_from_bytes(forwarded(fields), policy=policy.SMTP)

    assert mail["In-Reply-To"] == parent
    assert str(mail["References"]).split() == references


def test_a_mail_without_message_id_is_named_as_the_answer_names_it() -> None:
    """There is no better name."""
    fields = b"In-Reply-To: <0000000000007@gate.example>\r\nReferences: <0000000000007@gate.example>\r\n"
    mail = message_from_bytes(forwarded(fields, answered=Answered(ANSWERED.ours, "", ANSWERED.goes_to)))

    assert mail["In-Reply-To"] == mail["References"] == ANSWERED.ours


def test_a_long_thread_is_cut_in_its_middle() -> None:
    """Its beginning and its end are what programs go by (RFC 5322 section 3.6.4)."""
    fields = b"References: " + b"\r\n ".join(b"<%d@x.example>" % number for number in range(500)) + b"\r\n"
    references = str(message_from_bytes(forwarded(fields), policy=policy.SMTP)["References"]).split()

    assert len(references) == MOST_REFERENCES
    assert (references[0], references[-2:]) == ("<0@x.example>", ["<499@x.example>", "<lab-1@hospital.example>"])


@pytest.mark.parametrize(
    "kind",
    [
        b'multipart/encrypted; protocol="application/pgp-encrypted"; boundary=b',
        b"application/pkcs7-mime; smime-type=enveloped-data",
        b'multipart/signed; protocol="application/pgp-signature"; boundary=b',
    ],
)
def test_an_answer_that_is_sealed_or_signed_stays_so(kind: bytes) -> None:
    """Octet for octet: it may be for the sender's eyes alone, and its signature covers its body."""
    body = b"--b\r\nContent-Type: text/plain\r\n\r\n\xff\x00 \t\r\n--b--\r\n"
    octets = forwarded(b"Content-Type: " + kind + b"\r\n", body)

    assert octets.partition(b"\r\n\r\n")[2] == body
    assert b"\r\nContent-Type: " + kind + b"\r\n" in octets
