"""The page by which a recipient tells one thing: a GET tells nothing, a POST tells it and says so."""

import re
from dataclasses import replace
from typing import get_args

import pytest
from starlette.testclient import TestClient

from serving.errors import BrokerUnavailable
from serving.web.desk import BadToken
from serving.web.react import Kind, application
from serving.web.telling import WORDS
from serving.web.token import Reaction
from tests.unit.ears import HOME, MATTER, TOKEN, FakeEar, browsing
from tests.unit.pay_page.test_refusals import HEADERS


@pytest.fixture
def ear() -> FakeEar:
    return FakeEar()


@pytest.fixture
def http(ear: FakeEar) -> TestClient:
    return browsing(ear)


def test_a_look_at_the_page_tells_nothing(http: TestClient, ear: FakeEar) -> None:
    """Mail scanners follow every link before its reader sees it."""
    pages = [http.get(HOME), http.head(HOME)]

    assert [page.status_code for page in pages] == [200, 200]
    assert ear.heard == []


def test_the_page_says_what_is_told_of_which_mail_and_holds_one_button(http: TestClient) -> None:
    """Nobody should have to guess what a button does, nor who wrote."""
    page = http.get(HOME).text

    assert "<h1>Was this message urgent?</h1>" in page
    assert "<bdi>City Hospital</bdi>" in page
    assert '<time datetime="2026-11-25T15:00:00Z">2026-11-25 15:00 UTC</time>' in page
    assert re.findall(r'<form method="post" action="([^"]*)">', page) == [HOME]
    assert re.findall(r"<button[^>]*>([^<]*)</button>", page) == ["Yes, it was urgent"]


def test_the_button_tells_it_and_says_so_as_often_as_it_is_pressed(http: TestClient, ear: FakeEar) -> None:
    """Thumbs are impatient, and a page that is loaded again sends its form again."""
    answers = [http.post(HOME) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [200, 200]
    assert all('role="status">Thank you' in answer.text and "<form" not in answer.text for answer in answers)
    assert ear.heard == [TOKEN] * 2


def test_what_was_told_is_shown_as_told(http: TestClient, ear: FakeEar) -> None:
    """Who comes back must not wonder whether the button worked."""
    ear.now = replace(MATTER, is_told=True)

    assert 'role="status">Thank you' in http.get(HOME).text


@pytest.mark.parametrize("content_type", ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x"])
def test_a_one_click_post_is_answered_without_a_redirect(http: TestClient, ear: FakeEar, content_type: str) -> None:
    """RFC 8058 section 3.1: mail programs post `List-Unsubscribe=One-Click` and follow nothing."""
    ear.now = replace(MATTER, kind="unsubscribe", sender="")
    body = b"List-Unsubscribe=One-Click"
    if "multipart" in content_type:
        body = b'--x\r\nContent-Disposition: form-data; name="List-Unsubscribe"\r\n\r\nOne-Click\r\n--x--\r\n'
    answer = http.post(HOME, content=body, headers={"Content-Type": content_type})

    assert answer.status_code == 200
    assert ear.heard == [TOKEN]


@pytest.mark.parametrize("kind", [*get_args(Reaction), "unsubscribe"])
def test_every_kind_has_its_words(http: TestClient, ear: FakeEar, kind: Kind) -> None:
    """A kind that somebody adds must say what it does."""
    ear.now = replace(MATTER, kind=kind)
    before, after = http.get(HOME).text, http.post(HOME).text

    assert WORDS[kind].question in before
    assert WORDS[kind].thanks in after


def test_digests_are_of_no_sender(http: TestClient, ear: FakeEar) -> None:
    """Whose digests they are stands in no link that others might open."""
    ear.now = replace(MATTER, kind="unsubscribe", sender="")

    assert "<dl>" not in http.get(HOME).text


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    ("error", "status", "heading"),
    [
        (BadToken("forged"), 404, "There is nothing here"),
        (BadToken("expired"), 410, "This link has expired"),
        (BrokerUnavailable("no broker"), 503, "Please come back in a minute"),
        (RuntimeError(f"broke on {TOKEN}"), 500, "Something broke on our side"),
    ],
)
def test_whatever_fails_is_a_calm_page(
    http: TestClient,
    ear: FakeEar,
    caplog: pytest.LogCaptureFixture,
    method: str,
    error: Exception,
    status: int,
    heading: str,
) -> None:
    """Nothing on it speaks of money, or says that it was heard, and no token gets into a log."""
    ear.error = error
    answer = http.request(method, HOME)

    assert (answer.status_code, f"<h1>{heading}</h1>" in answer.text) == (status, True)
    assert not re.search("wallet|pay|[Ii]t is written down", answer.text)
    assert ("Retry-After" in answer.headers) == (status == 503)
    assert TOKEN not in caplog.text


@pytest.mark.parametrize(("method", "path"), [("GET", "/r/"), ("PUT", HOME), ("GET", f"{HOME}/more"), ("DELETE", HOME)])
def test_anything_else_is_not_there(http: TestClient, method: str, path: str) -> None:
    """The service's own plain answer would tell what runs here."""
    answer = http.request(method, path)

    assert (answer.status_code, "There is nothing here" in answer.text) == (404, True)


def test_every_answer_keeps_the_page_to_itself(http: TestClient, ear: FakeEar) -> None:
    """Out of frames, caches, search engines and the logs of other sites; no script could run."""
    answers = [http.get(HOME), http.post(HOME), http.get("/r/")]
    ear.error = BadToken("forged")
    answers.append(http.get(HOME))

    for answer in answers:
        assert {name: answer.headers[name] for name in HEADERS} == HEADERS
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert "form-action 'self';" in answer.headers["Content-Security-Policy"]


def test_a_name_that_is_markup_stays_a_name(http: TestClient, ear: FakeEar) -> None:
    """A sender chooses its own name."""
    ear.now = replace(MATTER, sender='<script>alert("1")</script>')

    assert "<script" not in http.get(HOME).text


def test_an_ear_may_come_after_the_application(ear: FakeEar) -> None:
    """The process that serves makes it when it starts, long after the module was imported."""
    app = application()
    app.state.desk = ear

    assert TestClient(app).get(f"/{TOKEN}").status_code == 200
