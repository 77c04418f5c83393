"""What senders are told, without a store: how it is signed, when it is sent again, and where it may go."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from serving.errors import ConfigurationError
from serving.sealing import LookupKey
from serving.settings import Settings
from serving.webhooks.places import Impossible, Place, Places
from serving.webhooks.post import Reply
from serving.webhooks.schedule import STANDARD, Schedule
from serving.webhooks.sending import Sending
from serving.webhooks.signing import OVERLAP, Signer, event_of, secret

KEY = LookupKey(bytes(range(32)))


def now() -> float:
    """This moment: a receiver's library takes what is five minutes old at most, and many tests come before these."""
    return datetime.now(UTC).timestamp()


CLAIMED = {
    "id": "81", "notification": "7", "message": "6", "via": None, "replays": None, "event": "delivered",
    "reason": "captured", "at": 1_800_000_000.25, "attempt": 1, "principal": "ops", "url": "u", "version": 1,
    "rotated_at": None,
}  # fmt: skip


def dice(seed: int) -> Random:
    return Random(seed)  # noqa: S311 - replayable, not secret


class TestSigning:
    def test_a_receivers_own_library_accepts_it(self) -> None:
        """Nobody should have to write a line to believe us."""
        event = event_of(CLAIMED)
        fields = Signer(KEY, "ops", 1).fields(event, now())

        assert Webhook(secret(KEY, "ops", 1)).verify(event.body, fields)["type"] == "notification.delivered"

    @pytest.mark.parametrize("other", [secret(KEY, "ops", 2), secret(KEY, "eve", 1), secret(LookupKey(b""), "ops", 1)])
    def test_no_other_secret_accepts_it(self, other: str) -> None:
        """One sender cannot speak to another's receiver, nor an old secret for a new one."""
        event = event_of(CLAIMED)
        fields = Signer(KEY, "ops", 1).fields(event, now())

        with pytest.raises(WebhookVerificationError):
            Webhook(other).verify(event.body, fields)

    @pytest.mark.parametrize(("since", "is_good"), [(OVERLAP - 60, True), (OVERLAP + 60, False)])
    def test_both_secrets_sign_for_a_day_after_a_rotation(self, since: float, is_good: bool) -> None:
        """A receiver changes over when it can, and misses nothing; and a leaked secret ends."""
        event = event_of(CLAIMED)
        fields = Signer(KEY, "ops", 2, rotated_at=now() - since).fields(event, now())

        assert Webhook(secret(KEY, "ops", 2)).verify(event.body, fields)
        assert (len(fields["webhook-signature"].split(" ")) == 2) is is_good
        if is_good:
            assert Webhook(secret(KEY, "ops", 1)).verify(event.body, fields)
        else:
            with pytest.raises(WebhookVerificationError):
                Webhook(secret(KEY, "ops", 1)).verify(event.body, fields)

    def test_an_attempt_says_when_it_is_made(self) -> None:
        """A receiver refuses what is older than minutes: a retry a day later must not be that."""
        event = event_of(CLAIMED)
        fields = Signer(KEY, "ops", 1).fields(event, now() - timedelta(hours=1).total_seconds())

        with pytest.raises(WebhookVerificationError, match="old"):
            Webhook(secret(KEY, "ops", 1)).verify(event.body, fields)

    def test_the_event_is_the_same_at_every_attempt_and_says_nothing_of_the_mail(self) -> None:
        """The id is what receivers know repetitions by; ids are those of POST /v1/notify."""
        event = event_of(CLAIMED)

        assert event == event_of({**CLAIMED, "attempt": 5})
        assert event.id == "msg_000000000002H"
        assert event.body == (
            b'{"type":"notification.delivered","timestamp":"2027-01-15T08:00:00.250Z","data":{"id":"0000000000007",'
            b'"message_id":"0000000000006","state":"delivered","at":"2027-01-15T08:00:00.250Z","reason":"captured"}}'
        )


class TestSchedule:
    def test_it_is_tried_for_three_days_and_then_given_up(self) -> None:
        """A receiver that is down over a weekend misses nothing."""
        waits = [STANDARD.delay(attempt, 0.0, dice(attempt)) for attempt in range(1, 12)]
        made = [wait for wait in waits if wait is not None]

        assert waits[9:] == [None, None]
        assert len(made) == 9
        assert 3 * 86_400 * 0.9 < sum(made) < 4 * 86_400
        assert made[0] < 10

    @given(st.integers(1, 9), st.floats(0, 1e9), st.integers())
    def test_a_receiver_gets_the_time_that_it_asks_for_within_bounds(
        self, attempt: int, asked: float, seed: int
    ) -> None:
        """Whoever says "in a hundred years" would keep a row for as long."""
        delay = STANDARD.delay(attempt, asked, dice(seed))

        assert delay is not None
        assert delay >= min(asked, STANDARD.longest)
        assert delay <= max(STANDARD.waits) * 1.1

    def test_attempts_are_spread(self) -> None:
        """Ten thousand events that failed at one moment do not come back at one."""
        waits = {Schedule(waits=(100.0,)).delay(1, 0.0, dice(seed)) for seed in range(50)}

        assert len(waits) == 50
        assert all(wait is not None and 90 <= wait <= 110 for wait in waits)


class Endless:
    """A store that always has another event, and a receiver that takes it, both at once."""

    def __init__(self) -> None:
        self.count = 0
        self.closed: list[str] = []
        self.is_over = False

    async def execute(self, name: str, /, **parameters: Any) -> dict[str, Any]:
        await asyncio.sleep(0)
        if name == "close_webhook":
            self.closed.append(parameters["id"])
            return {"closed": True}
        self.count += 1
        return {"events": [{**CLAIMED, "id": str(self.count)}] if self.count % 3 else []}

    async def send(self, url: str, fields: Mapping[str, str], body: bytes) -> Reply:
        await asyncio.sleep(0)
        return Reply(bool(url and fields and body), "status 204")

    async def close(self) -> None:
        self.is_over = True


class TestSending:
    @pytest.mark.parametrize("steps", range(40))
    async def test_it_ends_whenever_it_is_told_to_and_what_is_on_its_way_is_finished(self, steps: int) -> None:
        """A program that misses SIGTERM is killed, and every event on its way goes out twice."""
        endless = Endless()
        task = asyncio.create_task(Sending(endless, KEY, lambda: endless, dice(1)).run())
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        with suppress(asyncio.CancelledError):
            async with asyncio.timeout(5.0):
                await task

        assert task.cancelled()
        assert len(endless.closed) == len(set(endless.closed))
        assert endless.is_over is bool(endless.closed)

    async def test_an_exception_of_a_receiver_is_an_attempt_that_failed(self) -> None:
        """Whatever a library makes of an answer, the events behind it go on."""
        endless, closings = Endless(), []

        class Broken(Endless):
            async def send(self, url: str, fields: Mapping[str, str], body: bytes) -> Reply:
                raise UnicodeError(url, fields, body)

        class Store(Endless):
            async def execute(self, name: str, /, **parameters: Any) -> dict[str, Any]:
                if name == "close_webhook":
                    closings.append((parameters["state"], parameters["reply"]))
                    task.cancel()
                return await endless.execute(name, **parameters)

        task = asyncio.create_task(Sending(Store(), KEY, Broken, dice(1)).run())
        with suppress(asyncio.CancelledError):
            await task

        assert closings[0] == ("waiting", "it could not be sent (UnicodeError)")


async def found(url: str, *addresses: str, networks: tuple[str, ...] = ()) -> Place | Impossible:
    async def resolve(host: str) -> tuple[str, ...]:
        assert host
        return addresses

    return await Places(networks, resolve=resolve).find(url)


class TestPlaces:
    async def test_a_public_host_is_connected_to_by_the_addresses_that_were_judged(self) -> None:
        """What answers between the judgement and the connection is not asked again (DNS rebinding)."""
        place = await found("https://Hooks.example:8443/a?b=c", "2001:4860:4860::8888", "8.8.8.8")

        assert isinstance(place, Place)
        assert (place.addresses, place.port) == (("2001:4860:4860::8888", "8.8.8.8"), 8443)
        assert (place.name, place.host, place.target) == ("hooks.example", "hooks.example:8443", "/a?b=c")

    @pytest.mark.parametrize(
        "address",
        ["10.0.0.1", "127.0.0.1", "169.254.169.254", "192.168.1.1", "::1", "fe80::1", "fd00::1", "::ffff:10.0.0.1"],
    )
    async def test_no_name_leads_inside(self, address: str) -> None:
        """Nobody may send us to our own network by a name, not even by one of several addresses."""
        assert isinstance(await found("https://hooks.example/", "8.8.8.8", address), Impossible)
        host = f"[{address}]" if ":" in address else address
        if address not in ("127.0.0.1", "::1"):
            assert isinstance(await found(f"https://{host}/"), Impossible)

    async def test_a_network_that_the_operator_allows_is_as_good(self) -> None:
        """A ward's own system lies inside, and its operator says so."""
        inside = {"networks": ("10.1.0.0/16", "fd00::/8")}

        assert isinstance(await found("https://hooks.example/", "10.1.2.3", "fd00::1", **inside), Place)
        assert isinstance(await found("https://hooks.example/", "10.2.0.1", **inside), Impossible)

    @pytest.mark.parametrize(
        "url",
        [
            "http://hooks.example/", "ftp://hooks.example/", "https://", "https:///x", "hooks.example", "",
            "https://ops:secret@hooks.example/", "https://hooks.example/#here", "https://hooks.example\r\nX: y/",
            "http://localhost.example/", "https://[::1",
        ],
    )  # fmt: skip
    async def test_what_is_no_such_url_is_refused(self, url: str) -> None:
        """Plain HTTP would show strangers who is told what, and could be answered by them."""
        assert isinstance(await found(url, "8.8.8.8"), Impossible)

    @pytest.mark.parametrize("url", ["http://127.0.0.1:9/", "http://localhost/x", "http://[::1]:9/"])
    async def test_this_machine_may_be_told_in_the_clear(self, url: str) -> None:
        """For trying it out, and for a program beside us."""
        assert isinstance(await found(url), Place)

    async def test_a_host_without_an_address_is_none(self) -> None:
        """A name that was mistyped is told when it is set, not a day later."""
        assert isinstance(await found("https://hooks.example/"), Impossible)


def test_a_network_that_is_none_is_told_at_the_start() -> None:
    """A typo that allows nothing, or everything, must not pass."""
    with pytest.raises(ConfigurationError, match="CLARION_WEBHOOK_NETWORKS"):
        Settings.read(webhook_networks=("10.0.0.0/99",))
