"""What flags say, and how an IMAP server's replies are read."""

import pytest

from serving.reactions.replies import Line, Mail, View, read_folders, read_mails, read_uids, read_view
from serving.reactions.said import criteria, said

ENDED = b"Completed."
HEADER = b"BODY[HEADER.FIELDS (CLARION-NOTIFICATION)]"


@pytest.mark.parametrize(
    ("flags", "in_junk", "told"),
    [
        ([], False, set()),
        ([r"\Seen", r"\Deleted", r"\Draft", "$Forwarded"], False, set()),
        ([r"\Answered"], False, {"acknowledged"}),
        ([r"\ANSWERED", r"\flagged"], False, {"acknowledged", "was_urgent"}),
        (["$important"], False, {"was_urgent"}),
        (["$NotImportant"], False, {"not_urgent"}),
        ([r"\Answered", "$NotImportant"], False, {"acknowledged", "not_urgent"}),
        ([r"\Flagged", "$NotImportant"], False, {"was_urgent"}),
        (["$Junk"], False, set()),
        (["$Junk", r"\Seen"], False, {"not_urgent"}),
        ([], True, set()),
        ([r"\Seen"], True, {"not_urgent"}),
        ([r"\Seen", r"\Answered"], True, {"acknowledged"}),
        ([r"\Seen", r"\Flagged", "$Junk"], True, {"was_urgent"}),
    ],
)
def test_flags_say_what_the_table_says(flags: list[str], in_junk: bool, told: set[str]) -> None:
    """The README repeats this table."""
    assert said(flags, in_junk=in_junk) == told


@pytest.mark.parametrize("in_junk", [False, True])
def test_the_search_finds_whatever_may_say_something(in_junk: bool) -> None:
    """A flag that counts and is not searched for would never be seen."""
    words = criteria(in_junk=in_junk).split()
    keys = [word for word in words if word not in ("OR", "KEYWORD")]

    assert len(keys) == words.count("OR") + 1
    for key in keys:
        flag = key if key.startswith("$") else "\\" + key
        assert said([flag, r"\Seen"], in_junk=in_junk), flag


def test_mails_are_read_whatever_the_order_of_what_is_told_of_them() -> None:
    """RFC 9051 fixes none, and a server may tell of other mails between."""
    lines: list[Line] = [
        b"1 FETCH (UID 5 FLAGS (\\Answered $Important) " + HEADER + b" {41}",
        bytearray(b"clarion-notification: 0000000000007\r\n\r\n"),
        b")",
        b"2 FETCH (FLAGS (\\Seen))",
        b"3 FETCH (" + HEADER + b" {60}",
        bytearray(b"Clarion-Notification:\r\n 000000000000g\r\nClarion-Notification: 0000000000007\r\n\r\n"),
        b" MODSEQ (12) UID 9 FLAGS ())",
        b"4 FETCH (UID 11 FLAGS (\\Seen) " + HEADER + b" {2}",
        bytearray(b"\r\n"),
        b")",
        b"5 FETCH (UID 12 FLAGS () " + HEADER + b' "")',
        ENDED,
    ]

    assert read_mails(lines) == [
        Mail(5, frozenset({"\\Answered", "$Important"}), 7),
        Mail(9, frozenset(), 16),
        Mail(11, frozenset({"\\Seen"}), None),
        Mail(12, frozenset(), None),
    ]


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"7",
        b"000000000000U",
        b"ZZZZZZZZZZZZZ",
        b"0000000000007 0000000000008",
        b"\xff\xfe",
        b"x) UID 1 FLAGS (\\Flagged)",
    ],
)
def test_a_field_that_names_no_notification_names_none(value: bytes) -> None:
    """It comes from outside; what it holds is never taken for the server's words."""
    literal = bytearray(b"Clarion-Notification: " + value + b"\r\n\r\n")
    lines: list[Line] = [b"1 FETCH (UID 5 FLAGS () " + HEADER + b" {9}", literal, b")", ENDED]

    assert read_mails(lines) == [Mail(5, frozenset(), None)]


def test_a_search_s_numbers_are_read_and_nothing_else() -> None:
    """With MODSEQ a reply ends in a number that is no mail's."""
    assert read_uids([b"9 2 5 (MODSEQ 917)", ENDED]) == (2, 5, 9)
    assert read_uids([b"", ENDED]) == ()
    assert read_uids([b"Search 7 completed"]) == ()


def test_an_opened_folder_says_what_its_numbers_are_worth() -> None:
    """Where it says no UIDVALIDITY, nothing can be kept of it."""
    valid = [b"3 EXISTS", b"OK [UIDVALIDITY 17] valid", b"OK [HIGHESTMODSEQ 90060115205545359] Highest", ENDED]

    assert read_view(valid) == View(17, 90060115205545359)
    assert read_view([b"OK [UIDVALIDITY 17]", b"OK [NOMODSEQ] none", ENDED]) == View(17, None)
    assert read_view([b"[NONEXISTENT] no such mailbox"]) is None


def test_the_folder_for_junk_is_found_by_what_it_is_for() -> None:
    """Its name may be anything, quoted or a literal; one that cannot be opened is none."""
    lines: list[Line] = [
        b'(\\HasNoChildren \\Sent) "/" Sent',
        b'(\\Junk \\NonExistent) "/" Gone',
        b'(\\HasNoChildren \\JUNK) "." "Un\\"wanted\\\\ &AOk-"',
        b"(\\Junk) NIL {4}",
        bytearray(b"Spam"),
        b'(\\Junk) "/" Plain',
        ENDED,
    ]

    assert read_folders(lines, "\\Junk") == ['Un"wanted\\ &AOk-', "Spam", "Plain"]
