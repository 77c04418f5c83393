"""Structured values on the wire: UTF-8 JSON."""

import json
from typing import Any

import orjson

from serving.errors import Refused


def json_object(octets: bytes) -> dict[str, Any]:
    """The JSON object; Refused `malformed` for anything else."""
    value = _json(octets)
    if not isinstance(value, dict):
        raise Refused("malformed", "not a JSON object")
    return value


def json_objects(octets: bytes, most: int) -> dict[str, Any] | list[dict[str, Any]]:
    """The JSON object, or an array of one to `most` of them; Refused `malformed` for anything else."""
    value = _json(octets)
    listed = value if isinstance(value, list) else [value]
    if not 0 < len(listed) <= most or not all(isinstance(each, dict) for each in listed):
        raise Refused("malformed", f"neither a JSON object nor an array of at most {most}")
    found: dict[str, Any] | list[dict[str, Any]] = value
    return found


def from_json(octets: bytes | str) -> Any:
    """What the JSON text says. Raises ValueError or RecursionError for what is none; NaN and Infinity are none."""
    try:
        return orjson.loads(octets)
    except ValueError:  # or it names a lone surrogate, as a mail's header may have
        return _DECODER.decode(octets if isinstance(octets, str) else octets.decode())


def encode(value: Any) -> bytes:
    """JSON octets, as short as they can be; NaN and the infinities are null."""
    try:
        return orjson.dumps(value, option=_STRICT)
    except TypeError:  # a lone surrogate, a number of more than 64 bits, a key that is a number
        return _ENCODER.encode(value).encode()


def as_json(value: Any) -> str:
    """The same as text."""
    return encode(value).decode()


def _json(octets: bytes) -> Any:
    try:
        return from_json(octets)
    except (ValueError, RecursionError) as error:
        raise Refused("malformed", "not JSON") from error


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


_STRICT = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_SUBCLASS
_DECODER = json.JSONDecoder(parse_constant=_refuse)
_ENCODER = json.JSONEncoder(separators=(",", ":"))


def identifier(text: str) -> int:
    """The id in decimal digits; Refused `malformed` for what no id is. Databases differ in what they take."""
    try:
        value = int(text)
    except (ValueError, TypeError):
        value = -1
    if not 0 <= value < 1 << 63:
        raise Refused("malformed", "an id is a number of 63 bits")
    return value
