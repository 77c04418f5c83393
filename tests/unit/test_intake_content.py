"""The octets of a mail on their way in: where it ends, and what of it is taken."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.intake.content import (
    LONGEST_LINE,
    MOST_HOPS,
    MOST_VISITS,
    _has_line_over,
    message_id,
    read_content,
    unstuffed,
)
from serving.intake.door import Door
from serving.intake.reception import Reception
from serving.intake.replies import BUSY, TOO_LARGE, Refusal

MAIL = b"From: a@b.example\r\n\r\nx\r\n"


def read(mail: bytes) -> bytes | str:
    try:
        return read_content(mail, "gate.example")
    except Refusal as refusal:
        return refusal.reply[:9]


def received(octets: bytes, size: int, *, largest: int = 1_000, held: int = 1_000) -> tuple[Reception, bytes | None]:
    """What was collected of octets that came in pieces of that size, and what was left behind the end."""
    reception = Reception(Door(1, 1, most_held=held), largest)
    for at in range(0, len(octets), size):
        rest = reception.feed(octets[at : at + size])
        if rest is not None:
            return reception, rest + octets[at + size :]
    return reception, None


@pytest.mark.parametrize("size", range(1, 9))
@pytest.mark.parametrize("mail", [b"", b"\r\n", b"x\r\n", b"..\r\n", b"x\r\n..\r\n\r\n", b"x.\r\n.x\r\n", MAIL])
def test_a_mail_ends_at_its_end_however_it_comes(mail: bytes, size: int) -> None:
    """Networks cut where they like, and what follows is the next command."""
    reception, rest = received(mail + b".\r\nQUIT\r\n", size)

    assert (reception.data, rest, reception.refusal) == (mail, b"QUIT\r\n", None)


@pytest.mark.parametrize("size", [1, 3, 1_000])
@pytest.mark.parametrize(
    "end", [b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r.\r\n", b"\r\n.\r", b"\r\n\x00.\r\n", b"\r\n.\r\r\n"]
)
def test_nothing_else_ends_a_mail(end: bytes, size: int) -> None:
    """What one server takes for the end and the next does not is how a second mail is smuggled past both."""
    smuggled = b"x" + end + b"MAIL FROM:<ceo@b.example>\r\n"
    reception, rest = received(smuggled + b".\r\n", size)

    assert (reception.data, rest) == (smuggled, b"")
    assert read(reception.data) == "550 5.6.0"


def test_any_octets_come_out_as_they_went_in() -> None:
    """Transparency (RFC 5321 section 4.5.2), for whatever lines there are."""
    dice = random.Random(7)  # noqa: S311 - replayable, not secret
    for _ in range(500):
        lines = [
            bytes(dice.choices(b".\rax ", k=dice.randrange(4))).replace(b"\r", b"..") for _ in range(dice.randrange(6))
        ]
        mail = b"".join(line + b"\r\n" for line in lines)
        stuffed = b"".join((b"." if line.startswith(b".") else b"") + line + b"\r\n" for line in lines)
        reception, rest = received(stuffed + b".\r\n", dice.randrange(1, 9))

        assert (unstuffed(reception.data), rest) == (mail, b"")


def test_of_a_mail_that_is_too_large_only_the_end_is_waited_for() -> None:
    """And the next command is read as one."""
    reception, rest = received(b"x" * 5_000 + b"\r\n.\r\nNOOP\r\n", 700)

    assert (reception.refusal, rest) == (TOO_LARGE, b"NOOP\r\n")
    assert len(reception.data) < 10


@given(st.lists(st.integers(0, 13), max_size=8), st.integers(4, 11))
def test_a_line_that_is_too_long_is_found_wherever_it_lies(lengths: list[int], longest: int) -> None:
    """The last one too, which may have no end."""
    mail = b"\r\n".join(b"x" * length for length in lengths)

    assert _has_line_over(mail, longest) is any(length > longest for length in lengths)


def test_where_others_hold_all_the_room_a_mail_waits() -> None:
    """Memory is bounded, however many connections there are; what was held is given back at once."""
    door = Door(1, 1, most_held=1_000)
    first, second = Reception(door, 10_000), Reception(door, 10_000)
    first.feed(b"x" * 600)
    second.feed(b"y" * 600)
    refused = second.refusal
    first.let_go()
    third = Reception(door, 10_000)
    third.feed(b"z" * 1_000)

    assert (refused, first.refusal, third.refusal) == (BUSY, None, None)


@pytest.mark.parametrize(
    "mail",
    [
        b"From: a\n\n",
        b"From: a\r\n\rx\r\n",
        b"x\r\r\n",
        b"x\r\n\n\r",
        b"a\n\rb\r\n",
        b"From: a\r\n\r\n\0\r\n",
    ],
)
def test_lines_that_two_servers_may_read_in_two_ways_are_refused(mail: bytes) -> None:
    """RFC 5321 section 2.3.8; whoever repairs them hands the smuggler's mail on."""
    assert read(mail) == "550 5.6.0"


def test_a_line_has_an_end_or_the_mail_is_refused() -> None:
    """Mail with lines of 200 KB is real, and delivery encodes it again; lines without end are none."""
    longest, longer = b"x" * LONGEST_LINE + b"\r\n", b"x" * (LONGEST_LINE + 2) + b"\r\n"

    assert read(MAIL + longest) == MAIL + longest
    assert read(MAIL + longer + MAIL) == "554 5.6.0"


@pytest.mark.parametrize(
    ("field", "most"),
    [
        (b"Received: from a by b\r\n", MOST_HOPS),
        (b"RECEIVED : from x\r\n\tby gate.example\r\n (Clarion) id 7\r\n", MOST_VISITS),
    ],
)
def test_mail_in_circles_is_stopped(field: bytes, most: int) -> None:
    """Two servers that send each other the same mail would never stop (RFC 5321 section 6.3)."""
    assert read(field * most + MAIL) == field * most + MAIL
    assert read(field * (most + 1) + MAIL) == "554 5.4.6"


def test_only_the_header_counts_as_a_circle() -> None:
    """A mail about Received fields is a mail."""
    mail = MAIL + b"Received: by gate.example (Clarion)\r\n" * 100

    assert read(mail) == mail


def test_a_line_of_an_mbox_is_no_part_of_the_mail() -> None:
    """Old scripts send it; it would make the whole header unreadable."""
    assert read(b"From a@b.example  Thu Aug 22 12:36:23 2002\r\n" + MAIL) == MAIL


@pytest.mark.parametrize(
    ("mail", "identity"),
    [
        (b"Message-ID: <1@x>\r\n\r\n", b"<1@x>"),
        (b"Subject: x\r\nmessage-id :\r\n\t<1@x>\r\nMessage-ID: <2@x>\r\n\r\n", b"<1@x>"),
        (b"Subject: x\r\n\r\nMessage-ID: <1@x>\r\n", b""),
        (b"Message-ID:  \r\n\r\n", b""),
        (b"X-Message-ID: <1@x>\r\n\r\n", b""),
    ],
)
def test_the_first_message_id_of_the_header_is_a_mail_s(mail: bytes, identity: bytes) -> None:
    """Empty is none: then no two mails are taken for one."""
    assert message_id(mail) == identity
