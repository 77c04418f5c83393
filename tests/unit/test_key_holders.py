"""Who holds which key (DESIGN, "Keys and plaintext"): what a process is not given, it cannot open."""

import ast
import json
import re
import subprocess
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from serving import programs, wiring
from serving.errors import ConfigurationError
from serving.pipeline import Stage
from serving.queue.client import Client
from serving.sealing import create_keys
from serving.settings import Settings
from serving.wiring import Parts, wire
from training.artefact import STARTER

ROOT = Path(__file__).parents[2]
CONTENT, DELIVERY, LOOKUP = "content.private", "delivery.private", "lookup.key"
HELD = {
    Stage.AUTHENTICATION: {CONTENT, "content.public", LOOKUP},
    Stage.CLASSIFICATION: {CONTENT, LOOKUP},
    Stage.REANALYSIS: {CONTENT, LOOKUP},
    Stage.TRIAGE: set(),
    Stage.DIGEST: {CONTENT, LOOKUP},
    Stage.ENCRYPTION: {CONTENT, LOOKUP, "delivery.public"},
    Stage.PAYMENT: set(),
    Stage.DELIVERY: {DELIVERY, "content.public"},
    Stage.SETTLEMENT: set(),
    Stage.NOTICE: {CONTENT, LOOKUP},
    Stage.ESCALATION: {CONTENT, LOOKUP},
}
"""What each stage cannot start without."""
SIGNING = {Stage.ENCRYPTION: {"signing.private", "smime.private"}, Stage.DELIVERY: {"dkim.private"}}
"""What it signs with, where there is one; none of these opens anything of ours."""
BLIND = [stage for stage, held in HELD.items() if not held]
OPENING = {"serving.sealing", "serving.keyring", "nacl"}
MODULES = {
    "broker": ["serving.queue.broker", "serving.queue.store.postgresql"],
    "payment": ["serving.payment.stage", "serving.payment.policy", "serving.payment.providers"],
    "triage": ["serving.triage"],
    "settlement": ["serving.settlement", "serving.payment.release", "serving.payment.topup"],
}
WATCHED = """
import asyncio, json, sys
from contextlib import AsyncExitStack
from pathlib import Path

from serving.pipeline import Stage
from serving.queue.client import Client
from serving.settings import Settings
from serving.wiring import Parts, wire

home, opened = Path(sys.argv[2]), []

def watch(event, arguments):
    if event in ("open", "os.listdir", "os.scandir") and str(home / "keys") in str(arguments[0]):
        opened.append(Path(str(arguments[0])).name)

async def main():
    async with AsyncExitStack() as resources:
        settings = Settings(home=home, artefact=Path(sys.argv[3]))
        wire(Stage(sys.argv[1]), Parts(settings, Client(home / "socket"), resources))

sys.addaudithook(watch)
asyncio.run(main())
print(json.dumps(sorted(set(opened))))
"""


def loaded_after(names: list[str]) -> set[str]:
    """What a fresh process has in sys.modules once it has imported these."""
    code = (
        "import importlib, json, sys; [*map(importlib.import_module, sys.argv[1:])]; print(json.dumps([*sys.modules]))"
    )
    process = subprocess.run([sys.executable, "-c", code, *names], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(json.loads(process.stdout.splitlines()[-1]))


def calls_of(stage: Stage) -> set[str]:
    """The names that the stage's builder in `wiring` calls."""
    tree = ast.parse(Path(wiring.__file__).read_text(encoding="utf-8"))
    (builder,) = (node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == f"_{stage.value}")
    return {
        node.func.id for node in ast.walk(builder) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }


@pytest.mark.parametrize("process", sorted(MODULES))
def test_the_code_that_sees_no_plaintext_cannot_open_any(process: str) -> None:
    """Broker and payment would have to import what opens blobs before a mistake of theirs could leak one."""
    assert loaded_after(MODULES[process]) & OPENING == set()


def test_a_module_that_opens_is_found_where_it_is_imported() -> None:
    """The test above would be worth nothing if it could not fail."""
    assert loaded_after(["serving.delivery.stage"]) & OPENING == {"serving.sealing", "nacl"}
    assert loaded_after(["serving.worker"]) >= OPENING


OPENS = re.compile(r"\bload_unsealing\(|\bKeyring\(|\bUnsealingKey\([^)]|\bprivate_keys\(")
"""Every way to a private key; a class that inherits or a type that is named is none."""


def test_nobody_but_wiring_and_the_command_line_loads_a_private_key() -> None:
    """A further place that opens the key files is a further place to be checked."""
    sources = {path: path.read_text(encoding="utf-8") for path in (ROOT / "serving").rglob("*.py")}
    users = {str(path.relative_to(ROOT / "serving")) for path, text in sources.items() if OPENS.search(text)}

    assert users == {
        "certificates_cli.py", "escalation_cli.py", "fetch_cli.py", "keyring.py", "keys_cli.py", "rotation.py",
        "wiring.py", "wishes_cli.py",
    }  # fmt: skip


@pytest.mark.parametrize("stage", BLIND)
def test_wiring_hands_no_key_to_who_needs_none(stage: Stage) -> None:
    """All keys are handed out in one file; this is what it says."""
    assert {name for name in calls_of(stage) if name.startswith("load_")} == set()


@pytest.mark.parametrize("stage", list(Stage))
def test_a_stage_opens_the_key_files_that_are_its_own_and_no_other(stage: Stage, tmp_path: Path) -> None:
    """Seen from the operating system's side: every file that the process opens while it is wired."""
    create_keys(tmp_path / "keys")
    command = [sys.executable, "-c", WATCHED, stage.value, str(tmp_path), str(STARTER)]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    opened = {
        name for name in json.loads(process.stdout.splitlines()[-1]) if name.endswith((".key", ".private", ".public"))
    }

    assert opened - SIGNING.get(stage, set()) == HELD[stage]


@pytest.mark.parametrize("stage", list(Stage))
async def test_a_stage_starts_with_its_own_keys_and_without_every_other(stage: Stage, tmp_path: Path) -> None:
    """So that each can be given a folder of its own: one that holds nothing else."""
    create_keys(tmp_path / "keys")
    for path in (tmp_path / "keys").iterdir():
        if path.name not in HELD[stage]:
            path.unlink()
    settings = Settings(home=tmp_path, artefact=STARTER)
    async with AsyncExitStack() as resources:
        wire(stage, Parts(settings, Client(tmp_path / "socket"), resources))

    for name in HELD[stage]:
        (tmp_path / "keys" / name).rename(tmp_path / "aside")
        async with AsyncExitStack() as resources:
            with pytest.raises(ConfigurationError, match=name):
                wire(stage, Parts(settings, Client(tmp_path / "socket"), resources))
        (tmp_path / "aside").rename(tmp_path / "keys" / name)


def test_the_broker_is_not_told_where_keys_are(tmp_path: Path) -> None:
    """Its arguments and its environment name the store, the socket and the table."""
    settings = Settings(home=tmp_path, key_folder=tmp_path / "secrets", database="postgresql://db.example/clarion")
    program = programs.broker(settings)

    assert "secrets" not in str(program)
    assert "secrets" in str(programs.gateway(settings, tmp_path).environment["CLARION_KEY_FOLDER"])
