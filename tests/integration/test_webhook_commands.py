"""`clarion webhook` against a real broker and a real receiver: what is printed, and what it does."""

import asyncio
import json

import pytest
from standardwebhooks.webhooks import Webhook

from serving.queue.client import Client
from tests.conftest import BrokerProcess
from tests.integration import terminal
from tests.integration.terminal import settle
from tests.integration.webhook_receiver import receiving, status
from tests.integration.webhook_senders import Eventually, ended, sending, told_all


@pytest.fixture
def home(broker: BrokerProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home whose broker is that one."""
    settle(broker, monkeypatch)


async def said(*words: str) -> str:
    return (await asyncio.to_thread(terminal.said, "webhook", *words)).strip()


async def complaint(*words: str) -> str:
    return await asyncio.to_thread(terminal.complaint, "webhook", *words)


@pytest.mark.usefixtures("home")
class TestCommands:
    async def test_a_secret_is_printed_once_and_proves_what_is_sent(self, client: Client) -> None:
        """`test` shows a sender that it is set up before anything happens; the secret is not shown again."""
        await client.execute("enroll_principal", id="ops", name="Ops", domains=[], policy={})
        async with receiving() as receiver:
            key = await said("set", "ops", receiver.url)
            again = await said("set", "ops", receiver.url)
            ok = await said("test", "ops")
            rotated = await said("rotate", "ops")
            await said("test", "ops")
            receiver.answer = lambda _: status("500 No")
            no = await complaint("test", "ops")
        first, second, _ = receiver.told

        assert key.startswith("whsec_")
        assert "secret stays" in again
        assert (ok, no) == ("told: status 204", "not told: status 500")
        assert rotated.startswith("whsec_")
        assert rotated != key
        assert Webhook(key).verify(first.body, first.fields)["type"] == "webhook.test"
        assert Webhook(key).verify(second.body, second.fields)
        assert Webhook(rotated).verify(second.body, second.fields)

    async def test_events_are_listed_shown_and_sent_again(self, client: Client, eventually: Eventually) -> None:
        """What an operator does when a sender says that it heard nothing."""
        await client.execute("enroll_principal", id="sender", name="Ops", domains=[], policy={})
        async with receiving() as receiver:
            await said("set", "sender", receiver.url)
            (id_,) = await ended(client, 1)
            (row,) = json.loads(await said("list", "sender", "--state", "waiting", "--json"))
            async with sending(client):
                await eventually(lambda: told_all(client))
            (told,) = json.loads(await said("list", "sender", "--json"))
            shown = json.loads(await said("show", "sender", "--json"))[0]
            people = await said("show", "sender")
            counts = [
                await said("replay", id_),
                await said("replay", "--since", "2026-01-01T00:00:00", "--of", "sender"),
            ]
            removed = await said("remove", "sender")

        assert (row["notification"], row["event"], row["attempt"], row["state"]) == (id_, "dead", 0, "waiting")
        assert (told["state"], told["reply"], told["webhook_id"]) == ("told", "status 204", receiver.told[0].id)
        assert (shown["url"], shown["told"], shown["waiting"]) == (receiver.url, 1, 0)
        assert "told" in people
        assert counts == ["1 are sent again", "0 are sent again"]
        assert removed == "removed; 1 that waited were given up"

    @pytest.mark.parametrize(
        ("words", "reason"),
        [
            (["set", "nobody", "http://127.0.0.1:9/"], "no such sender"),
            (["set", "ops", "http://hooks.example/"], "begins with https"),
            (["set", "ops", "https://10.0.0.1/"], "CLARION_WEBHOOK_NETWORKS"),
            (["show", "ops"], "no webhook"),
            (["test", "ops"], "no webhook"),
            (["rotate", "ops"], "no webhook"),
            (["remove", "ops"], "no webhook"),
            (["replay", "0000000000007"], "no such sender"),
            (["replay", "x"], "that is no notification"),
            (["replay"], "name a notification"),
            (["list", "ops", "--state", "lost"], "--state takes"),
        ],
    )
    async def test_what_cannot_be_done_says_why(self, client: Client, words: list[str], reason: str) -> None:
        """In one line, and nothing is changed."""
        await client.execute("enroll_principal", id="ops", name="Ops", domains=[], policy={})

        assert reason in await complaint(*words)
