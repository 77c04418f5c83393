"""An order as it arrives at the sandbox provider over HTTP: believed only when every field is right."""

import json
import re
from typing import Any

from serving.payment.provider import LARGEST_AMOUNT, Order, Verb

VERBS = (Verb.CHARGE, Verb.RELEASE, Verb.REFUND)
"""What the sandbox does; it has no cards to hold."""

_KEY = re.compile(r"[!-~]{1,200}")
_PAYER = re.compile(r"[!-~]{1,64}")


class Malformed(ValueError):
    """The request is no order; `code` for programs, `detail` says what to send."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


def parse_order(body: bytes, currency: str) -> Order:
    """The order in a request body; raises Malformed."""
    fields = _object(body)
    _require(_matches(_KEY, fields.get("key")), "bad_key", "key: 1 to 200 printable ASCII characters, no spaces")
    _require(_matches(_PAYER, fields.get("payer")), "bad_payer", "payer: 1 to 64 printable ASCII characters, no spaces")
    _require(fields.get("verb") in VERBS, "bad_verb", f"verb: one of {', '.join(VERBS)}")
    _require(fields.get("currency") == currency, "bad_currency", f"currency: this provider knows {currency} only")
    return Order(fields["key"], Verb(fields["verb"]), fields["payer"], _amount(fields.get("amount")), currency)


def _object(body: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        raise Malformed("not_json", "send a JSON object") from None
    if not isinstance(fields, dict):
        raise Malformed("not_json", "send a JSON object")
    return fields


def _amount(value: Any) -> int:
    if type(value) is int and 0 < value <= LARGEST_AMOUNT:
        return value
    raise Malformed("bad_amount", f"amount: a whole number of minor units, more than 0 and at most {LARGEST_AMOUNT}")


def _matches(pattern: re.Pattern[str], value: Any) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None


def _require(right: bool, code: str, detail: str) -> None:
    if not right:
        raise Malformed(code, detail)
