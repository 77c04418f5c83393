"""Work as a stage gets it, for tests of one stage alone."""

from collections.abc import Mapping
from typing import Any

from serving.stage import Work


async def _note(kind: str, facts: Mapping[str, Any]) -> None:
    raise AssertionError(f"this stage notes nothing, not {kind} {facts}")


def work(**values: Any) -> Work:
    """A first attempt at an empty notification; `values` replace fields. A stage under test that notes is at fault."""
    fields: dict[str, Any] = {
        "id": 7,
        "message_id": 8,
        "ordinal": 0,
        "attempt": 1,
        "recipient": b"r" * 32,
        "address": b"",
        "principal": "bank",
        "facts": {},
        "body": b"",
        "accepted_at": 0.0,
        "note": _note,
    }
    return Work(**{**fields, **values})
