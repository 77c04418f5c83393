"""The HTTP API tells callers apart: keys that end, quotas, and addresses that fail too often."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from starlette.requests import Request

from serving.authentication.api_keys import hash_key, new_key
from serving.errors import BrokerUnavailable
from serving.gateway.limits import FAILURES, FIRST_LOCK
from serving.gateway.problems import Problem
from serving.gateway.uses import MOST, Uses
from tests.unit.gateways import RAW, Clock, FakeBroker, Setting, is_refusal


async def ask(setting: Setting, key: str | None = None, path: str = "/statement") -> httpx.Response:
    """A request with this key, or the setting's own."""
    return await setting.http.get(path, headers={"Authorization": f"Bearer {key or setting.key}"})


async def lock(setting: Setting) -> None:
    """Wrong keys, until the address is locked."""
    for _ in range(FAILURES):
        assert (await ask(setting, new_key().key)).status_code == 401


async def test_a_key_that_was_rotated_ends_when_its_overlap_does(setting: Setting) -> None:
    """Until then the sender has time to change it everywhere; what is remembered must not outlive it."""
    old = new_key().key
    setting.enroll(old, "p1", expires_at=setting.clock.now + 1.0)
    before = await ask(setting, old)
    setting.clock.now += 1.0
    after = await ask(setting, old)

    assert before.status_code == 200
    assert is_refusal(after, 401, "unauthorized")
    assert "ended" in after.json()["detail"]


async def test_a_row_that_is_not_the_key_s_lets_nobody_in(setting: Setting) -> None:
    """Whatever the store answers, the digests are compared, in constant time."""
    setting.broker.rows["principal_by_key"][0]["credential"] = hash_key("another")

    assert is_refusal(await ask(setting), 401, "unauthorized")


async def test_over_its_quota_a_sender_is_told_to_wait_and_nothing_is_done() -> None:
    """One loop that went wild must not take the service from the others."""
    setting = Setting(rate=1.0, burst=2)
    other = new_key().key
    setting.enroll(other, "p2")
    async with setting.http:
        answers = [await ask(setting) for _ in range(3)]
        theirs = await ask(setting, other)
        setting.clock.now += 1.0
        again = await ask(setting)

    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert is_refusal(answers[2], 429, "rate_limited")
    assert answers[2].headers["Retry-After"] == "1"
    assert [answer.headers["RateLimit"] for answer in answers] == [
        '"requests";r=1;t=1',
        '"requests";r=0;t=2',
        '"requests";r=0;t=1',
    ]
    assert answers[0].headers["RateLimit-Policy"] == '"requests";q=2;w=2'
    assert (theirs.status_code, again.status_code) == (200, 200)


async def test_the_quota_is_told_of_a_request_that_fails_too() -> None:
    """It cost one."""
    setting = Setting(rate=1.0, burst=9)
    async with setting.http:
        unknown = await ask(setting, path="/notifications/nothing")

    assert (unknown.status_code, unknown.headers["RateLimit"]) == (404, '"requests";r=8;t=1')


async def test_an_address_that_fails_too_often_waits_and_the_wait_ends(setting: Setting) -> None:
    """Guessing is slowed down, and nobody has to restart anything."""
    await lock(setting)
    locked = await ask(setting, new_key().key)
    malformed = await ask(setting, "clk_x")
    setting.clock.now += FIRST_LOCK
    after = await ask(setting, new_key().key)

    assert is_refusal(locked, 429, "locked")
    assert locked.headers["Retry-After"] == str(int(FIRST_LOCK))
    assert malformed.status_code == 429
    assert after.status_code == 401


async def test_a_valid_key_passes_while_its_address_is_locked(setting: Setting) -> None:
    """Behind one address sit many: one of them must not be able to shut the others out, seen before or not."""
    newcomer = new_key().key
    setting.enroll(newcomer, "p2")
    await lock(setting)

    assert (await ask(setting)).status_code == 200
    assert (await ask(setting, newcomer)).status_code == 200
    assert (await ask(setting, new_key().key)).status_code == 429


async def test_who_sends_no_key_at_all_does_not_lock_its_address(setting: Setting) -> None:
    """That is no guess: a browser does it, or a monitor."""
    setting.http.headers.pop("Authorization")
    for _ in range(2 * FAILURES):
        assert (await setting.http.get("/statement")).status_code == 401


async def test_the_classifier_s_door_tells_a_locked_address_to_wait_too(setting: Setting) -> None:
    """It takes anybody's questions, so it must not be where keys are tried."""
    await lock(setting)
    scope = {"type": "http", "client": ("127.0.0.1", 1), "headers": [(b"authorization", b"Bearer clk_wrong")]}

    with pytest.raises(Problem, match="too many wrong keys"):
        await setting.app.state.api.knows(Request(scope))
    assert not await setting.app.state.api.knows(Request({**scope, "headers": []}))


async def test_uses_are_written_together_and_never_by_a_request(setting: Setting) -> None:
    """A write for each request would cost more than the request."""
    for _ in range(3):
        await ask(setting)
    during = list(setting.broker.commands)
    await setting.app.state.api.uses.write()
    await setting.app.state.api.uses.write()

    assert during == []
    assert setting.broker.commands == [("note_use", {"uses": [["key", hash_key(setting.key), setting.clock.now]]})]


async def test_a_use_that_cannot_be_written_is_kept_and_the_later_one_wins() -> None:
    """A broker that restarts must not make a key look unused."""
    broker, clock = FakeBroker(), Clock()
    uses = Uses(broker, clock)
    uses.note("key", "a")
    uses.note("key", "b")
    broker.is_up = False
    await uses.write()
    clock.now += 1.0
    uses.note("key", "a")
    broker.is_up = True
    await uses.write()

    assert broker.commands == [("note_use", {"uses": [["key", "a", clock.now], ["key", "b", clock.now - 1.0]]})]


async def test_what_is_noted_is_bounded() -> None:
    """While the broker is away nothing may grow without end."""
    broker = FakeBroker()
    uses = Uses(broker, Clock())
    for number in range(MOST + 10):
        uses.note("key", str(number))
    await uses.write()

    assert len(broker.commands[0][1]["uses"]) == MOST


async def test_without_the_broker_no_failure_is_counted(setting: Setting) -> None:
    """An outage is not the caller's mistake."""
    setting.broker.is_up = False
    for _ in range(2 * FAILURES):
        assert (await ask(setting, new_key().key)).status_code == 503
    with pytest.raises(BrokerUnavailable):
        await setting.broker.query("principal", id="")
    setting.broker.is_up = True

    assert (await ask(setting, new_key().key)).status_code == 401


async def test_a_key_that_ends_while_its_mail_comes_in_sends_nothing(setting: Setting) -> None:
    """A body may take as long as its sender likes, and the key was somebody else's an hour ago."""
    key = new_key().key
    setting.enroll(key, "p1", expires_at=setting.clock.now + 1.0)

    async def slowly() -> AsyncIterator[bytes]:
        yield RAW[:20]
        setting.clock.now += 3_600.0
        yield RAW[20:]

    headers = {"Authorization": f"Bearer {key}", "Content-Type": "message/rfc822"}
    answer = await setting.http.post("/notify", content=slowly(), headers=headers)

    assert is_refusal(answer, 401, "unauthorized")
    assert setting.broker.accepted == {}


async def test_uses_that_were_not_written_when_it_ends_are_kept() -> None:
    """The last write, on the way out, has them."""

    class Hanging(FakeBroker):
        async def execute(self, _: str, /, **__: Any) -> dict[str, Any]:
            await asyncio.Event().wait()
            return {}

    uses = Uses(Hanging(), Clock())
    uses.note("key", "k")
    writing = asyncio.create_task(uses.write())
    await asyncio.sleep(0)
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)

    assert uses._seen == {("key", "k"): Clock.now}
