"""What the operator reads while something is away."""

import logging

import pytest

from serving.errors import Temporary
from serving.outages import EVERY, Outages
from serving.pipeline import Stage


class Clock:
    """Monotonic seconds that stand still until moved."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_an_outage_is_told_once_a_minute_however_much_mail_waits(caplog: pytest.LogCaptureFixture) -> None:
    """A line for each of ten thousand mails hides the one that says what to do."""
    clock = Clock()
    outages = Outages(Stage.DELIVERY, clock)
    for _ in range(100):
        outages.tell(Temporary("mail.example:25 does not serve us; start it", is_outage=True))
    clock.now = EVERY
    outages.tell(Temporary("mail.example:25 does not serve us; start it", is_outage=True))

    assert len(caplog.messages) == 2
    assert caplog.messages[0].startswith("delivery waits: mail.example:25 does not serve us; start it")
    assert {record.levelno for record in caplog.records} == {logging.WARNING}


def test_what_concerns_one_mail_only_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    """A server's words about a recipient may hold an address."""
    Outages(Stage.DELIVERY).tell(Temporary("450 come back later"))

    assert caplog.messages == []
