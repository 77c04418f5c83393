"""Ids as people see them: 64 bits in 13 characters of Crockford's base32 (no I, L, O, U; either case is read)."""

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
LENGTH = 13

_VALUES = {character: value for value, character in enumerate(ALPHABET)}


def format_id(value: int) -> str:
    """13 characters; ValueError unless 0 <= value < 2**64."""
    if not 0 <= value < 1 << 64:
        raise ValueError("an id has 64 bits")
    return "".join(ALPHABET[value >> shift & 31] for shift in range(60, -1, -5))


def parse_id(text: str) -> int:
    """The id; ValueError for anything that `format_id` does not make."""
    if len(text) != LENGTH:
        raise ValueError(f"an id has {LENGTH} characters")
    value = 0
    for character in text.upper():
        if character not in _VALUES:
            raise ValueError("an id holds digits and letters without I, L, O, U")
        value = value << 5 | _VALUES[character]
    if value >= 1 << 64:
        raise ValueError("an id has 64 bits")
    return value
