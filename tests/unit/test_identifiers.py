"""Ids as people write them down and read them out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.identifiers import ALPHABET, LENGTH, format_id, parse_id

IDS = st.integers(0, 2**64 - 1)


@given(IDS)
def test_an_id_comes_back_in_either_case(value: int) -> None:
    """It is read out over the phone and typed by hand."""
    text = format_id(value)

    assert len(text) == LENGTH
    assert parse_id(text) == parse_id(text.lower()) == value


@given(IDS, IDS)
def test_ids_sort_as_their_numbers(one: int, other: int) -> None:
    """Ids grow with time, and a list of them is read in that order."""
    assert (format_id(one) < format_id(other)) == (one < other)


@pytest.mark.parametrize("value", [-1, 2**64])
def test_what_has_more_than_64_bits_is_no_id(value: int) -> None:
    """It would not come back."""
    with pytest.raises(ValueError, match="64 bits"):
        format_id(value)


@pytest.mark.parametrize(
    "text", ["", "0" * 12, "0" * 14, "000000000000I", "000000000000U", "G000000000000", "00000 0000000"]
)
def test_what_format_never_makes_is_refused(text: str) -> None:
    """A mistyped id must not name another notification, nor end in an exception that nobody expects."""
    with pytest.raises(ValueError, match="an id"):
        parse_id(text)


@given(st.text(alphabet=ALPHABET + "ILOUilou é", min_size=LENGTH, max_size=LENGTH))
def test_whatever_parses_formats_to_the_same(text: str) -> None:
    """One notification has one id."""
    try:
        value = parse_id(text)
    except ValueError:
        return

    assert format_id(value) == text.upper()
