"""What a demo shows, with and without a terminal."""

import io

import pytest
from rich.console import Console

from serving.demo.audit import unjudged
from serving.demo.running import demo_settings, free_ports
from serving.demo.view import MEANINGS, Picture, View, summary, wide_console

DEPTHS = ({"stage": "delivery", "state": "queued", "count": 4}, {"stage": None, "state": "delivered", "count": 6})


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), width=120)


def text(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_without_a_terminal_a_line_now_and_then_and_none_twice(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A log of CI is read by people, too."""
    monkeypatch.setattr("serving.demo.view.PLAIN_EVERY", -1.0)
    with View(console, Picture(mails=10, posted=10, accepted=10, depths=DEPTHS)) as view:
        for _ in range(3):
            view.show()

    assert text(console).count("10/10 posted, 10 accepted: 4 moving, 6 delivered") == 1
    assert len(text(console).splitlines()) == 1


def test_a_demo_says_nothing_of_its_progress_before_there_is_any(console: Console) -> None:
    """A first line of zeros looks like a stall."""
    with View(console, Picture(mails=10)) as view:
        view.show()

    assert text(console) == ""


def test_a_summary_of_an_interrupted_run_claims_nothing(console: Console) -> None:
    """A zero that nobody counted is a lie."""
    report = dict.fromkeys(MEANINGS, 0) | unjudged(["a", "b"], {"a": 1})
    console.print(summary(report))

    assert (report["delivered"], report["unaccounted"]) == (1, None)
    assert "not judged" in text(console)


def test_piped_output_is_not_broken_at_eighty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    """A path that is cut in two cannot be copied."""
    monkeypatch.delenv("COLUMNS", raising=False)

    assert wide_console(stderr=False).width == 120


def test_a_demo_reaches_no_mail_server_that_the_environment_names(
    monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    """Somebody's real mailbox must not go out to real people because a shell still exports a setting."""
    monkeypatch.setenv("CLARION_SMTP_HOST", "mail.example.org")
    monkeypatch.setenv("CLARION_PROVIDER_URL", "https://pay.example.org")
    settings = demo_settings(home=tmp_path)  # type: ignore[arg-type]

    assert settings.smtp_host == "127.0.0.1"
    assert settings.provider_url.startswith("http://127.0.0.1:")


def test_free_ports_are_all_different() -> None:
    """Two programs on one port would be a demo that does not start."""
    assert len(set(free_ports(20))) == 20
