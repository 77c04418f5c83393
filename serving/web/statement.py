"""A wallet's statement for a spreadsheet."""

import csv
import io
from collections.abc import Iterable

from serving.web.amounts import decimal, iso
from serving.web.desk import Line

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def as_csv(lines: Iterable[Line]) -> str:
    """The lines as RFC 4180 has them, under a line of names; no text of them is taken for a formula."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(("at", "what", "amount", "currency", "notification"))
    for line in lines:
        amount = decimal(line.amount, line.currency)
        writer.writerow((iso(line.at), _plain(line.what), amount, line.currency, _plain(line.notification)))
    return text.getvalue()


def _plain(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text
