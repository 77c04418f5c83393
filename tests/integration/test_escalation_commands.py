"""`clarion recipient escalate` against a real broker: a chain is checked, sealed, shown without secrets, cleared."""

import asyncio
import json
from pathlib import Path

import pytest

from serving.encryption.certificates import generate_test_key
from serving.escalation.chain import Chain, Person, Push, Step, read_chain
from serving.keyring import load_unsealing
from serving.queue.client import Client
from serving.sealing import load_lookup
from tests.conftest import BrokerProcess
from tests.integration.terminal import complaint, said, settle

ADA, GRACE, HEDY = "ada@ops.example", "grace@ops.example", "hedy@ops.example"
TOKEN = "token-4711"
URL = f"ntfys://alarms.example/{TOKEN}"


@pytest.fixture
def home(broker: BrokerProcess, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home whose broker is that one."""
    home = settle(broker, monkeypatch)
    (home / "grace.asc").write_text(generate_test_key(GRACE, "Grace")[0])
    return home


def escalate(*words: str) -> tuple[str, ...]:
    return ("recipient", "escalate", ADA, *words)


async def test_a_chain_is_written_shown_and_taken_away(home: Path, client: Client) -> None:
    """What is shown names people and schemes; what is stored names nothing at all."""
    ada = load_lookup(home / "keys").address(ADA).hex()

    def write() -> None:
        said("recipient", "add", ADA, "--open")
        said("recipient", "add", GRACE, "--certificate", str(home / "grace.asc"))
        assert json.loads(said(*escalate("--json"))) == []
        shown = said(
            *escalate("--after", "10m", "--to", f"mail:{GRACE}", "--to", f"apprise:{URL}", "--rounds", "2", "--json")
        )
        assert shown == said(*escalate("--json"))
        assert json.loads(shown) == [
            {"step": 1, "after": "10 min", "to": f"mail:{GRACE}", "rounds": 2},
            {"step": 2, "after": "10 min", "to": "apprise:ntfys://…", "rounds": 2},
        ]
        stored = b"".join(path.read_bytes() for path in home.glob("clarion.sqlite3*"))
        assert not [word for word in (TOKEN, GRACE, "ntfys") if word.encode() in stored]

    await asyncio.to_thread(write)
    ((row,), (person,)) = await client.query("escalation", lookup=ada), await client.query("recipient", lookup=ada)
    chain = read_chain(load_unsealing(home / "keys", "content").unseal(bytes.fromhex(row["chain"])))
    await asyncio.to_thread(lambda: said(*escalate("--clear")))

    assert chain == Chain((Step(600.0, Person(GRACE)), Step(600.0, Push(URL))), 2)
    assert person["escalates"]
    assert await client.query("escalation", lookup=ada) == []
    assert not (await client.query("recipient", lookup=ada))[0]["escalates"]


@pytest.mark.usefixtures("home")
async def test_each_step_may_have_a_time_of_its_own() -> None:
    """In the order of the steps."""

    def work() -> None:
        said("recipient", "add", ADA, "--open")
        said("recipient", "add", GRACE, "--open")
        said("recipient", "add", HEDY, "--open")
        steps = ("--to", f"mail:{GRACE}", "--to", f"mail:{HEDY}")
        rows = json.loads(said(*escalate("--after", "90s", *steps, "--after", "2h", "--json")))
        assert [row["after"] for row in rows] == ["1 min 30 s", "2 h"]

    await asyncio.to_thread(work)


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--to", f"mail:{GRACE}"), "give --after once"),
        (("--after", "1m", "--after", "2m", "--to", f"mail:{GRACE}"), "give --after once"),
        (("--after", "soon", "--to", f"mail:{GRACE}"), "--after takes a time"),
        (("--after", "8d", "--to", f"mail:{GRACE}"), "--after takes a time"),
        (("--after", "0s", "--to", f"mail:{GRACE}"), "--after takes a time"),
        (("--after", "1m", "--to", GRACE), "--to takes mail:ADDRESS or apprise:URL"),
        (("--after", "1m", "--to", "mail:nobody"), "--to takes mail:ADDRESS or apprise:URL"),
        (("--after", "1m", "--to", "mail:stranger@ops.example"), "nobody is registered under an address of --to"),
        (("--after", "1m", "--to", f"mail:{HEDY}"), "neither a certificate nor --open"),
        (("--after", "1m", "--to", "mail:ADA@ops.example"), "the recipient's own address"),
        (("--after", "1m", "--to", f"apprise:file:///{TOKEN}"), "file:// is not allowed"),
        (("--after", "1m", "--to", f"apprise:pover://{TOKEN}"), "Apprise cannot read that pover:// URL"),
        (("--clear", "--to", f"mail:{GRACE}"), "--clear takes no --to"),
        (("--after", "1m", *(("--to", f"mail:{GRACE}") * 11)), "at most 10 steps"),
    ],
)
async def test_a_chain_that_would_reach_nobody_is_refused(words: tuple[str, ...], reason: str) -> None:
    """It would be noticed on the day that counts; and no complaint repeats a token or an address."""

    def work() -> None:
        said("recipient", "add", ADA, "--open")
        said("recipient", "add", GRACE, "--open")
        said("recipient", "add", HEDY)
        told = complaint(*escalate(*words))
        assert reason in told
        assert not [word for word in (TOKEN, GRACE, HEDY) if word in told]
        assert json.loads(said(*escalate("--json"))) == []

    await asyncio.to_thread(work)


@pytest.mark.usefixtures("home")
async def test_nobody_has_a_chain_who_is_not_registered() -> None:
    """Urgent mail is watched for enrolled recipients."""

    def work() -> None:
        said("recipient", "add", GRACE, "--open")
        for words in (("--after", "1m", "--to", f"mail:{GRACE}"), (), ("--clear",)):
            assert "see `clarion recipient add`" in complaint(*escalate(*words))

    await asyncio.to_thread(work)
