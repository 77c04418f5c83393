"""The page by which a recipient tells one thing, on a phone: Chromium, light and dark, judged by axe-core."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect
from starlette.applications import Starlette
from starlette.routing import Mount

from serving.errors import BrokerUnavailable
from serving.web.desk import BadToken
from serving.web.react import application
from tests.interop import axe
from tests.interop.browsers import SIZE, answering, phone
from tests.interop.test_pay_page_browser import (
    LONG,
    MEASURE,
    SCHEMES,
    SMALLEST_FONT,
    SMALLEST_TARGET,
    Scheme,
    _screenshots,
)
from tests.unit.ears import HOME, MATTER, FakeEar

SIGHTS = {
    **{kind: FakeEar(replace(MATTER, kind=kind)) for kind in ("acknowledged", "was_urgent", "not_urgent")},
    "unsubscribe": FakeEar(replace(MATTER, kind="unsubscribe", sender="")),
    "long-name": FakeEar(replace(MATTER, sender=LONG)),
    "told": FakeEar(replace(MATTER, is_told=True)),
    "unsubscribed": FakeEar(replace(MATTER, kind="unsubscribe", sender="", is_told=True)),
    "forged": FakeEar(error=BadToken("forged")),
    "expired": FakeEar(error=BadToken("expired")),
    "unavailable": FakeEar(error=BrokerUnavailable("no broker")),
}


@pytest.fixture(scope="module")
def page() -> Starlette:
    return application()


@pytest.fixture(scope="module")
def origin(page: Starlette) -> Iterator[str]:
    with answering(Starlette(routes=[Mount("/r", page)])) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("name", SIGHTS)
def test_every_page_can_be_read_and_touched_by_everybody(
    browser: Browser, page: Starlette, origin: str, judge: str, tmp_path: Path, name: str, scheme: Scheme
) -> None:
    """Who is woken by an alarm acknowledges it half asleep, on a small screen, in the dark."""
    page.state.desk = SIGHTS[name]
    with phone(browser, color_scheme=scheme) as context:
        shown, complaints = context.new_page(), list[str]()
        shown.on("console", lambda message: complaints.append(message.text))
        shown.goto(origin + HOME)
        shown.screenshot(path=_screenshots(tmp_path) / f"react-{name}-{scheme}.png", full_page=True)
        size = shown.evaluate(MEASURE)
        found = axe.violations(shown, judge)

    assert found == []
    assert size["width"] <= SIZE["width"]
    assert size["font"] >= SMALLEST_FONT
    assert size["target"] >= SMALLEST_TARGET
    assert [text for text in complaints if "Content Security Policy" in text] == []


def test_the_keyboard_alone_tells_it_without_scripts(browser: Browser, page: Starlette, origin: str) -> None:
    """Two keys, and a heading and a status that a screen reader speaks."""
    ear = page.state.desk = FakeEar()
    with phone(browser, java_script_enabled=False) as context:
        shown = context.new_page()
        shown.goto(origin + HOME)
        shown.keyboard.press("Tab")
        shown.keyboard.press("Enter")

        expect(shown.get_by_role("status")).to_contain_text("Thank you")
        expect(shown.get_by_role("heading", level=1)).to_have_text("It was urgent")
        assert len(ear.heard) == 1
