"""A digest as a mail program shows it on a phone: Chromium, light and dark, judged by axe-core."""

from dataclasses import replace
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import Browser

from serving.digest.letter import Cover, read_entry, write_letter
from tests.interop import axe
from tests.interop.browsers import SIZE, phone
from tests.interop.test_pay_page_browser import (
    LONG,
    MEASURE,
    SCHEMES,
    SMALLEST_FONT,
    SMALLEST_TARGET,
    Scheme,
    _screenshots,
)

NOW = 1_795_618_800.0  # 2026-11-25 15:00 UTC
GATE = "https://gate.example"
COVER = Cover("clarion@gate.example", "ann@home.example", NOW, ZoneInfo("Europe/Berlin"), f"{GATE}/u/token")
MAILS = (
    ("Build server <ci@build.example>", "Nightly build 4711: 2 tests are flaky", "Both passed when run again.\n", 0.31),
    ("Build server <ci@build.example>", "Nightly build 4710 passed", "All 3,204 tests passed in 11 minutes.\n", 0.02),
    (
        "Zoë Ünicode <zoe@library.example>",
        "Your books are due on Friday",
        f"Two books.\n\n> You wrote:\n> {LONG}\n",
        0.12,
    ),
    ("سارة <sara@mail.example>", "مرحبا", "كيف حالك؟\n", 0.08),
    (f"{LONG} <x@y.example>", f"{LONG} {LONG}", "x" * 3_000, 0.01),
)


def mail(sender: str, subject: str, text: str) -> bytes:
    """As most mail programs write it, with encoded words."""
    message = EmailMessage()
    message["From"], message["Subject"] = sender, subject
    message.set_content(text)
    return message.as_bytes()


def letter(count: int) -> str:
    """The HTML of a digest of so many mails, and one that nothing proves."""
    entries = [
        replace(
            read_entry(mail(sender, subject, text), NOW - 3_600 * number, is_verified=True),
            score=score,
            link=f"{GATE}/r/was_urgent.{number}",
        )
        for number, (sender, subject, text, score) in enumerate(MAILS[:count])
    ]
    phishing = b"From: Your Bank <bank@bank.example>\nSubject: <b>Act now</b>\n\n<script>alert(1)</script>\n"
    octets = write_letter([*entries, read_entry(phishing, NOW, is_verified=False)], COVER)
    html = message_from_bytes(octets, policy=policy.SMTP).get_body(("html",))
    assert html is not None
    return str(html.get_content())


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("count", [0, len(MAILS)])
def test_a_digest_can_be_read_and_touched_by_everybody(
    browser: Browser, judge: str, tmp_path: Path, count: int, scheme: Scheme
) -> None:
    """It is read on a phone, at breakfast or in the dark; what a mail holds must not break its page."""
    with phone(browser, color_scheme=scheme) as context:
        page = context.new_page()
        page.set_content(letter(count))
        page.screenshot(path=_screenshots(tmp_path) / f"digest-{count}-{scheme}.png", full_page=True)
        size = page.evaluate(MEASURE)
        color = page.evaluate("getComputedStyle(document.body).backgroundColor")
        found = axe.violations(page, judge)

    assert found == []
    assert size["width"] <= SIZE["width"]
    assert size["font"] >= SMALLEST_FONT
    assert size["target"] >= SMALLEST_TARGET
    assert (sum(map(int, color[4:-1].split(","))) > 382) is (scheme == "light")


def test_it_reads_without_its_style(browser: Browser) -> None:
    """Many mail programs drop it: headings, order and links must do alone."""
    with phone(browser) as context:
        page = context.new_page()
        page.set_content(letter(len(MAILS)))
        page.evaluate("document.querySelector('style').remove()")
        headings = [
            (each.evaluate("each => each.tagName"), each.inner_text()) for each in page.get_by_role("heading").all()
        ]
        links = [each.inner_text() for each in page.get_by_role("link").all()]

    assert headings[:4] == [
        ("H1", "Your digest: 6 messages that could wait."),
        ("H2", "Build server <ci@build.example> (2 messages)"),
        ("H3", "1. Nightly build 4711: 2 tests are flaky"),
        ("H3", "2. Nightly build 4710 passed"),
    ]
    assert links == [*(f"Number {number} was urgent" for number in range(1, 6)), "One digest a week at most"]
