"""Whom an answer goes to, and the address of ours by which a sealed mail says so."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.answering import answered_at, answered_through, named, people_in
from serving.mail import split

PROVEN = {"authentication": {"outcome": "authenticated"}}
OURS, PROOF = "clarion@gate.example", "reply+7-abcdefghijklmnop@gate.example"
FROM = b"From: Ward 7 <ward7@hospital.example>\r\n"


@pytest.mark.parametrize(
    ("fields", "address"),
    [
        (b"", "ward7@hospital.example"),
        (b"Reply-To: Tickets <Tickets@hospital.example>\r\n", "Tickets@hospital.example"),
        (b"reply-to: a@hospital.example,\r\n b@hospital.example\r\n", "a@hospital.example"),
        (b"Reply-To: nobody\r\n", "ward7@hospital.example"),
        (b"Reply-To: " + b"x" * 300 + b"@hospital.example\r\n", "ward7@hospital.example"),
        (b"Reply-To: clarion@GATE.example\r\n", "ward7@hospital.example"),
        (b"Precedence: list\r\nAuto-Submitted: auto-generated\r\n", "ward7@hospital.example"),
        (b"Return-Path: <>\r\n", ""),
        (b"Clarion-Notification: 0000000000007\r\n", ""),
    ],
)
def test_an_answer_goes_where_the_sender_asked_for_it(fields: bytes, address: str) -> None:
    """Alerts ask for answers at a ticket's address; bounces and another Clarion's mail for none."""
    assert answered_at(fields + FROM + b"\r\nx\r\n", PROVEN, OURS) == address


@pytest.mark.parametrize(
    ("raw", "facts"),
    [
        (FROM + b"\r\nx\r\n", {}),
        (FROM + b"\r\nx\r\n", {"authentication": {"outcome": "unknown"}}),
        (FROM + b"\r\nx\r\n", {**PROVEN, "notice": "asked"}),
        (FROM + b"\r\nx\r\n", {**PROVEN, "waiver": "digest"}),
        (b"From: clarion@gate.example\r\n\r\nx\r\n", PROVEN),
        (b"Subject: x\r\n\r\nx\r\n", PROVEN),
        (b"no mail at all", PROVEN),
        (b"", PROVEN),
    ],
)
def test_where_nobody_is_to_be_written_to_there_is_no_address(raw: bytes, facts: dict[str, Any]) -> None:
    """A stranger in somebody's name gets no mail from us, and our own mail no answers that we would pass on."""
    assert answered_at(raw, facts, OURS) == ""


def test_what_was_escalated_can_be_answered() -> None:
    """The next person in the chain reports to the same sender; it is a notification without what was found."""
    facts = {"waiver": "escalated", "escalated": {"round": 1, "step": 1}}

    assert answered_at(FROM + b"\r\nx\r\n", facts, OURS) == "ward7@hospital.example"


@pytest.mark.parametrize("end", [b"\r\n", b"\n"])
@pytest.mark.parametrize("body", [b"text", b""])
def test_the_mail_is_as_it_came_but_for_where_answers_go(end: bytes, body: bytes) -> None:
    """What its sender wanted can still be read; a folded field moves whole."""
    lines = (
        b"Subject: a",
        b"REPLY-TO: x@hospital.example,",
        b" y@hospital.example",
        FROM.strip(),
        b"Reply-To-Other: z",
    )
    raw = end.join((*lines, b"", body))
    mail = split(answered_through(raw, PROOF, "x@hospital.example"))

    assert mail is not None
    assert [field.octets for field in mail.fields] == [
        b"Subject: a",
        b"Clarion-Reply-To: x@hospital.example,\r\n y@hospital.example",
        FROM.strip(),
        b"Reply-To-Other: z",
        b'Reply-To: "x@hospital.example via Clarion" <' + PROOF.encode() + b">",
    ]
    assert mail.body == body


@given(st.binary(max_size=300), st.text(min_size=1, max_size=80))
def test_whatever_the_mail_there_is_one_reply_to(octets: bytes, whom: str) -> None:
    """Two would leave it to the reader's program which one counts."""
    raw = FROM + b"X: 1\r\n" + octets
    before, mail = split(raw), split(answered_through(raw, PROOF, whom))

    assert before is None or mail is not None
    if before is not None and mail is not None:
        assert mail.body == before.body
        assert [field.name for field in mail.fields].count("reply-to") == 1
        assert len(mail.fields) == len(before.fields) + 1


@given(st.text(max_size=100))
def test_no_name_breaks_out_of_its_field(name: str) -> None:
    """It is a stranger's, and stands in a header of ours."""
    field = named(name, PROOF).encode("utf-8", "replace")
    mail = split(b"From: " + field + b"\r\nTo: x\r\n\r\n")

    assert mail is not None
    assert [each.name for each in mail.fields] == ["from", "to"]


@pytest.mark.parametrize(
    ("value", "people"),
    [
        (b"Ada <Ada@home.example>", [("Ada", "Ada@home.example")]),
        (b"=?utf-8?q?Ad=C3=A4_L=2E?= <ada@home.example>", [("Adä L.", "ada@home.example")]),
        (b"=?utf-8?q?a=0D=0ABcc=3A_x?= <ada@home.example>", [("a Bcc: x", "ada@home.example")]),
        (b"=?utf-8?b?%%%?= <ada@home.example>", [("", "ada@home.example")]),
        ("Ä <ä@bücher.example>".encode(), [("Ä", "ä@bücher.example")]),
        (b'"eve@evil.example" <ada@home.example>', [("eve@evil.example", "ada@home.example")]),
        (b"ada@home.example, eve@evil.example", [("", "ada@home.example"), ("", "eve@evil.example")]),
        (b"undisclosed-recipients:;", []),
        (b"\xff\xfe", []),
        (b"", []),
    ],
)
def test_everybody_in_a_field_is_found_with_their_name(value: bytes, people: list[tuple[str, str]]) -> None:
    """By it is told who answers; an address in a name is none."""
    assert people_in(value) == people
