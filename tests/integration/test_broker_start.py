"""Where a broker does not start it says why in one line; who has no rights gets none; a full disk passes."""

import asyncio
import json
import os
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from serving.errors import BrokerUnavailable, ProtocolError, Refused
from serving.insisting import insist
from serving.queue.client import Accepted, Client
from serving.queue.store.sqlite import SQLite
from serving.topology import topology
from tests.conftest import BrokerProcess
from tests.integration.peers import Raw, Store, submission

NOBODY, STRANGER = 65534, 65533
as_root = pytest.mark.skipif(os.getuid() != 0, reason="needs root to act as another uid")


def start(home: Path, **arguments: Path) -> "subprocess.Popen[str]":
    """A broker with these arguments besides its defaults."""
    topology().write(home / "topology.json")
    defaults = {"socket": home / "s", "store": home / "store", "topology": home / "topology.json"}
    words = [word for name, path in {**defaults, **arguments}.items() for word in (f"--{name}", str(path))]
    return subprocess.Popen([sys.executable, "-m", "serving.queue.broker", *words], stderr=subprocess.PIPE, text=True)


def complaint(home: Path, **arguments: Path) -> tuple[int, str]:
    """The exit status and what it says; it must not start."""
    process = start(home, **arguments)
    _, said = process.communicate(timeout=20)
    return process.returncode, said


def test_a_second_broker_on_the_same_socket_does_not_start(broker: BrokerProcess, tmp_path: Path) -> None:
    """It would take the first one's clients, and leave its mail behind."""
    wait_for(broker.socket)
    status, said = complaint(tmp_path, socket=broker.socket)

    assert (status, said.count("\n")) == (2, 1)
    assert "a broker answers" in said


def test_a_second_broker_on_the_same_store_does_not_start(broker: BrokerProcess, tmp_path: Path) -> None:
    """Two would lease the same mail."""
    wait_for(broker.socket)
    status, said = complaint(tmp_path, store=broker.store)

    assert status == 2
    assert "another broker has this store open" in said


def test_a_broker_that_is_told_of_other_books_does_not_start(tmp_path: Path) -> None:
    """The settings reach it as its arguments."""
    store = Store(tmp_path / "store")
    store.fund(5)
    store.close()
    status, said = complaint(tmp_path, currency=Path("USD"), provider=Path("test"))

    assert (status, said.count("\n")) == (2, 1)
    assert "the books are in EUR" in said


def test_a_broker_that_ends_leaves_no_socket(broker: BrokerProcess) -> None:
    """A dead socket in the folder looks like a broker that hangs."""
    wait_for(broker.socket)
    broker.stop()

    assert not broker.socket.exists()


def test_a_store_of_a_newer_release_is_left_alone(tmp_path: Path) -> None:
    """One line, with the way out."""
    connection = SQLite.open(tmp_path / "store").connection
    connection.execute("UPDATE schema_version SET version_num = '99'")
    connection.close()
    status, said = complaint(tmp_path)

    assert (status, said.count("\n")) == (2, 1)
    assert "use the matching release" in said


def test_a_file_where_the_socket_should_be_is_not_deleted(tmp_path: Path) -> None:
    """A wrong argument must not cost somebody's file."""
    (tmp_path / "precious").write_text("precious")
    status, said = complaint(tmp_path, socket=tmp_path / "precious")

    assert status == 2
    assert "no socket" in said
    assert (tmp_path / "precious").read_text() == "precious"


@pytest.mark.parametrize("argument", ["topology", "policy"])
def test_a_file_that_is_not_what_it_should_be_is_named(tmp_path: Path, argument: str) -> None:
    """Whoever mistyped a path sees which."""
    (tmp_path / "wrong.json").write_text("{}")
    status, said = complaint(tmp_path, **{argument: tmp_path / "wrong.json"})

    assert status == 2
    assert "wrong.json" in said


def test_a_path_too_long_for_a_socket_is_said(tmp_path: Path) -> None:
    """Unix sockets end at 107 octets."""
    status, said = complaint(tmp_path, socket=tmp_path / ("x" * 120))

    assert status == 2
    assert "too long" in said


@as_root
def test_a_store_that_cannot_be_written_is_found_at_the_start(tmp_path: Path) -> None:
    """Found at the first mail, that mail would be refused."""
    SQLite.open(tmp_path / "store").connection.close()
    (tmp_path / "store").chmod(0o444)
    tmp_path.chmod(0o777)
    status = as_uid(NOBODY, lambda: cannot_open(tmp_path / "store"), reachable=tmp_path)

    assert status == "cannot be opened"


def cannot_open(path: Path) -> str:
    try:
        SQLite.open(path)
    except Exception as error:
        return "cannot be opened" if "cannot be opened" in str(error) else repr(error)
    return "opened"


@pytest.fixture
def policed(tmp_path: Path) -> Iterator[Path]:
    """The socket of a broker that lets uid 65534 work for triage and ask for depths, and nothing else."""
    peers = [
        {"uid": os.getuid(), "publish": True, "consume": ["*"], "directory": ["*"]},
        {"uid": NOBODY, "consume": ["triage"], "directory": ["depths"]},
    ]
    (tmp_path / "policy.json").write_text(json.dumps({"peers": peers}))
    process = start(tmp_path, policy=tmp_path / "policy.json")
    wait_for(tmp_path / "s")
    yield tmp_path / "s"
    process.terminate()
    process.communicate(timeout=20)


@as_root
def test_another_uid_may_do_what_the_policy_says_and_nothing_else(policed: Path) -> None:
    """A stage that is broken into must not read other stages' mail, nor move money."""

    def attempt() -> str:
        raw = Raw(policed).bind().make("producer", 4).make("directory", 7)
        raw.send(4, "recipient", bytes(32), b"a")
        raw.send(4, "accept", 1, 1, "sender", None, b"", b"{}", b"body")
        rejected = raw.wait("rejected")[1]
        raw.send(7, "ask", 1, "depths", b"{}")
        answered = raw.wait("answer")[1]
        raw.send(7, "ask", 2, "balance", b'{"account":"revenue"}')
        refused = raw.wait("refused")[1]
        return f"{rejected} {answered.decode()} {refused}"

    def open_stages() -> str:
        return " ".join(stage for stage in ("triage", "payment", "delivery") if not is_closed(policed, stage))

    assert as_uid(NOBODY, attempt, reachable=policed.parent) == "0 [] 0"
    assert as_uid(NOBODY, open_stages, reachable=policed.parent) == "triage"


def is_closed(path: Path, stage: str) -> bool:
    raw = Raw(path).bind().make("consumer", 5, stage, 1000).make("directory", 6)
    raw.send(6, "ask", 1, "depths", b"{}")
    raw.wait("answer")
    return "closed" in raw.seen


@as_root
def test_a_uid_without_rights_is_turned_away_with_the_reason(policed: Path) -> None:
    """It learns whom to ask, and nothing else."""

    def attempt() -> str:
        raw = Raw(policed)
        error = raw.wait("error")
        raw.wait_over()
        return str(error[2])

    assert "may do nothing here" in as_uid(STRANGER, attempt, reachable=policed.parent)


@as_root
def test_without_a_policy_no_other_uid_reaches_the_socket(broker: BrokerProcess) -> None:
    """The socket's own rights come before ours."""
    wait_for(broker.socket)

    def attempt() -> str:
        try:
            socket.socket(socket.AF_UNIX, socket.SOCK_STREAM).connect(str(broker.socket))
        except PermissionError:
            return "no permission"
        return "connected"

    assert as_uid(NOBODY, attempt, reachable=broker.socket.parent) == "no permission"


async def test_a_full_disk_refuses_mail_keeps_what_was_accepted_and_passes(
    broker: BrokerProcess, client: Client
) -> None:
    """RLIMIT_FSIZE stands in for the disk. A lease runs out meanwhile: that is the broker's own write."""
    assert broker.process is not None
    accepted = [await client.accept(submission(body=bytes(3000))) for _ in range(5)]
    raw = Raw(broker.socket).bind().make("consumer", 4, "authentication", 1500)
    raw.send(4, "grant", 1)
    await asyncio.to_thread(raw.wait, "lease")
    largest = max(path.stat().st_size for path in broker.store.parent.glob("clarion.sqlite3*"))
    resource.prlimit(broker.process.pid, resource.RLIMIT_FSIZE, (largest + 50_000, resource.RLIM_INFINITY))
    with pytest.raises(Refused, match="storage"):
        await accept_until_refused(client, accepted, 3000)
    with pytest.raises(Refused, match="storage"):
        await accept_until_refused(client, accepted, 0)
    await asyncio.sleep(2.2)
    ids = [str(each.notification_ids[0]) for each in accepted[:5]]
    rows = [await insist(partial(client.query, "notification", id=id_)) for id_ in ids]  # they may share its commit
    resource.prlimit(broker.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    after = await client.accept(submission())
    await asyncio.to_thread(raw.wait, "revoked")
    raw.close()
    (depth,) = await client.query("depths")

    assert all(rows)
    assert depth["count"] == len(accepted) + 1
    assert after.notification_ids


async def accept_until_refused(client: Client, accepted: list[Accepted], size: int) -> None:
    for _ in range(3000):
        accepted.append(await client.accept(submission(body=bytes(size))))


def wait_for(path: Path) -> None:
    """Until a broker answers there."""
    for _ in range(200):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            if probe.connect_ex(str(path)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError("no broker came up")


def as_uid(uid: int, act: Callable[[], str], *, reachable: Path) -> str:
    """What `act` answers in a child process of that uid. `reachable` and what lies above it are opened for it."""
    for folder in (reachable, *reachable.parents[:-2]):
        folder.chmod(folder.stat().st_mode | 0o055)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(uid)
            os.setuid(uid)
            answer = act()
        except (OSError, AssertionError, ProtocolError, BrokerUnavailable) as error:
            answer = repr(error)
        finally:
            os.write(write, answer.encode())
            os._exit(0)
    os.close(write)
    os.waitpid(child, 0)
    with os.fdopen(read) as pipe:
        return pipe.read()
