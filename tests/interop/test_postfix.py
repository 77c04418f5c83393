"""The Postfix that other tests stand before and behind of ours is itself one that works."""

import smtplib
import subprocess
import time
from collections.abc import Callable

from tests.interop.postfix import HOLD, Postfix, postfix

MAIL = """\
From: ops@bank.example
To: ann@home.example
Subject: db-3 is full
Date: Wed, 25 Nov 2026 09:00:00 +0000
Message-ID: <20261125090000.7@bank.example>

In 20 minutes.
"""


def test_one_relays_what_the_other_keeps() -> None:
    """Otherwise a mail that we lose and one that Postfix loses look alike."""
    with postfix() as last, postfix(relay=last.port) as first:
        _send(first)
        _eventually(lambda: bool(last.mails), first, last)

        _eventually(lambda: not first.waiting(), first, last)

        (mail,) = last.mails
        assert mail.endswith(MAIL.encode())
        assert mail.count(b"\nReceived: ") == 2


def test_held_mail_stays() -> None:
    """The benchmark compares accepting alone."""
    with postfix(settings=HOLD) as held:
        _send(held)
        _send(held)

        assert held.waiting("hold") == 2
        assert not held.mails


def test_nothing_of_it_is_left() -> None:
    """Not even the processes that its master started."""
    with postfix() as server:
        _send(server)
        assert _processes(server)

    assert not server.home.exists()
    _eventually(lambda: not _processes(server))


def _send(server: Postfix) -> None:
    with smtplib.SMTP("127.0.0.1", server.port, timeout=10) as connection:
        connection.sendmail("ops@bank.example", ["ann@home.example"], MAIL)


def _processes(server: Postfix) -> str:
    found = subprocess.run(
        ["ps", "-o", "pid=", "-s", str(server.process.pid)], capture_output=True, text=True, check=False
    )
    return found.stdout.strip()


def _eventually(predicate: Callable[[], bool], *servers: Postfix) -> None:
    deadline = time.monotonic() + 20
    while not predicate():
        assert time.monotonic() < deadline, [server.log for server in servers]
        time.sleep(0.05)
