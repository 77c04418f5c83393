"""smtp-sink with each of its faults: all mail arrives in the end, or its sender is told."""

import asyncio
import json
from collections import Counter
from collections.abc import Mapping
from random import Random
from typing import Any

import pytest
from nacl.public import PrivateKey

from serving.delivery import lanes
from serving.delivery.routes import Smarthost
from serving.delivery.schedule import Schedule
from serving.delivery.stage import Delivery
from serving.errors import Temporary
from serving.pipeline import Sent, Undeliverable
from serving.sealing import UnsealingKey
from serving.stage import Work
from tests.interop.sinks import Sink
from tests.unit import works

KEY = UnsealingKey(bytes(PrivateKey.generate()))
MAILS = 12
COMMANDS = ("CONNECT", "EHLO,HELO", "MAIL", "RCPT", "DATA", ".")
ABOUT_US = COMMANDS[:2]


class Mails:
    """Some mails on their way, and what has become of each."""

    def __init__(self) -> None:
        self.outcomes: dict[int, Sent | Undeliverable] = {}
        self.tries: Counter[int] = Counter()
        self._facts: dict[int, dict[str, Any]] = {number: {} for number in range(MAILS)}

    async def go(self, port: int, tries: int) -> None:
        """To the sink there, until each has ended or was tried so often."""
        delivery = Delivery(
            KEY,
            Smarthost("127.0.0.1", port, "clarion.example"),
            expiry=600.0,
            random=Random(1),  # noqa: S311
            schedule=Schedule(first=0.01, cap=0.01),
            timeout=10.0,
            data_timeout=10.0,
        )
        await asyncio.gather(
            *(self._go(delivery, number, tries) for number in self._facts if number not in self.outcomes)
        )
        await delivery.close()

    async def _go(self, delivery: Delivery, number: int, tries: int) -> None:
        last = self.tries[number] + tries
        while self.tries[number] < last:
            try:
                self.outcomes[number] = await delivery.handle(self._work(number))
            except Temporary as temporary:
                self.tries[number] += "is taking other mail" not in str(temporary)
                await asyncio.sleep(0.05)
            else:
                return

    def _work(self, number: int) -> Work:
        head = {"mail_from": "a@b.example", "rcpt_to": "c@d.example", "message_id": f"<{number}@x>"}
        mail = f"Message-ID: <{number}@x>\r\nSubject: x\r\n\r\n.\r\nx\r\n".encode()
        sealed = KEY.sealing_key.seal(json.dumps(head).encode() + b"\n" + mail)

        async def note(_: str, facts: Mapping[str, Any]) -> None:
            self._facts[number] |= facts

        return works.work(id=number, body=sealed, facts=dict(self._facts[number]), note=note)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "PATIENCE", 0.05)


ALL = {f"<{number}@x>": 1 for number in range(MAILS)}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("fault", ["-r", "-q", "-Q"])
async def test_what_passes_is_waited_for_and_then_all_arrives(fault: str, command: str) -> None:
    """A soft refusal, a broken connection and a 421, at each command: the mail waits, whatever is said, and arrives
    once the server is well; once, as this sink throws away what it breaks off at."""
    mails = Mails()
    with Sink(fault, command) as ill:
        await mails.go(ill.port, tries=1)
        during = ill.message_ids()
    undecided = dict(mails.outcomes)
    with Sink() as well:
        await mails.go(well.port, tries=5)
        after = well.message_ids()

    assert undecided == {}
    assert set(mails.tries.values()) == {1}
    assert all(isinstance(outcome, Sent) for outcome in mails.outcomes.values())
    assert after == ALL
    assert set(during) <= set(ALL)  # the sink may have written down what it then refused


@pytest.mark.parametrize("command", COMMANDS)
async def test_a_hard_refusal_of_the_mail_is_told_and_one_of_us_is_waited_for(command: str) -> None:
    """At the greeting and at EHLO it is us that it does not want, and a server that is being repaired says so."""
    mails = Mails()
    with Sink("-f", command) as ill:
        await mails.go(ill.port, tries=1)
    ended = dict(mails.outcomes)
    with Sink() as well:
        await mails.go(well.port, tries=5)
        after = well.message_ids()

    if command in ABOUT_US:
        assert ended == {}
        assert after == ALL
    else:
        assert after == {}
        assert {ended[number] for number in range(MAILS)} == {Undeliverable("500 5.3.0 Error: command failed")}


@pytest.mark.parametrize("options", [["-w", "1"], ["-e"], ["-8"], ["-p", "-a", "-E"], ["-P"], ["-A", "0"], ["-H", "1"]])
async def test_slow_and_old_servers_get_their_mail_too(options: list[str]) -> None:
    """Without ESMTP, without 8BITMIME, behind an old firewall, with seconds between the commands; or refusing before
    the content was read, which is told."""
    mails = Mails()
    with Sink(*options) as sink:
        await mails.go(sink.port, tries=3)
        arrived = sink.message_ids()

    if options[0] == "-A":
        assert arrived == {}
        assert len(mails.outcomes) + sum(count >= 3 for count in mails.tries.values()) >= MAILS
    else:
        assert all(isinstance(outcome, Sent) for outcome in mails.outcomes.values())
        assert arrived == ALL
