"""What the page's forms send, believed only when it is whole."""

import re
from dataclasses import dataclass

from starlette.exceptions import HTTPException
from starlette.requests import Request

FIELDS, LONGEST_FIELD = 4, 1_024

_AMOUNT = re.compile(r"[0-9]{1,10}")
_ATTEMPT = re.compile(r"[A-Za-z0-9_-]{16,64}")


class BrokenForm(Exception):
    """What was posted is not what the page's forms send; nothing was done."""


@dataclass(frozen=True, slots=True)
class TopUpForm:
    """Minor units to pay in, and the value that this form alone was given."""

    amount: int
    attempt: str


async def read_top_up(request: Request) -> TopUpForm:
    """The form in a request's body; raises BrokenForm."""
    try:
        form = await request.form(max_files=0, max_fields=FIELDS, max_part_size=LONGEST_FIELD)
    except HTTPException:
        raise BrokenForm from None
    amount, attempt = str(form.get("amount")), str(form.get("attempt"))
    if not (_AMOUNT.fullmatch(amount) and _ATTEMPT.fullmatch(attempt)):
        raise BrokenForm
    return TopUpForm(int(amount), attempt)
