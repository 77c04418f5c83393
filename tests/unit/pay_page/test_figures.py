"""The pay page's figures: the statement, its spreadsheet, and how money and time read."""

import csv
import io
import re

import pytest
from starlette.testclient import TestClient

from serving.web.amounts import money, time_left
from serving.web.desk import Line
from tests.unit.pay_page.desks import HOUR, NOW, STATEMENT, FakeDesk


def test_the_statement_reads_on_a_phone_and_in_a_spreadsheet(http: TestClient) -> None:
    """What was paid for, when and how much, in the order of the desk."""
    page = http.get(STATEMENT).text
    sheet = http.get(f"{STATEMENT}/csv")

    assert re.findall(r"<td>([^<]*\d)</td>", page) == ["−€0.05", "€5.00"]
    assert "<dt>In your wallet</dt><dd>€4.20</dd>" in page
    assert "2026-11-25 14:00 UTC</time></small><small>0000000000034</small>" in page
    assert sheet.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert sheet.headers["Content-Disposition"] == 'attachment; filename="statement.csv"'
    assert sheet.text.splitlines() == [
        "at,what,amount,currency,notification",
        "2026-11-25T14:00:00Z,City Hospital,-0.05,EUR,0000000000034",
        "2026-11-24T09:00:00Z,Top-up,5.00,EUR,",
    ]


def test_a_statement_without_lines_says_so(http: TestClient, desk: FakeDesk) -> None:
    """An empty table looks like a fault."""
    desk.lines = []

    assert "Nothing has moved in your wallet yet." in http.get(STATEMENT).text


@pytest.mark.parametrize("what", ['=HYPERLINK("x")', "+1", "-1", "@x", "\tx", 'a "b", c', "Zoë\n=1"])
def test_no_name_becomes_a_formula(http: TestClient, desk: FakeDesk, what: str) -> None:
    """Spreadsheets run what begins with one of a few characters."""
    desk.lines = [Line(NOW, what, -5, "EUR", "")]
    rows = list(csv.reader(io.StringIO(http.get(f"{STATEMENT}/csv").text, newline="")))

    assert rows[1][1].removeprefix("'") == what
    assert rows[1][1][0] not in "=+-@\t"


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [
        (5, "EUR", "€0.05"),
        (-5, "EUR", "−€0.05"),
        (123_456, "USD", "$1,234.56"),
        (500, "JPY", "¥500"),
        (5, "KWD", "0.005 KWD"),
        (5, "XYZ", "0.05 XYZ"),
        (0, "GBP", "£0.00"),
    ],
)
def test_money_reads_as_its_currency_is_written(amount: int, currency: str, text: str) -> None:
    """A yen has no hundredths: the wrong table asks for a hundred times too much."""
    assert money(amount, currency) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (3 * 24 * HOUR, "3 days left"),
        (47.9 * HOUR, "47 hours left"),
        (1.9 * HOUR, "1 hour left"),
        (HOUR - 1, "59 minutes left"),
        (59, "less than a minute left"),
        (-HOUR, "less than a minute left"),
    ],
)
def test_the_time_left_is_never_more_than_there_is(seconds: float, text: str) -> None:
    """Rounded up, it would send somebody away who comes back too late."""
    assert time_left(NOW + seconds, NOW) == text
