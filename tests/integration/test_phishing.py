"""Mail that sounds urgent from a sender whom nothing proves: over a real broker, none of it finds a way to urgent."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import assert_never

import pyarrow.parquet as parquet
import pytest

from serving.authentication.api_keys import new_key
from serving.authentication.mail_sender import sender_domain
from serving.authentication.relayed import RelayedMail
from serving.authentication.resolver import RecordKind
from serving.authentication.stage import Authentication
from serving.pipeline import TABLE, Deferred, Destination, End, Parked, Stage, Urgent, kind
from serving.queue.client import Client
from serving.sealing import UnsealingKey
from serving.trace import Trace, stamp
from serving.values import Prediction
from tests.integration.peers import submission
from tests.integration.stages import always, working

Eventually = Callable[..., Awaitable[None]]
History = list[str]
CONTENT = UnsealingKey(b"\x11" * 32)
INVENTED = Path(__file__).parent.parent / "model" / "phishing.jsonl"
SPAM = frozenset({"spam-1", "spam-2"})
OURS = "orchard-press.example"
CAME = Trace("203.0.113.9", "mx.spam.example", "bounce@spam.example")
URGENT = frozenset({"classification.urgent", "reanalysis.urgent", "reanalysis.failed_open"})
EDGES: Mapping[str, Destination] = {
    f"{stage}.{kind(outcome)}": to for stage, edges in TABLE.items() for outcome, to in edges.items()
}

pytestmark = pytest.mark.timeout(500)

unproven = pytest.mark.parametrize(
    ("scope", "is_owned"),
    [([], False), ([OURS], False), ([OURS], True)],
    ids=["no key", "a key for another domain", "a key for another domain and From is somebody's"],
)


@unproven
async def test_no_invented_phishing_is_promoted(
    client: Client, eventually: Eventually, scope: list[str], is_owned: bool
) -> None:
    """Promise 6, against a classifier that calls everything urgent: the words must never get as far as being judged."""
    mails = invented()
    await enrol(client, scope, owned=domains(mails) if is_owned else [])
    histories = await sent(client, eventually, mails)

    assert len(histories) == 500
    assert [history for history in histories if is_promoted(history)] == []
    assert {*map(tuple, histories)} == {("authentication.forged" if is_owned else "authentication.unverified",)}


@unproven
@pytest.mark.real_mail
@pytest.mark.slow
async def test_no_real_spam_is_promoted(
    client: Client, eventually: Eventually, real_mail: Path, scope: list[str], is_owned: bool
) -> None:
    """Real spam lies in its headers as nobody would invent it; that must not help it either."""
    mails = spam(real_mail)
    await enrol(client, scope, owned=domains(mails) if is_owned else [])
    histories = await sent(client, eventually, mails)
    ends = Counter(map(tuple, histories))

    assert len(histories) == 1896
    assert [history for history in histories if is_promoted(history)] == []
    assert {*ends} <= {("authentication.forged",), ("authentication.unverified",)}
    assert (ends[("authentication.forged",)] > 1500) == is_owned


@pytest.mark.real_mail
@pytest.mark.slow
@pytest.mark.parametrize("policy", ["", "v=DMARC1; p=none", "v=DMARC1; p=reject"])
async def test_no_real_spam_that_is_relayed_without_proof_is_promoted(
    client: Client, eventually: Eventually, real_mail: Path, policy: str
) -> None:
    """A relay hands on whatever comes: old signatures without a key, and names of domains that send from elsewhere."""
    mails = [stamp(CAME, "gate.example", datetime.now(UTC)) + mail for mail in spam(real_mail)]
    await enrol(client, ["relay.example"], owned=[], relays=True)
    histories = await sent(client, eventually, mails, Elsewhere(policy))
    ends = Counter(map(tuple, histories))

    assert len(histories) == 1896
    assert [history for history in histories if is_promoted(history)] == []
    assert {*ends} <= {("authentication.forged",), ("authentication.unverified",)}
    assert (ends[("authentication.forged",)] > 1500) == ("reject" in policy)


async def test_the_same_mail_from_whoever_owns_the_domain_is_judged(client: Client, eventually: Eventually) -> None:
    """Otherwise the tests above would pass on a pipeline that promotes nothing, or on mail that nobody can read."""
    mails = invented()
    await enrol(client, domains(mails), owned=[])
    histories = await sent(client, eventually, mails)

    assert {*map(tuple, histories)} == {("authentication.authenticated", "classification.urgent")}
    assert sum(map(is_promoted, histories)) == 500


@pytest.mark.parametrize("outcome", ["authentication.unverified", "authentication.forged"])
def test_no_way_leads_from_an_unproven_sender_to_urgent(outcome: str) -> None:
    """Not even by waiting, by a digest, or by a human who wakes what is parked."""
    assert not ahead(outcome) & URGENT


def test_every_urgent_outcome_is_one_that_the_table_knows_and_can_reach() -> None:
    """A renamed outcome would leave the tests above looking for something that never comes."""
    assert ahead("authentication.authenticated") >= URGENT


def invented() -> list[bytes]:
    """The mails written for this test, in five languages; no brand, person or domain in them exists."""
    lines = INVENTED.read_text(encoding="utf-8").splitlines()
    return [
        f"From: {mail['from']}\r\nTo: ann@home.example\r\nSubject: {mail['subject']}\r\n\r\n{mail['body']}\r\n".encode()
        for mail in map(json.loads, lines)
    ]


def spam(folder: Path) -> list[bytes]:
    """The spam of the SpamAssassin corpus, as it came."""
    rows = parquet.read_table(folder / "hostile" / "spamassassin_raw.parquet", columns=["group", "raw"]).to_pylist()
    return [row["raw"] for row in rows if row["group"] in SPAM]


def domains(mails: Iterable[bytes]) -> list[str]:
    """Every domain that a From claims, once."""
    return sorted({domain for domain in map(sender_domain, mails) if isinstance(domain, str)})


@dataclass(frozen=True)
class Elsewhere:
    """A DNS in which every domain sends from one address, has no key any more, and this policy."""

    policy: str

    async def records(self, name: str, kind: RecordKind, /) -> tuple[str, ...]:
        if kind is not RecordKind.TXT or "_domainkey" in name:
            return ()
        if name.startswith("_dmarc."):
            return (self.policy,) if self.policy else ()
        return ("v=spf1 ip4:198.51.100.1 -all",)


async def enrol(client: Client, scope: Sequence[str], owned: Sequence[str], *, relays: bool = False) -> None:
    """A key for whoever sends, unless the scope is empty, and another principal for the owned domains."""
    for principal, scopes in (("sender", scope), ("owner", owned)):
        if scopes:
            key = new_key().hash
            await client.execute(
                "enroll_principal",
                id=principal,
                name=principal,
                key_hash=key,
                domains=scopes,
                policy={"relays": relays},
            )


async def sent(
    client: Client, eventually: Eventually, mails: Sequence[bytes], resolver: Elsewhere = Elsewhere("")
) -> list[History]:
    """What the real authentication, and after it a classifier that finds everything urgent, made of each mail."""
    urgent = Urgent(Prediction("urgent", 0.999, None, False, "eager"), None)
    relayed = RelayedMail(resolver, CONTENT.sealing_key, authserv_id="gate.example", clock=time.time)
    authentication = Authentication(client, CONTENT, relayed)
    stages = {Stage.AUTHENTICATION: authentication.handle, Stage.CLASSIFICATION: always(urgent)}
    async with working(client, stages):
        bodies = (CONTENT.sealing_key.seal(mail) for mail in mails)
        accepted = await asyncio.gather(*(client.accept(submission(body=body)) for body in bodies))
        await eventually(lambda: is_idle(client, stages), within=400.0)
    return [await history(client, each.notification_ids[0]) for each in accepted]


async def is_idle(client: Client, stages: Iterable[Stage]) -> bool:
    """Whether nothing is left to do at these stages."""
    depths = await client.query("depths")
    return not any(depth["stage"] in {*stages} and depth["state"] not in {*End} for depth in depths)


async def history(client: Client, id_: int) -> History:
    """The notification's outcomes in the queue's own words, e.g. `classification.urgent`."""
    events = await client.query("events", id=str(id_))
    return [name for name in (f"{event['stage']}.{event['kind']}" for event in events) if name in EDGES]


def is_promoted(outcomes: History) -> bool:
    """Whether it became urgent, or still can."""
    return bool(URGENT & {*outcomes} or URGENT & ahead(outcomes[-1]))


def ahead(outcome: str) -> frozenset[str]:
    """All that can follow an outcome by the table, also where somebody would first have to wake it."""
    found: set[str] = set()
    destinations = [EDGES[outcome]]
    while destinations:
        match destinations.pop():
            case (Stage() as stage) | Parked(stage) | Deferred(stage):
                fresh = {f"{stage}.{kind(each)}" for each in TABLE[stage]} - found
                found |= fresh
                destinations += [EDGES[name] for name in fresh]
            case End():
                pass
            case never:
                assert_never(never)
    return frozenset(found)
