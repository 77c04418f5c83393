"""The pay page in process: each route, each page that says no, and what no answer may carry."""

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import count

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from serving.errors import BrokerUnavailable
from serving.web.amounts import money, time_left
from serving.web.desk import BadToken, Declined, DueState, Line, Pending, Redirect, TopUp
from serving.web.pages import TEMPLATES
from serving.web.pay import application
from tests.unit.desks import DUE, HOUR, LINES, NOW, TOKEN, FakeDesk

HOME = f"/pay/{TOKEN}"
PROVIDER = "https://checkout.example"
ATTEMPT = "attempt-of-sixteen-or-more"
FORM = {"amount": "500", "attempt": ATTEMPT}
HEADERS = {  # written out again: what is dropped there must be missed here
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "X-Robots-Tag": "noindex",
    "Cache-Control": "no-store",
}


@pytest.fixture
def desk() -> FakeDesk:
    return FakeDesk()


@pytest.fixture
def http(desk: FakeDesk) -> Iterator[TestClient]:
    """A browser that follows nothing by itself, on the application as it is mounted."""
    attempts = count(1)
    page = application(desk, provider=PROVIDER, clock=lambda: NOW, draw=lambda: f"attempt-{next(attempts):016}")
    app = Starlette(routes=[Mount("/pay", page)])
    with TestClient(app, follow_redirects=False) as client:
        yield client


def test_the_page_tells_who_writes_the_price_the_time_and_the_balance(http: TestClient) -> None:
    """All that somebody needs to decide, without a script and without the message."""
    page = http.get(HOME)

    assert page.status_code == 200
    assert "<bdi>City Hospital</bdi> wrote to you" in page.text
    assert "<dd>€0.05</dd>" in page.text
    assert "18 hours left" in page.text
    assert '(until <time datetime="2026-11-26T09:00:40Z">2026-11-26 09:00 UTC</time>)' in page.text
    assert "<dd>€4.20</dd>" in page.text
    assert f'<form method="post" action="{HOME}/wallet">' in page.text
    assert re.findall(r'name="amount" value="(\d+)"', page.text) == ["500", "1000", "2000"]


def test_a_wallet_that_does_not_cover_the_price_has_no_button_and_says_what_is_missing(
    http: TestClient, desk: FakeDesk
) -> None:
    """A button that can only fail is a trap."""
    desk.now = replace(DUE, balance=2)
    page = http.get(HOME).text

    assert f"{HOME}/wallet" not in page
    assert "€0.03 more is needed" in page


@pytest.mark.parametrize("state", [DueState.PAID, DueState.OVER])
def test_what_is_paid_or_over_asks_for_nothing(http: TestClient, desk: FakeDesk, state: DueState) -> None:
    """Nobody pays for what they have, or can no longer get."""
    desk.now = replace(DUE, state=state)
    page = http.get(HOME)

    assert page.status_code == 200
    assert "<form" not in page.text
    assert f"{HOME}/statement" in page.text


def test_paying_from_the_wallet_leads_back_to_a_page_that_can_be_reloaded(http: TestClient, desk: FakeDesk) -> None:
    """A reload of an answer to POST would pay again."""
    answer = http.post(f"{HOME}/wallet")
    pages = [http.get(answer.headers["Location"]).text for _ in range(2)]

    assert (answer.status_code, answer.headers["Location"]) == (303, f"{HOME}?said=paid")
    assert all("is paid" in page and 'role="status">Thank you.' in page for page in pages)
    assert desk.payments == 1


def test_a_wallet_that_was_emptied_meanwhile_is_said_calmly(http: TestClient, desk: FakeDesk) -> None:
    """The page was open while another message took the money."""
    desk.now = replace(DUE, balance=0)
    answer = http.post(f"{HOME}/wallet")

    assert (answer.status_code, answer.headers["Location"]) == (303, f"{HOME}?said=short")
    assert 'role="status">Your wallet does not cover the price.' in http.get(answer.headers["Location"]).text


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (Pending(), "pending"),
        (Declined("expired_card"), "expired_card"),
        (Declined("insufficient_funds"), "insufficient_funds"),
        (Declined("<b>do_not_honor</b>"), "declined"),
    ],
)
def test_what_became_of_a_top_up_travels_as_a_code(http: TestClient, desk: FakeDesk, answer: TopUp, code: str) -> None:
    """Free text in an address is a stranger's text on our page."""
    desk.answer = answer
    sent = http.post(f"{HOME}/top-up", data=FORM)
    page = http.get(sent.headers["Location"])

    assert (sent.status_code, sent.headers["Location"]) == (303, f"{HOME}?said={code}")
    assert 'role="status">' in page.text


def test_a_code_that_is_none_of_ours_says_nothing(http: TestClient) -> None:
    """Whoever sends a link may not put words onto the page."""
    page = http.get(HOME, params={"said": "<b>You won</b>"})

    assert page.status_code == 200
    assert "won" not in page.text
    assert 'role="status"' not in page.text


@pytest.mark.parametrize("code", ["pending", "short", "declined"])
def test_what_is_no_longer_true_is_not_said(http: TestClient, desk: FakeDesk, code: str) -> None:
    """Somebody comes back from the provider to a page that was paid meanwhile."""
    desk.now = replace(DUE, state=DueState.PAID)
    page = http.get(HOME, params={"said": code}).text

    assert "is paid</h1>" in page
    assert 'role="status"' not in page


@pytest.mark.parametrize("code", ["pending", "paid"])
def test_while_money_is_on_its_way_nothing_can_be_paid_again(http: TestClient, code: str) -> None:
    """A timeout taken for a failure is how payers pay twice."""
    page = http.get(HOME, params={"said": code}).text

    assert "<form" not in page
    assert f'href="{HOME}">Look again</a>' in page


def test_the_same_form_sent_twice_is_the_same_attempt(http: TestClient, desk: FakeDesk) -> None:
    """A double click charges once; and only a new page can begin another payment."""
    form, later = [re.findall(r'name="attempt" value="([^"]+)"', http.get(HOME).text) for _ in range(2)]
    answers = [http.post(f"{HOME}/top-up", data={**FORM, "attempt": form[0]}) for _ in range(2)]

    assert [answer.headers["Location"] for answer in answers] == [f"{HOME}?said=credited"] * 2
    assert desk.asked == [(TOKEN, 500, form[0])] * 2
    assert list(desk.charged.values()) == [500]
    assert later != form


def test_a_payment_at_the_provider_leads_there(http: TestClient, desk: FakeDesk) -> None:
    """The payer agrees on the provider's own page, which browsers must let the form reach."""
    desk.answer = Redirect(f"{PROVIDER}/c/session#fragment")
    answer = http.post(f"{HOME}/top-up", data=FORM)

    assert (answer.status_code, answer.headers["Location"]) == (303, f"{PROVIDER}/c/session#fragment")
    assert f"form-action 'self' {PROVIDER};" in answer.headers["Content-Security-Policy"]


def test_an_origin_that_browsers_would_not_follow_is_an_error_of_ours(
    http: TestClient, desk: FakeDesk, caplog: pytest.LogCaptureFixture
) -> None:
    """They drop such a redirect in silence: the payer would press a button that does nothing."""
    desk.answer = Redirect("https://other.example/session")
    answer = http.post(f"{HOME}/top-up", data=FORM)

    assert answer.status_code == 500
    assert "/{token}/top-up failed: ConfigurationError" in caplog.text


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"amount": "500"},
        {**FORM, "amount": "501"},
        {**FORM, "amount": "-500"},
        {**FORM, "amount": "5e2"},
        {**FORM, "amount": "٥٠٠"},
        {**FORM, "attempt": "short"},
        {**FORM, "attempt": "spaces in the attempt"},
        {**FORM, "attempt": "x" * 65},
        {**FORM, "attempt": "x" * 10_000},
        {**FORM, **dict.fromkeys("abcdefgh", "1")},
    ],
)
def test_a_form_that_the_page_did_not_make_is_refused(http: TestClient, desk: FakeDesk, data: dict[str, str]) -> None:
    """An amount that is not offered never reaches the money."""
    answer = http.post(f"{HOME}/top-up", data=data)

    assert answer.status_code == 400
    assert f'href="{HOME}"' in answer.text
    assert desk.asked == []


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b'{"amount": 500}', "application/json"),
        (b"\xff\xfe=%%%&&&", "application/x-www-form-urlencoded"),
        (b"--x\r\nbroken", "multipart/form-data; boundary=x"),
        (b"--x\r\nbroken", "multipart/form-data"),
        (b"", "text/plain"),
    ],
)
def test_octets_that_are_no_form_are_refused(http: TestClient, desk: FakeDesk, content: bytes, kind: str) -> None:
    """Whatever is posted, the answer is a page."""
    answer = http.post(f"{HOME}/top-up", content=content, headers={"Content-Type": kind})

    assert answer.status_code == 400
    assert desk.asked == []


@pytest.mark.parametrize(
    ("error", "status", "heading"),
    [
        (BadToken("forged"), 404, "There is nothing here"),
        (BadToken("expired"), 410, "This link has expired"),
        (BrokerUnavailable("no broker"), 503, "Please come back in a minute"),
        (RuntimeError(f"broke on {TOKEN}"), 500, "Something broke on our side"),
    ],
)
@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", ""), ("POST", "/wallet"), ("POST", "/top-up"), ("GET", "/statement"), ("GET", "/statement.csv")],
)
def test_every_failure_is_a_page_that_says_what_to_do(
    http: TestClient, desk: FakeDesk, method: str, path: str, error: Exception, status: int, heading: str
) -> None:
    """Somebody is standing in the street with a phone; a stack trace or a blank page helps nobody."""
    desk.error = error
    form = FORM if path == "/top-up" else None
    answer = http.request(method, f"{HOME}{path}", data=form)

    assert answer.status_code == status
    assert f"<h1>{heading}</h1>" in answer.text
    assert answer.headers.get("Retry-After") == ("60" if status == 503 else None)
    assert (f'href="{HOME}"' in answer.text) is (status >= 500)


def test_what_breaks_is_logged_without_its_words(
    http: TestClient, desk: FakeDesk, caplog: pytest.LogCaptureFixture
) -> None:
    """A token opens a wallet; it may be in no log."""
    desk.error = RuntimeError(f"broke on {TOKEN}")
    http.get(HOME)

    assert "/{token} failed: RuntimeError" in caplog.text
    assert TOKEN not in caplog.text


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", ""),
        ("DELETE", ""),
        ("BREW", ""),
        ("GET", "/wallet"),
        ("GET", "/top-up"),
        ("POST", "/statement"),
        ("GET", "/x/y"),
    ],
)
def test_a_wrong_method_or_path_is_a_page_too(http: TestClient, desk: FakeDesk, method: str, path: str) -> None:
    """A link scanner that follows an address of a form pays nothing."""
    answer = http.request(method, f"{HOME}{path}")

    assert answer.status_code == 404
    assert "<h1>There is nothing here</h1>" in answer.text
    assert (desk.asked, desk.payments) == ([], 0)


@pytest.mark.parametrize("path", ["", "/statement", "/statement.csv", "/wallet", "/x/y", "?said=paid"])
def test_every_answer_keeps_to_itself(http: TestClient, path: str) -> None:
    """The address holds the token: no cache, no frame, no other site and no search engine may have it."""
    answer = http.get(f"{HOME}{path}")
    policy = answer.headers["Content-Security-Policy"]

    assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS
    assert re.fullmatch(
        r"default-src 'none'; style-src 'sha256-[^']+'; form-action 'self' https://checkout\.example; "
        r"base-uri 'none'; frame-ancestors 'none'",
        policy,
    )


def test_an_answer_to_a_form_keeps_to_itself_too(http: TestClient) -> None:
    """A redirect's headers are as much read as a page's."""
    answer = http.post(f"{HOME}/wallet")

    assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS


@pytest.mark.parametrize("path", ["", "/statement"])
def test_a_name_that_is_markup_stays_a_name(http: TestClient, desk: FakeDesk, path: str) -> None:
    """A sender chooses its own name."""
    desk.now = replace(DUE, sender='<script>alert("1")</script>')
    desk.lines = [replace(LINES[0], what="<script>x", notification="<i>")]
    page = http.get(f"{HOME}{path}").text

    assert "&lt;script&gt;" in page
    assert not re.search(r"<(script|i)\b", page)


@pytest.mark.parametrize("template", sorted(path.name for path in TEMPLATES.glob("*.html")))
def test_no_page_needs_or_carries_a_script(template: str) -> None:
    """Scripts are forbidden by the policy; one that crept in would be dead, and what needs it broken."""
    text = (TEMPLATES / template).read_text(encoding="utf-8")

    assert not re.search(r"<script|\bon\w+=|javascript:|\|\s*safe|style=", text)


@pytest.mark.parametrize("state", DueState)
def test_every_state_has_its_page(state: DueState) -> None:
    """A state that somebody adds must say something to the payer."""
    assert (TEMPLATES / f"{state.value}.html").is_file()


def test_a_token_with_strange_characters_stays_in_its_place(http: TestClient, desk: FakeDesk) -> None:
    """What is typed into the address bar ends in no attribute and no other host."""
    desk.error = BrokerUnavailable("no broker")
    page = http.get("/pay/%22%3E%3Cb%3E%3F").text

    assert 'href="/pay/%22%3E%3Cb%3E%3F"' in page


def test_a_desk_may_come_after_the_application(desk: FakeDesk) -> None:
    """The process that serves makes its desk when it starts, long after the module was imported."""
    app = application(clock=lambda: NOW)
    app.state.desk, app.state.provider = desk, PROVIDER
    page = TestClient(app).get(f"/{TOKEN}")

    assert page.status_code == 200
    assert f'action="/{TOKEN}/wallet"' in page.text
    assert f"form-action 'self' {PROVIDER};" in page.headers["Content-Security-Policy"]


def test_two_pages_have_two_attempts_that_nobody_guesses(desk: FakeDesk) -> None:
    """An attempt that came twice would swallow a payment."""
    client = TestClient(application(desk))
    found = {re.findall(r'name="attempt" value="([A-Za-z0-9_-]{22})"', client.get(f"/{TOKEN}").text)[0] for _ in "12"}

    assert len(found) == 2


def test_the_statement_reads_on_a_phone_and_in_a_spreadsheet(http: TestClient) -> None:
    """What was paid for, when and how much, in the order of the desk."""
    page = http.get(f"{HOME}/statement").text
    sheet = http.get(f"{HOME}/statement.csv")

    assert re.findall(r"<td>([^<]*\d)</td>", page) == ["−€0.05", "€5.00"]
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

    assert "Nothing has moved in your wallet yet." in http.get(f"{HOME}/statement").text


@pytest.mark.parametrize("what", ['=HYPERLINK("x")', "+1", "-1", "@x", "\tx", 'a "b", c', "Zoë\n=1"])
def test_no_name_becomes_a_formula(http: TestClient, desk: FakeDesk, what: str) -> None:
    """Spreadsheets run what begins with one of a few characters."""
    desk.lines = [Line(NOW, what, -5, "EUR", "")]
    rows = list(csv.reader(io.StringIO(http.get(f"{HOME}/statement.csv").text, newline="")))

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
