"""The pay page in process: what it shows, what each button does, and that nothing is paid twice."""

import re
from dataclasses import replace

import pytest
from starlette.testclient import TestClient

from serving.web.desk import Declined, DueState, Pending, Redirect, TopUp
from serving.web.pages import TEMPLATES
from serving.web.pay import application
from tests.unit.pay_page.desks import DUE, FORM, HOME, KEY, LINES, NOW, PROVIDER, STATEMENT, TOKEN, FakeDesk


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


@pytest.mark.parametrize("state", DueState)
def test_who_is_sent_the_link_to_pay_sees_no_statement(http: TestClient, desk: FakeDesk, state: DueState) -> None:
    """It is forwarded so that somebody else pays; the wallet itself is seen only while that can pay."""
    desk.now = replace(DUE, state=state)
    page = http.get(HOME)

    assert "statement" not in page.text.lower()
    assert ("€4.20" in page.text) is (state is DueState.WAITING)


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


@pytest.mark.parametrize("path", [HOME, STATEMENT])
def test_a_name_that_is_markup_stays_a_name(http: TestClient, desk: FakeDesk, path: str) -> None:
    """A sender chooses its own name."""
    desk.now = replace(DUE, sender='<script>alert("1")</script>')
    desk.lines = [replace(LINES[0], what="<script>x", notification="<i>")]
    page = http.get(path).text

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


def test_the_providers_page_leads_back_to_this_one(http: TestClient) -> None:
    """It knows the order's key and no token; and while its money is on the way nobody is asked to pay again."""
    back = http.get(f"/pay/back/{KEY}", follow_redirects=False)
    left = http.get(f"/pay/back/{KEY}?left=1", follow_redirects=False)
    lost = http.get("/pay/back/page:7:500:guessed", follow_redirects=False)

    assert (back.status_code, back.headers["location"]) == (303, f"{HOME}?said=pending")
    assert left.headers["location"] == HOME
    assert lost.status_code == 404
