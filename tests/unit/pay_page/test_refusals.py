"""The pay page says no: a calm page each time, the money untouched, and the token kept to itself."""

import re

import pytest
from starlette.testclient import TestClient

from serving.errors import BrokerUnavailable
from serving.web.desk import BadToken, Redirect
from tests.unit.pay_page.desks import FORM, HOME, STATEMENT, TOKEN, FakeDesk

HEADERS = {  # written out again: what is dropped there must be missed here
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "X-Robots-Tag": "noindex",
    "Cache-Control": "no-store",
}


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
    [
        ("GET", HOME),
        ("POST", f"{HOME}/wallet"),
        ("POST", f"{HOME}/top-up"),
        ("GET", STATEMENT),
        ("GET", f"{STATEMENT}/csv"),
    ],
)
def test_every_failure_is_a_page_that_says_what_to_do(
    http: TestClient, desk: FakeDesk, method: str, path: str, error: Exception, status: int, heading: str
) -> None:
    """Somebody is standing in the street with a phone; a stack trace or a blank page helps nobody."""
    desk.error = error
    form = FORM if path.endswith("/top-up") else None
    answer = http.request(method, path, data=form)
    home = STATEMENT if path.startswith(STATEMENT) else HOME

    assert answer.status_code == status
    assert f"<h1>{heading}</h1>" in answer.text
    assert answer.headers.get("Retry-After") == ("60" if status == 503 else None)
    assert (f'href="{home}"' in answer.text) is (status >= 500)


def test_what_breaks_is_logged_without_its_words(
    http: TestClient, desk: FakeDesk, caplog: pytest.LogCaptureFixture
) -> None:
    """A token opens a wallet; it may be in no log."""
    desk.error = RuntimeError(f"broke on {TOKEN}")
    http.get(HOME)

    assert "/{token} failed: RuntimeError" in caplog.text
    assert TOKEN not in caplog.text


def test_an_origin_that_browsers_would_not_follow_is_an_error_of_ours(
    http: TestClient, desk: FakeDesk, caplog: pytest.LogCaptureFixture
) -> None:
    """They drop such a redirect in silence: the payer would press a button that does nothing."""
    desk.answer = Redirect("https://other.example/session")
    answer = http.post(f"{HOME}/top-up", data=FORM)

    assert answer.status_code == 500
    assert "/{token}/top-up failed: ConfigurationError" in caplog.text


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", ""),
        ("DELETE", ""),
        ("BREW", ""),
        ("GET", "/wallet"),
        ("GET", "/top-up"),
        ("GET", "/statement"),
        ("GET", "/x/y"),
    ],
)
def test_a_wrong_method_or_path_is_a_page_too(http: TestClient, desk: FakeDesk, method: str, path: str) -> None:
    """A link scanner that follows an address of a form pays nothing."""
    answer = http.request(method, f"{HOME}{path}")

    assert answer.status_code == 404
    assert "<h1>There is nothing here</h1>" in answer.text
    assert (desk.asked, desk.payments) == ([], 0)


@pytest.mark.parametrize(
    "path", [STATEMENT, f"{STATEMENT}/csv", *(HOME + each for each in ("", "/wallet", "/x/y", "?said=paid"))]
)
def test_every_answer_keeps_to_itself(http: TestClient, path: str) -> None:
    """The address holds the token: no cache, no frame, no other site and no search engine may have it."""
    answer = http.get(path)
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


def test_a_token_with_strange_characters_stays_in_its_place(http: TestClient, desk: FakeDesk) -> None:
    """What is typed into the address bar ends in no attribute and no other host."""
    desk.error = BrokerUnavailable("no broker")
    page = http.get("/pay/%22%3E%3Cb%3E%3F").text

    assert 'href="/pay/%22%3E%3Cb%3E%3F"' in page
