"""A recipient's own urgent threshold: over a real broker, with the API that people react through."""

import asyncio
import base64
import os
import sys
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from nacl.public import PrivateKey
from numpy.typing import NDArray

from serving.authentication.api_keys import new_key
from serving.classification import Classification
from serving.gateway.api import Api, Keys
from serving.gateway.app import application
from serving.gateway.mail import Question
from serving.personal import Personal
from serving.pipeline import Authenticated, Stage
from serving.queue.client import Client
from serving.queue.store.offsets import LIMIT, STEPS
from serving.scoring import Scorer
from serving.sealing import LookupKey, UnsealingKey
from serving.triage import Triage
from serving.values import Prediction
from tests.conftest import BrokerProcess
from tests.integration.stages import always, working
from training.artefact import Certificate, Thresholds
from training.render import Example

ADA, BOB = "ada@example.net", "bob@example.net"
CONTENT, LOOKUP = UnsealingKey(bytes(PrivateKey.generate())), LookupKey(bytes(range(32)))
NOTICE = {"from": "ops@example.org", "subject": "Disk", "text": "db1 is filling up"}


class Model:
    """Gives every mail the same score; certified as a champion may be."""

    version = "m"
    thresholds = Thresholds(0.5, 0.1, (0.5, 0.5))

    def __init__(self, score: float) -> None:
        self.score = score

    def certificate(self, *, is_automated: bool) -> Certificate | None:
        return None if is_automated else Certificate("people", 0.1, 0.01, 0.95, 3000, 20, 0.009)

    def predict(
        self,
        examples: Sequence[Example],
        *,
        max_length: int | None = None,  # noqa: ARG002
    ) -> NDArray[np.float64]:
        return np.full(len(examples), self.score)


class Setting:
    """The API, the first two stages and triage, over whatever broker there is."""

    def __init__(self, client: Client, score: float) -> None:
        self.client, self.model = client, Model(score)
        self.app, self.key = application(), new_key()
        self.app.state.api = Api(
            client, Keys(CONTENT.sealing_key, LOOKUP), self._judge, limit=20_000, domain="clarion.invalid"
        )
        self.http = httpx.AsyncClient(
            transport=httpx.ASGITransport(self.app),
            base_url="http://clarion",
            headers={"Authorization": f"Bearer {self.key.key}"},
        )

    async def enrol(self) -> None:
        await self.client.execute(
            "enroll_principal", id="p", name="Ops", key_hash=self.key.hash, domains=["example.org"], policy={}
        )
        for address in (ADA, BOB):
            await self.client.execute(
                "enroll_recipient",
                lookup=LOOKUP.address(address).hex(),
                address=CONTENT.sealing_key.seal(address.encode()).hex(),
                certificate=None,
                wishes={"not_urgent": "discard"},
                policy={},
            )

    async def decided(self, address: str = ADA) -> tuple[str, dict[str, Any]]:
        """A new mail's id, and its history's entry from the classifier, as GET tells it."""
        answer = await self.http.post("/notify", json=NOTICE | {"to": address})
        id_ = answer.json()["notifications"][0]["id"]
        scorer = Scorer(self.client, self.model, CONTENT, LOOKUP)
        handlers = {
            Stage.AUTHENTICATION: always(Authenticated("api_key")),
            Stage.CLASSIFICATION: Classification(scorer, Personal(self.client, CONTENT, lambda: 1e9)).handle,
            Stage.TRIAGE: Triage(self.client, lambda: 1e9).handle,
        }
        async with working(self.client, handlers):
            found = await self._event(id_, "classification")
            if found["kind"] == "not_urgent":
                await self._event(id_, "triage")
        return id_, found

    async def history(self, id_: str) -> list[dict[str, Any]]:
        return list((await self.http.get(f"/notifications/{id_}")).json()["history"])

    async def _event(self, id_: str, stage: str) -> dict[str, Any]:
        """What the stage did, once it has."""
        while True:
            for event in await self.history(id_):
                if event["stage"] == stage:
                    return event
            await asyncio.sleep(0.01)

    async def react(self, id_: str, kind: str) -> None:
        assert (await self.http.post(f"/notifications/{id_}/feedback", json={"kind": kind})).status_code == 200

    async def offset(self, address: str = ADA) -> float:
        (row,) = await self.client.query("offset", recipient=LOOKUP.address(address).hex())
        return float(row["log_odds"])

    async def _judge(self, _: Sequence[Question], __: bool) -> Sequence[Prediction]:
        raise AssertionError("nobody asks /classify here")


@pytest.fixture
async def setting(client: Client) -> AsyncIterator[Setting]:
    setting = Setting(client, 0.4)
    await setting.enrol()
    yield setting
    await setting.http.aclose()


async def test_a_correction_changes_the_very_next_decision(setting: Setting) -> None:
    """Who says that a mail was urgent gets the next one like it within a second, without any training."""
    id_, before = await setting.decided()
    started = time.monotonic()
    await setting.react(id_, "was_urgent")
    _, after = await setting.decided()
    seconds = time.monotonic() - started
    _, other = await setting.decided(BOB)

    assert [each["kind"] for each in (before, after, other)] == ["not_urgent", "urgent", "not_urgent"]
    assert before["detail"]["prediction"]["offset"] == 0.0
    assert after["detail"]["prediction"]["offset"] == STEPS["was_urgent"]
    assert after["detail"]["prediction"]["score"] == 0.4
    assert seconds < 1.0


async def test_a_needless_alarm_raises_the_threshold(setting: Setting) -> None:
    """Otherwise the recipient learns to ignore alarms, this product's with them."""
    setting.model.score = 0.55
    id_, before = await setting.decided()
    await setting.react(id_, "not_urgent")
    _, after = await setting.decided()

    assert (before["kind"], after["kind"]) == ("urgent", "not_urgent")


async def test_a_reaction_counts_once_however_often_it_comes(setting: Setting) -> None:
    """People click twice, and a client that lost the answer asks again."""
    id_, _ = await setting.decided()
    for _ in range(3):
        await setting.react(id_, "was_urgent")
    await setting.react(id_, "acknowledged")

    assert await setting.offset() == pytest.approx(STEPS["was_urgent"] + STEPS["acknowledged"])


async def test_an_offset_survives_the_broker_and_can_be_reset(setting: Setting, broker: BrokerProcess) -> None:
    """What a person taught must not be lost with a process; what was taught by mistake must not stay."""
    id_, _ = await setting.decided()
    await setting.react(id_, "was_urgent")
    broker.kill()
    broker.start()
    again = await Client.connect(broker.socket)
    lookup = LOOKUP.address(ADA).hex()
    kept = await again.query("offset", recipient=lookup)
    answers = [await again.execute("reset_offset", recipient=lookup) for _ in range(2)]
    left = await again.query("offset", recipient=lookup)
    await again.close()

    assert kept == [{"log_odds": STEPS["was_urgent"]}]
    assert answers == [{"forgotten": True}, {"forgotten": False}]
    assert left == [{"log_odds": 0.0}]


async def test_the_command_line_resets_an_offset(setting: Setting, broker: BrokerProcess, tmp_path: Path) -> None:
    """Whoever runs the service can help a recipient whose threshold has gone astray."""
    id_, _ = await setting.decided()
    await setting.react(id_, "not_urgent")
    for folder in ("run", "keys"):
        (tmp_path / folder).mkdir()
    (tmp_path / "run" / "broker.sock").symlink_to(broker.socket)
    key = base64.b64encode(bytes(range(32))).decode()
    (tmp_path / "keys" / "lookup.key").write_text(f"clarion-1 lookup.key {key}\n")
    said = [await reset(tmp_path, address) for address in ("Ada@Example.net", ADA)]

    assert said == ["forgotten\n", "there was nothing to forget\n"]
    assert await setting.offset() == 0.0


async def reset(home: Path, address: str) -> str:
    """What `clarion recipient reset-offset` prints."""
    command = [sys.executable, "-m", "serving.cli", "recipient", "reset-offset", address]
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, env={**os.environ, "CLARION_HOME": str(home)}
    )
    said, _ = await process.communicate()
    assert process.returncode == 0
    return said.decode()


@pytest.mark.parametrize("kind", ["was_urgent", "not_urgent"])
async def test_no_number_of_reactions_leads_beyond_the_limit(setting: Setting, kind: str) -> None:
    """A recipient, or a sender who reports in their name, must not be able to silence everything, or to ring always."""
    ids = [(await setting.decided())[0] for _ in range(int(LIMIT / abs(STEPS[kind])) + 2)]
    for id_ in ids:
        await setting.react(id_, kind)
    answer = await setting.offset()

    assert answer == (LIMIT if STEPS[kind] > 0 else -LIMIT)


async def test_an_offset_discards_nothing_more_and_a_low_threshold_keeps_more(setting: Setting) -> None:
    """The bound was certified for everybody; a person's taste must not reach it."""
    setting.model.score = 0.12
    kinds = []
    for _ in range(10):
        id_, _ = await setting.decided()
        await setting.react(id_, "not_urgent")
        kinds.append((await setting.history(id_))[3]["kind"])

    assert await setting.offset() == LIMIT
    assert kinds == ["digested"] * 10


async def test_what_is_discarded_prints_its_bound_where_everybody_can_ask(setting: Setting) -> None:
    """Promise 5: discarded within a stated statistical bound, printed on the decision."""
    setting.model.score = 0.02
    id_, _ = await setting.decided()
    (triage,) = [event for event in await setting.history(id_) if event["stage"] == "triage"]

    assert (triage["kind"], triage["next"]) == ("discarded", "discarded")
    assert triage["detail"]["triage"] == {
        "outcome": "discarded",
        "rule": "the recipient's wish; with 95% confidence less than 1% of urgent mail scores at or below 0.1",
        "score": 0.02,
        "threshold": 0.1,
        "bound": 0.01,
    }


async def test_a_reaction_to_what_was_never_judged_moves_nothing(setting: Setting) -> None:
    """Unverified mail goes to the digest unread: it must not teach that it is urgent."""
    answer = await setting.http.post("/notify", json=NOTICE | {"to": ADA})
    await setting.react(answer.json()["notifications"][0]["id"], "was_urgent")

    assert await setting.offset() == 0.0
