"""What goes over the wire of SMTP: commands that hold only themselves, content that ends where the mail ends."""

import pytest
from aiosmtplib.protocol import PERIOD_REGEX, normalize_message_line_endings
from hypothesis import given
from hypothesis import strategies as st

from serving.delivery.conversation import command, content

PIECES = st.sampled_from([b"\r\n", b"\n", b"\r", b".", b"..", b"a", b" ", b"\r\n.\r\n", b"\xc3\xbc"])


@given(st.lists(PIECES, max_size=30).map(b"".join))
def test_content_is_what_the_library_would_write(mail: bytes) -> None:
    """Dots doubled and lines ended as another implementation of RFC 5321 4.5.2 does it."""
    written = PERIOD_REGEX.sub(b"..", normalize_message_line_endings(mail)) + b".\r\n"

    assert content(mail) == written


@given(st.lists(PIECES, max_size=30).map(b"".join))
def test_content_ends_once(mail: bytes) -> None:
    """A line with a dot alone within it would let the rest be read as commands."""
    written = content(mail)

    assert (b"\r\n" + written).index(b"\r\n.\r\n") == len(written) - 3
    assert written.replace(b"\r\n", b"").count(b"\n") == written.replace(b"\r\n", b"").count(b"\r") == 0


@pytest.mark.parametrize("octet", ["\r", "\n", "\0", "\t", "\x7f"])
def test_a_command_holds_no_control_character(octet: str) -> None:
    """Whatever came in with an address or a parameter."""
    with pytest.raises(ValueError, match="control"):
        command("MAIL", f"FROM:<a{octet}@x.example>")


def test_a_command_is_a_line() -> None:
    """In UTF-8 only where that was agreed."""
    assert command("RCPT TO:<ü@x.example>", "NOTIFY=NEVER", encoding="utf-8").endswith(b" NOTIFY=NEVER\r\n")
    with pytest.raises(UnicodeEncodeError):
        command("RCPT TO:<ü@x.example>")
