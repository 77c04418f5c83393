"""The pay page on a phone: Chromium, 360 pixels wide, in light and dark, judged by axe-core."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page, expect

from serving.errors import BrokerUnavailable
from serving.web.desk import BadToken, Credited, Declined, DueState, Redirect
from tests.interop import axe
from tests.interop.browsers import SIZE, Served, phone, serving
from tests.unit.pay_page.desks import DUE, HOME, LINES, STATEMENT, FakeDesk

Scheme = Literal["light", "dark"]
SCHEMES: tuple[Scheme, ...] = ("light", "dark")
PAY = "Pay €0.05 from your wallet"
LONG = "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft"
SMALLEST_TARGET, SMALLEST_FONT = 44, 16

MEASURE = """() => {
  const shown = [...document.querySelectorAll("body, body *")].filter((each) => each.checkVisibility());
  const isTorn = (each) => {
    const text = document.createRange();
    text.selectNodeContents(each);
    return text.getClientRects().length > 1;
  };
  const targets = [...document.querySelectorAll("a, button")].map((each) => each.getBoundingClientRect());
  return {
    width: document.scrollingElement.scrollWidth,
    font: Math.min(...shown.map((each) => parseFloat(getComputedStyle(each).fontSize))),
    torn: [...document.querySelectorAll("button")].filter(isTorn).length,
    target: Math.min(...targets.flatMap((box) => [box.width, box.height]), 1000),
  };
}"""


@dataclass(frozen=True)
class Sight:
    """Something that a payer may come to see: a desk, and the page's address."""

    desk: Callable[[], FakeDesk]
    path: str = HOME


SIGHTS = {
    "waiting": Sight(FakeDesk),
    "waiting-short": Sight(lambda: FakeDesk(replace(DUE, balance=2))),
    "waiting-long-name": Sight(
        lambda: FakeDesk(replace(DUE, sender=LONG, amount=123_456_789, balance=0, top_ups=(500, 123_456_700)))
    ),
    "credited": Sight(FakeDesk, f"{HOME}?said=credited"),
    "pending": Sight(FakeDesk, f"{HOME}?said=pending"),
    "declined": Sight(FakeDesk, f"{HOME}?said=declined"),
    "paid": Sight(lambda: FakeDesk(replace(DUE, state=DueState.PAID)), f"{HOME}?said=paid"),
    "over": Sight(lambda: FakeDesk(replace(DUE, state=DueState.OVER))),
    "statement": Sight(lambda: FakeDesk(lines=[*LINES, replace(LINES[0], what=LONG, amount=-12_345)]), STATEMENT),
    "statement-empty": Sight(lambda: FakeDesk(lines=[]), STATEMENT),
    "forged": Sight(lambda: FakeDesk(error=BadToken("forged"))),
    "expired": Sight(lambda: FakeDesk(error=BadToken("expired"))),
    "unavailable": Sight(lambda: FakeDesk(error=BrokerUnavailable("no broker"))),
    "internal": Sight(lambda: FakeDesk(error=RuntimeError("broken"))),
}


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serving() as served:
        yield served


@pytest.fixture
def page(browser: Browser, served: Served) -> Iterator[Page]:
    """The waiting page on a phone in light."""
    served.use(FakeDesk())
    with phone(browser) as context:
        page = context.new_page()
        page.goto(served.url)
        yield page


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("name", SIGHTS)
def test_every_page_can_be_read_and_touched_by_everybody(
    browser: Browser, served: Served, judge: str, tmp_path: Path, name: str, scheme: Scheme
) -> None:
    """Whoever waits for a message that must not be missed may be old, hurt, or in the dark."""
    served.use(SIGHTS[name].desk())
    with phone(browser, color_scheme=scheme) as context:
        page, complaints = context.new_page(), list[str]()
        page.on("console", lambda message: complaints.append(message.text))
        page.goto(served.origin + SIGHTS[name].path)
        page.screenshot(path=_screenshots(tmp_path) / f"{name}-{scheme}.png", full_page=True)
        size = page.evaluate(MEASURE)
        found = axe.violations(page, judge)

    assert found == []
    assert size["width"] <= SIZE["width"]
    assert size["font"] >= SMALLEST_FONT
    assert size["target"] >= SMALLEST_TARGET
    assert size["torn"] == 0
    assert [text for text in complaints if "Content Security Policy" in text] == []


@pytest.mark.parametrize(
    ("fault", "rule"),
    [
        ("document.querySelector('dt').style.color = '#c4c4c4'", "color-contrast"),
        ("document.documentElement.removeAttribute('lang')", "html-has-lang"),
        ("document.querySelector('button').textContent = ''", "button-name"),
    ],
)
def test_the_judge_sees_a_fault_that_was_put_in(page: Page, judge: str, fault: str, rule: str) -> None:
    """A judge that finds nothing anywhere would let everything pass."""
    page.evaluate(fault)

    assert [found.split()[0] for found in axe.violations(page, judge)] == [rule]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_light_and_dark_are_two_looks(browser: Browser, served: Served, scheme: Scheme) -> None:
    """If the page were light in both, the judge would have seen one of them only."""
    served.use(FakeDesk())
    with phone(browser, color_scheme=scheme) as context:
        page = context.new_page()
        page.goto(served.url)
        color = page.evaluate("getComputedStyle(document.body).backgroundColor")

    assert (sum(map(int, color[4:-1].split(","))) > 382) is (scheme == "light")


def test_the_keyboard_alone_pays(page: Page, served: Served) -> None:
    """In the order in which it is read, with a mark on what has the focus."""
    order, marks = [], set[str]()
    for _ in range(4):
        page.keyboard.press("Tab")
        order.append(page.evaluate("document.activeElement.textContent.trim()"))
        marks.add(page.evaluate("getComputedStyle(document.activeElement).outline"))
    for _ in range(3):
        page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    page.wait_for_url("**?said=paid")

    assert order == [PAY, "€5.00", "€10.00", "€20.00"]
    assert marks == {"rgb(23, 80, 92) solid 3px"}
    expect(page.get_by_role("heading", level=1)).to_have_text("The message from City Hospital is paid")
    expect(page.get_by_role("status")).to_contain_text("Thank you.")
    assert served.desk.payments == 1


def test_everything_works_without_scripts(browser: Browser, served: Served) -> None:
    """A payer's phone may be old, careful, or offline half of the time."""
    desk = served.use(FakeDesk(replace(DUE, balance=2)))
    with phone(browser, java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(served.url)
        page.get_by_role("button", name="Top up by €10.00").tap()
        page.wait_for_url("**?said=credited")
        page.get_by_role("button", name=PAY).tap()
        page.wait_for_url("**?said=paid")
        page.goto(served.origin + STATEMENT)
        with page.expect_download() as download:
            page.get_by_role("link", name="Save for a spreadsheet (CSV)").tap()

    assert download.value.suggested_filename == "statement.csv"
    assert (list(desk.charged.values()), desk.payments) == ([1_000], 1)


def test_a_button_pressed_twice_pays_once(page: Page, served: Served) -> None:
    """Thumbs are impatient, and the provider is slow: both requests arrive, and they are the same attempt."""
    served.desk.pause = 1.5
    box = page.get_by_role("button", name="Top up by €5.00").bounding_box()
    assert box is not None
    for _ in range(2):
        page.mouse.click(box["x"] + 20, box["y"] + 20)
        page.wait_for_timeout(500)
    page.wait_for_url("**?said=credited")

    assert len(served.desk.asked) == 2
    assert list(served.desk.charged.values()) == [500]
    expect(page.get_by_text("€9.20")).to_be_visible()


def test_a_wallet_button_pressed_twice_pays_once(page: Page, served: Served) -> None:
    """The price is set aside once, and the page that comes back says so."""
    page.get_by_role("button", name=PAY).dblclick(no_wait_after=True)
    page.wait_for_url("**?said=paid")

    assert served.desk.payments == 1
    assert served.now().balance == DUE.balance - DUE.amount


def test_reloading_and_going_back_pay_nothing(page: Page, served: Served) -> None:
    """What a browser may do by itself, a day later, is free."""
    page.get_by_role("button", name="Top up by €5.00").tap()
    page.wait_for_url("**?said=credited")
    page.reload()
    page.go_back()
    page.go_forward()

    assert len(served.desk.asked) == 1


def test_the_form_leads_to_the_provider_and_nowhere_else(page: Page, served: Served) -> None:
    """Chromium drops a form's redirect to an origin that the policy does not name, and says so only in its console."""
    served.desk.answer = Redirect(f"{served.elsewhere}/provider")
    page.get_by_role("button", name="Top up by €5.00").tap()
    page.wait_for_url(f"{served.elsewhere}/provider")

    expect(page.get_by_text("the provider's own page")).to_be_visible()


def test_a_decline_is_told_and_another_try_is_another_attempt(page: Page, served: Served) -> None:
    """The first attempt is over for good; its value must not come back with the next button."""
    served.desk.answer = Declined("insufficient_funds")
    page.get_by_role("button", name="Top up by €20.00").tap()
    expect(page.get_by_role("status")).to_contain_text("Your card does not cover this amount.")
    served.desk.answer = Credited()
    page.get_by_role("button", name="Top up by €5.00").tap()
    page.wait_for_url("**?said=credited")

    first, second = [attempt for _, _, attempt in served.desk.asked]
    assert first != second
    assert served.desk.charged == {second: 500}


def test_an_amount_that_is_no_longer_offered_leads_back(page: Page, served: Served, judge: str) -> None:
    """The page lay open for a day and the offer changed."""
    served.desk.now = replace(DUE, top_ups=(700,))
    page.get_by_role("button", name="Top up by €5.00").tap()
    expect(page.get_by_role("heading", level=1)).to_have_text("We did not understand that")
    found = axe.violations(page, judge)
    page.get_by_role("link", name="Look at the page").tap()

    expect(page.get_by_role("button", name="Top up by €7.00")).to_be_visible()
    assert found == []
    assert served.desk.asked == []


def test_motion_ends_where_somebody_asked_for_less(browser: Browser, served: Served) -> None:
    """Movement makes some people ill."""
    served.use(FakeDesk())
    durations = set[str]()
    for motion in ("no-preference", "reduce"):
        with phone(browser, reduced_motion=motion) as context:
            page = context.new_page()
            page.goto(served.url)
            durations.add(page.evaluate("getComputedStyle(document.querySelector('button')).transitionDuration"))

    assert durations == {"0.12s", "0s"}


def _screenshots(otherwise: Path) -> Path:
    folder = Path(os.environ.get("CLARION_SCREENSHOTS") or otherwise)
    folder.mkdir(parents=True, exist_ok=True)
    return folder
