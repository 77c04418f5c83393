"""Mails that come back, as servers of many kinds write them. Addresses are invented; the words are theirs."""

TO = "bob@receiver.example"

POSTFIX = b"""\
From: MAILER-DAEMON@receiver.example (Mail Delivery System)
Subject: Undelivered Mail Returned to Sender
To: bounce+7-aaaaaaaaaaaaaaaa@gate.example
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="b"

--b
Content-Description: Notification
Content-Type: text/plain; charset=us-ascii

This is the mail system at host mx.receiver.example.

<bob@receiver.example>: unknown user: "bob"

--b
Content-Description: Delivery report
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.receiver.example
X-Postfix-Queue-ID: 4F2B1
Arrival-Date: Sun, 29 Nov 2026 10:00:00 +0000 (UTC)

Final-Recipient: rfc822; bob@receiver.example
Original-Recipient: rfc822;bob@receiver.example
Action: failed
Status: 5.1.1
Diagnostic-Code: X-Postfix; unknown user: "bob"

--b
Content-Description: Undelivered Message Headers
Content-Type: text/rfc822-headers

From: Clarion <clarion@gate.example>
To: bob@receiver.example

--b--
"""

DELAYED = POSTFIX.replace(b"Action: failed", b"Action: delayed").replace(b"Status: 5.1.1", b"Status: 4.4.1")
RELAYED = POSTFIX.replace(b"Action: failed", b"Action: relayed").replace(b"Status: 5.1.1", b"Status: 2.0.0")
WITHOUT_ACTION = POSTFIX.replace(b"Action: failed\n", b"")
VAGUE = POSTFIX.replace(b"Status: 5.1.1", b"Status: 5.0.0").replace(
    b'X-Postfix; unknown user: "bob"', b"smtp; 550-5.1.10 <bob@receiver.example> takes no mail"
)
EXPIRED = POSTFIX.replace(b"Status: 5.1.1", b"Status: 4.4.7")
FORWARDED = POSTFIX.replace(
    b"Final-Recipient: rfc822; bob@receiver.example", b"Final-Recipient: rfc822; b@else.example"
)
IN_BASE64 = POSTFIX.replace(
    POSTFIX[
        POSTFIX.index(b"Content-Type: message/delivery-status") : POSTFIX.index(b"--b\nContent-Description: Undel")
    ],
    b"Content-Type: message/global-delivery-status\nContent-Transfer-Encoding: base64\n\n"
    b"UmVwb3J0aW5nLU1UQTogZG5zOyBteC5yZWNlaXZlci5leGFtcGxlCgpGaW5hbC1SZWNpcGllbnQ6IHV0Zi04OyBq\n"
    b"XHh7RkN9cmdlbkByZWNlaXZlci5leGFtcGxlCkFjdGlvbjogZmFpbGVkClN0YXR1czogNS4yLjEK\n\n",
)

EXIM = b"""\
X-Failed-Recipients: bob@receiver.example
Auto-Submitted: auto-replied
From: Mail Delivery System <Mailer-Daemon@receiver.example>
To: bounce+7-aaaaaaaaaaaaaaaa@gate.example
Subject: Mail delivery failed: returning message to sender

This message was created automatically by mail delivery software.

A message that you sent could not be delivered to one or more of its
recipients. This is a permanent error. The following address(es) failed:

  bob@receiver.example
    SMTP error from remote mail server after RCPT TO:<bob@receiver.example>:
    550 5.1.1 <bob@receiver.example>: no such user here

------ This is a copy of the message, including all the headers. ------

From: Clarion <clarion@gate.example>
"""

QMAIL = b"""\
From: MAILER-DAEMON@receiver.example
To: bounce+7-aaaaaaaaaaaaaaaa@gate.example
Subject: failure notice

Hi. This is the qmail-send program at receiver.example.
I'm afraid I wasn't able to deliver your message to the following addresses.
This is a permanent error; I've given up. Sorry it didn't work out.

<bob@receiver.example>:
Sorry, no mailbox here by that name. (#5.1.1)

--- Below this line is a copy of the message.

Return-Path: <bounce+7-aaaaaaaaaaaaaaaa@gate.example>
"""

VACATION = b"""\
From: Bob <bob@receiver.example>
To: bounce+7-aaaaaaaaaaaaaaaa@gate.example
Subject: Out of office: the disk
Auto-Submitted: auto-replied (vacation)

I am away until Monday. Mail to <ann@receiver.example> could not be delivered: 550 5.1.1 unknown user.
"""

RESPONDER = VACATION.replace(b"Auto-Submitted: auto-replied (vacation)", b"X-Autoreply: yes")

RECEIPT = b"""\
From: Bob <bob@receiver.example>
MIME-Version: 1.0
Content-Type: multipart/report; report-type=disposition-notification; boundary="b"

--b
Content-Type: text/plain

Your message was read. 550 5.1.1 <bob@receiver.example> is not what this says.

--b
Content-Type: message/disposition-notification

Final-Recipient: rfc822; bob@receiver.example
Disposition: manual-action/MDN-sent-manually; displayed

--b--
"""

ANSWER = (
    b"""\
From: Bob <bob@receiver.example>
To: bounce+7-aaaaaaaaaaaaaaaa@gate.example
Subject: Re: what bounced
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary="o"

--o
Content-Type: text/plain

Look at what I got.

--o
Content-Type: message/rfc822

"""
    + POSTFIX
    + b"\n--o--\n"
)
"""A report lies in it, and it is none."""

COMPLAINT = RECEIPT.replace(b"disposition-notification", b"feedback-report")
