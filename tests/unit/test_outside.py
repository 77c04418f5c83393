"""What stands outside a sealed mail, and the octets below it."""

from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.encryption.outside import Outside
from serving.mail import with_crlf


@given(st.datetimes(timezones=st.just(UTC)))
def test_the_date_outside_is_written_as_the_standard_library_writes_it(date: datetime) -> None:
    """Ours is there for its speed alone; a date of another form would be one that mail programs misread."""
    assert dict(Outside("7", "clarion@gate.example", "ann@home.example", date).header)["Date"] == format_datetime(date)


def test_a_moment_elsewhere_is_written_in_utc() -> None:
    """The zone is written as +0000 whatever it was, so the clock has to be that zone's."""
    date = datetime.fromisoformat("2026-11-02T01:30:00+02:00")

    assert dict(Outside("7", "clarion@gate.example", "a@b.example", date).header)["Date"] == format_datetime(
        date.astimezone(UTC)
    )


@pytest.mark.parametrize(
    ("octets", "expected"),
    [
        (b"", b""),
        (b"a\r\nb\r\n", b"a\r\nb\r\n"),
        (b"a\nb\n", b"a\r\nb\r\n"),
        (b"\na\r\n", b"\r\na\r\n"),
        (b"a\r\n\nb\rc\n\r", b"a\r\n\r\nb\rc\r\n\r"),
        (b"a\r\r\nb", b"a\r\r\nb"),
    ],
)
def test_bare_line_feeds_become_crlf_and_nothing_else_changes(octets: bytes, expected: bytes) -> None:
    """SMTP carries no bare LF; what is CRLF already takes a quicker way and must come out the same."""
    assert with_crlf(octets) == expected
