"""A bad day of the receivers, in simulated time: down, flapping, greylisting, slow, and losing the 250."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session
from nacl.public import PrivateKey

from serving.delivery import lanes
from serving.delivery.exchangers import Exchangers
from serving.delivery.names import Exchanger
from serving.delivery.stage import Delivery
from serving.effects import hop_of
from serving.errors import Temporary
from serving.pipeline import Sent, Undeliverable
from serving.queue.store import hops
from serving.queue.store.hops import Claimed, LeaseName
from serving.sealing import UnsealingKey
from serving.stage import Work
from tests.integration.peers import OWNER, Store
from tests.integration.receivers import greeted

KEY = UnsealingKey(bytes(PrivateKey.generate()))
DAY, GREY, FLAP = 86_400.0, 300.0, 600.0
DOMAINS = ("fine.example", "down.example", "flaps.example", "grey.example", "slow.example", "lossy.example")
MAILS = 50
HERE, NOWHERE = "127.0.0.1", "127.0.0.77"


@dataclass
class World:
    """The receivers of all domains behind one server, at the simulated time `now` (seconds since `begin`'s epoch)."""

    seed: int
    pipelines: bool
    begin: float = 1_000_000.0
    now: float = 1_000_000.0
    kept: dict[str, list[tuple[float, bytes]]] = field(default_factory=dict)
    lost: Counter[str] = field(default_factory=Counter)
    tuples: dict[tuple[str, str], float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.random = Random(self.seed)  # noqa: S311

    def is_up(self, domain: str) -> bool:
        passed = self.now - self.begin
        if domain == "down.example":
            return passed >= DAY
        return domain != "flaps.example" or (passed // FLAP + self.seed) % 3 == 0

    async def exchangers(self, domain: str, /) -> tuple[Exchanger, ...]:
        return (Exchanger(10, f"mx.{domain}"),)

    async def addresses(self, host: str, /) -> tuple[str, ...]:
        return (HERE if self.is_up(host.removeprefix("mx.")) else NOWHERE,)

    async def handle_EHLO(
        self, _: SMTP, session: Session, __: Envelope, hostname: str, replies: list[str]
    ) -> list[str]:
        return greeted(session, hostname, replies, pipelines=self.pipelines)

    async def handle_RCPT(self, server: SMTP, _: Session, envelope: Envelope, address: str, __: list[str]) -> str:
        domain = address.rpartition("@")[2]
        if not self.is_up(domain):
            break_off(server)
        first = self.tuples.setdefault((envelope.mail_from or "", address), self.now)
        if domain == "grey.example" and self.now - first < GREY:
            return "450 4.2.0 greylisted, come again"
        if domain == "slow.example":
            self.now += self.random.uniform(0.0, 3 * lanes.SLOW)
            await asyncio.sleep(0)
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 ok"

    async def handle_DATA(self, server: SMTP, _: Session, envelope: Envelope) -> str:
        assert isinstance(envelope.content, bytes)
        name = envelope.content.partition(b"Message-ID: ")[2].partition(b"\r\n")[0].decode()
        self.kept.setdefault(name, []).append((self.now, envelope.content))
        if envelope.rcpt_tos[0].endswith("@lossy.example") and self.random.random() < 0.6:
            self.lost[name] += 1
            break_off(server)
        return "250 2.0.0 kept"


def break_off(server: SMTP) -> None:
    """The connection is gone, whatever is said afterwards."""
    assert server.transport is not None
    server.transport.abort()  # type: ignore[attr-defined]


@asynccontextmanager
async def listening(world: World) -> AsyncIterator[int]:
    loop = asyncio.get_running_loop()
    sessions: list[SMTP] = []

    def session() -> SMTP:
        sessions.append(SMTP(world, hostname="receiver.example", loop=loop))
        return sessions[-1]

    server = await loop.create_server(session, HERE, 0)
    yield server.sockets[0].getsockname()[1]
    server.close()
    for each in sessions:
        if each.transport:
            each.transport.close()
    await asyncio.sleep(0)


class Stage:
    """The delivery stage over the real store, at the world's time: what `serving.stage` does with a lease."""

    def __init__(self, store: Store, world: World, delivery: Delivery) -> None:
        self._store, self._world, self._delivery = store, world, delivery
        self.outcomes: dict[int, Sent | Undeliverable] = {}
        self.retries: Counter[int] = Counter()

    async def run(self) -> None:
        """Until nothing is left to deliver; time passes when nothing is due."""
        while True:
            claimed = self._do(lambda t: hops.claim(t, "delivery", 16, OWNER, 9 * DAY))
            if claimed:
                await asyncio.gather(*map(self._work, claimed))
                continue
            due = self._store.sql("SELECT min(available_at) AS at FROM notification WHERE stage = 'delivery'")[0]["at"]
            if due is None:
                return
            self._world.now = max(self._world.now, due)

    async def _work(self, claimed: Claimed) -> None:
        name = LeaseName(claimed.row["id"], claimed.row["fence"], OWNER)
        work = self._opened(claimed, name)
        try:
            outcome = await self._delivery.handle(work)
        except Temporary as temporary:
            self.retries[name.id] += 1
            delay = temporary.retry_after or 0.0
            self._do(partial(hops.retry, name=name, delay=delay, cause=str(temporary)))
            return
        self.outcomes[name.id] = outcome
        kind = "sent" if isinstance(outcome, Sent) else "undeliverable"
        facts = dict(hop_of(outcome, name.id, work.recipient, work.facts).facts)
        self._do(partial(hops.complete, name=name, outcome=kind, pending=hops.Pending(facts=facts), until=None))

    def _opened(self, claimed: Claimed, name: LeaseName) -> Work:
        row = claimed.row

        async def note(kind: str, facts: Mapping[str, Any]) -> None:
            self._do(partial(hops.note, name=name, kind=kind, facts=facts))

        return Work(
            id=row["id"],
            message_id=row["message"],
            ordinal=row["ordinal"],
            attempt=row["attempt"],
            recipient=row["recipient"],
            address=row["address"],
            principal=claimed.principal,
            facts=json.loads(row["facts"]),
            body=claimed.body,
            accepted_at=row["accepted_at"],
            note=note,
        )

    def _do(self, verb: Any) -> Any:
        self._store.now = self._world.now
        return self._store.do(verb)


def fill(store: Store) -> dict[str, list[int]]:
    """The notifications of each domain, mixed in the queue."""
    ids: dict[str, list[int]] = {domain: [] for domain in DOMAINS}
    for number in range(MAILS):
        for domain in DOMAINS:
            (id_,) = store.accept().notifications
            head = {"mail_from": f"a{number}@b.example", "rcpt_to": f"r{number}@{domain}", "message_id": f"<{id_}@x>"}
            mail = f"Message-ID: <{id_}@x>\r\nSubject: {domain}\r\n\r\n.\r\nx\r\n".encode()
            body = KEY.sealing_key.seal(json.dumps(head).encode() + b"\n" + mail)
            store.do(partial(_enclose, id_=id_, body=body))
            ids[domain].append(id_)
    store.sql("UPDATE notification SET stage = 'delivery'")
    return ids


def _enclose(transaction: Any, id_: int, body: bytes) -> None:
    transaction.run("insert_envelope", id=id_, body=body)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(("seed", "pipelines"), [(1, False), (2, False), (1, True), (3, True)])
async def test_a_bad_day_loses_nothing_and_doubles_nothing_but_where_the_250_was_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int, pipelines: bool
) -> None:
    """All arrives; a lost 250 brings the same mail again, under the same Message-ID, and nothing else does."""
    monkeypatch.setattr(lanes, "PATIENCE", 0.01)
    world, store = World(seed, pipelines), Store(tmp_path / "store")
    store.sql("PRAGMA synchronous = OFF")  # no power is cut here
    ids = fill(store)
    async with listening(world) as port:
        chance = Random(seed)  # noqa: S311
        routes = Exchangers("clarion.example", world, chance, port=port, is_alone=False)
        delivery = Delivery(
            KEY,
            routes,
            expiry=5 * DAY,
            random=chance,
            timeout=5.0,
            data_timeout=5.0,
            clock=lambda: world.now,
            monotonic=lambda: world.now,
        )
        stage = Stage(store, world, delivery)
        await stage.run()
        await delivery.close()
    states = {row["stage"] for row in store.sql("SELECT stage FROM notification")}
    store.close()
    copies = {domain: [world.kept[f"<{id_}@x>"] for id_ in ids[domain]] for domain in DOMAINS}
    last = {domain: max(each[-1][0] for each in copies[domain]) - world.begin for domain in DOMAINS}

    assert len(stage.outcomes) == len(DOMAINS) * MAILS == sum(map(len, ids.values()))
    assert all(isinstance(outcome, Sent) for outcome in stage.outcomes.values())
    assert states == {"settlement"}
    for domain in DOMAINS:
        for id_, kept in zip(ids[domain], copies[domain], strict=True):
            assert len(kept) == 1 + world.lost[f"<{id_}@x>"]
            assert len({content for _, content in kept}) == 1
    assert set(world.lost) <= {f"<{id_}@x>" for id_ in ids["lossy.example"]}
    assert sum(world.lost.values()) > MAILS / 2
    assert DAY <= last["down.example"] <= DAY + 3600 + lanes.LONGEST
    assert GREY <= last["grey.example"] <= 4 * GREY
    assert last["fine.example"] < 60 * MAILS
    assert all(stage.retries[id_] >= 1 for id_ in ids["grey.example"])
    assert max(stage.retries.values()) < 100
