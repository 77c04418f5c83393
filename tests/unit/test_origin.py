"""Whom a report goes to: the sender that is proven, as the mail came; nobody who was only named."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from serving.envelope import Request, SmtpEnvelope, envelope_field
from serving.origin import Origin, origin_of, read_origin
from serving.sealing import LookupKey

LOOKUP = LookupKey(b"l" * 32)
OURS, TO = "clarion@gate.example", "bob@receiver.example"
MAIL = (
    b"From: Ops <ops@bank.example>\r\nTo: bob@receiver.example\r\nSubject: secret-canary\r\n"
    b"Date: Sun, 29 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@bank.example>\r\n\r\nsecret-canary: 97 %\r\n"
)
RELAYED = b"Return-Path: <%s>\r\nReceived: from mx.bank.example ([192.0.2.7])\r\n\tby gate.example (Clarion); x\r\n"


def known(found: str = "", outcome: str = "authenticated") -> dict[str, Any]:
    return {"authentication": {"outcome": outcome, "method": "api_key", "found": found}}


def origin(mail: bytes = MAIL, facts: Mapping[str, Any] | None = None) -> Origin | None:
    return origin_of(mail, known() if facts is None else facts, TO, OURS, LOOKUP)


def by_smtp(path: str, request: Request | None = None, **values: Any) -> bytes:
    requests = {} if request is None else {TO: request}
    return envelope_field(SmtpEnvelope(path, **values), requests) + MAIL


def test_over_http_it_is_the_from_of_the_mail() -> None:
    """There is no MAIL FROM; what names the mail is kept, and nothing of what it says."""
    found = origin()

    assert found is not None
    assert (found.to, found.lookup) == ("ops@bank.example", LOOKUP.address("ops@bank.example").hex())
    assert found.message_id == "<1@bank.example>"
    assert [line.partition(":")[0] for line in found.header.splitlines()] == ["From", "To", "Date", "Message-ID"]
    assert "canary" not in json.dumps(found.tree())
    assert (found.envelope_id, found.returns, found.notify, found.original) == (None,) * 4


def test_over_smtp_it_is_mail_from_with_what_was_asked() -> None:
    """RFC 3461 section 6: reports go to the envelope's sender, in its terms."""
    asked = Request(("success", "failure"), "rfc822;Bob@receiver.example")
    found = origin(by_smtp("bounces@mail.bank.example", asked, envelope_id="QQ 314", returns="full"))

    assert found is not None
    assert found.to == "bounces@mail.bank.example"
    assert (found.envelope_id, found.returns, found.original) == ("QQ 314", "full", "rfc822;Bob@receiver.example")
    assert found.wants("failed")
    assert found.wants("relayed")
    assert not found.wants("delayed")
    assert read_origin(json.loads(json.dumps(found.tree()))) == found


@pytest.mark.parametrize(
    ("notify", "wanted"),
    [
        (None, {"failed", "delayed"}),
        ((), set()),
        (("delay",), {"delayed"}),
        (("success",), {"relayed", "delivered"}),
    ],
)
def test_notify_decides_what_is_told(notify: tuple[str, ...] | None, wanted: set[str]) -> None:
    """NEVER means never, and who says nothing is told of what goes wrong."""
    asked = Origin("a@b.example", "", "", "", notify=notify)

    assert {action for action in ("failed", "delayed", "relayed", "delivered") if asked.wants(action)} == wanted


@pytest.mark.parametrize(
    ("mail", "facts"),
    [
        (MAIL, known(outcome="unknown")),
        (MAIL, {}),
        (MAIL, {**known(), "notice": "failed"}),
        (by_smtp(""), known()),
        (RELAYED % b"" + MAIL, known("spf=pass")),
        (by_smtp("victim@other.example"), known()),
        (by_smtp("victim@bank.example.evil.example"), known()),
        (by_smtp("victim@example"), known()),
        (RELAYED % b"victim@other.example" + MAIL, known("spf=fail dmarc=pass")),
        (MAIL.replace(b"Subject", b"Auto-Submitted: auto-replied\r\nSubject"), known()),
        (MAIL.replace(b"Subject", b"List-Id: <l.bank.example>\r\nSubject"), known()),
        (MAIL.replace(b"ops@bank.example>", b"clarion@gate.example>"), known()),
        (MAIL.replace(b"From: Ops <ops@bank.example>\r\n", b""), known()),
        (b"\0 no mail", known()),
    ],
)
def test_nobody_is_told_who_is_not_proven_or_would_answer(mail: bytes, facts: dict[str, Any]) -> None:
    """A report to somebody who never wrote is spam of ours, and one to a robot the begin of a loop."""
    assert origin(mail, facts) is None


def test_a_path_of_another_domain_counts_where_spf_has_proven_it() -> None:
    """Who sends for others has bounces come to itself."""
    found = origin(RELAYED % b"b+1@mailer.example" + MAIL, known("spf=pass dkim=pass dmarc=pass"))

    assert found is not None
    assert found.to == "b+1@mailer.example"
