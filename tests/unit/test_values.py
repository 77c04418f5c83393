"""Structured values on the wire and in the store: whatever a stage says comes back as it was said."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.errors import Refused
from serving.queue.values import as_json, encode, from_json, json_object, json_objects

_TEXT = st.text(st.characters(exclude_categories=()))  # lone surrogates too: a mail's header may hold them
_NUMBERS = st.integers(-(1 << 63), (1 << 64) - 1) | st.floats(allow_nan=False, allow_infinity=False)
_LEAVES = st.none() | st.booleans() | _NUMBERS | _TEXT
VALUES = st.recursive(
    _LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXT, inner, max_size=4), max_leaves=12
)


@given(VALUES)
def test_what_is_written_is_read(value: Any) -> None:
    """By us, and by whoever has another reader."""
    assert from_json(encode(value)) == value
    assert from_json(as_json(value)) == value
    assert json.loads(encode(value)) == value


@given(VALUES)
def test_what_others_write_is_read(value: Any) -> None:
    """Stores hold what the standard library wrote."""
    assert from_json(json.dumps(value)) == value


@given(st.text(st.sampled_from('{}[]",:0 1eE+-.\\ud8NaInfity\0'), max_size=12))
def test_nothing_else_is_taken_than_the_standard_library_takes(text: str) -> None:
    """NaN and Infinity are its own, and no JSON (RFC 8259 section 6)."""
    try:
        expected = json.loads(text, parse_constant=lambda constant: pytest.fail(constant))
    except (ValueError, pytest.fail.Exception):
        with pytest.raises(ValueError):  # noqa: PT011 - in words of two libraries
            from_json(text)
    else:
        assert from_json(text) == expected


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_null(value: float) -> None:
    """No store may hold what no database and no browser reads."""
    assert encode({"at": value}) == b'{"at":null}'


@pytest.mark.parametrize("value", [{1: 2}, {"n": 1 << 70}, {"kind": "\ud800"}])
def test_what_the_quick_writer_does_not_take_is_written_all_the_same(value: Any) -> None:
    """A mail that brings such a thing must not stay behind for it."""
    assert encode(value) == json.dumps(value, separators=(",", ":")).encode()


@pytest.mark.parametrize("octets", [b"", b"{", b"\xff", b"NaN", b'{"at":Infinity}', b"[" * 100_000, b'{"a":1}x'])
def test_what_is_no_json_is_refused(octets: bytes) -> None:
    """From whoever is connected to the queue."""
    with pytest.raises(Refused, match="not JSON"):
        json_object(octets)


def test_only_objects_are_facts() -> None:
    """And a list of objects is as long as it may be."""
    with pytest.raises(Refused, match="not a JSON object"):
        json_object(b"[]")
    with pytest.raises(Refused, match="at most 1"):
        json_objects(b"[{},{}]", 1)
    assert json_objects(b"[{},{}]", 2) == [{}, {}]
