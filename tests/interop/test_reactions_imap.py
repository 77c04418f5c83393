"""What an owner does with our mails in a real Dovecot reaches the store: once, and for their own mails alone."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest

from serving.errors import BrokerUnavailable, ConfigurationError
from serving.identifiers import format_id
from serving.queue.client import Client
from serving.reactions.hearing import Hearing
from serving.reactions.mailbox import Account, Mailbox
from serving.reactions.watch import Folders, Watch
from tests.conftest import BrokerProcess
from tests.integration.answering import ADA, House
from tests.integration.terminal import complaint, said
from tests.interop.dovecot import PASSWORD, Dovecot

Eventually = Callable[..., Awaitable[None]]
BOB = "bob@home.example"
ONLY_WHEN_TOLD = 1_700.0
STRANGER = b"From: eve@elsewhere.example\r\nTo: ada@home.example\r\nSubject: hello\r\n\r\nhello\r\n"


@dataclass
class Desk:
    """Ada's mailbox, and the house that sends to it."""

    house: House
    dovecot: Dovecot
    eventually: Eventually
    user: str
    count: int = 0

    @property
    def account(self) -> Account:
        return Account("localhost", self.dovecot.port, self.user, PASSWORD, self.dovecot.tls())

    def watch(self, *folders: str) -> Watch:
        hearing = Hearing(self.house.client, [self.house.lookup.address(ADA).hex()], time.time)
        return Watch(Folders(folders or ("INBOX",)), hearing, time.time)

    async def arrive(self, to: str = ADA, flags: str = "") -> int:
        """A mail of ours, whoever it was for, comes into ada's mailbox."""
        id_ = await self.house.accept(to=to)
        self.count += 1
        await self.eventually(lambda: len(self.house.sent) >= self.count, 60.0)
        self.deliver(self.house.sent[self.count - 1].mail, flags)
        return id_

    def deliver(self, mail: bytes, flags: str = "") -> None:
        self.dovecot.deliver(self.user, mail, f"{time.monotonic_ns()}.mx", flags)

    async def does(self, *flags: str, number: str = "1", move: str = "") -> None:
        """What the owner does in a mail program."""

        def act() -> None:
            with self.dovecot.owner(self.user) as program:
                if flags:
                    assert program.store(number, "+FLAGS", f"({' '.join(flags)})")[0] == "OK"
                if move:
                    assert program.uid("MOVE", number, move)[0] == "OK"

        await asyncio.to_thread(act)

    async def hears(self, id_: int, kind: str) -> None:
        """Comes true once it is in the history."""

        async def is_there() -> bool:
            with suppress(BrokerUnavailable):
                return kind in await self.house.kinds(id_)
            return False

        await self.eventually(is_there, 60.0)

    @asynccontextmanager
    async def watching(self, every: float = ONLY_WHEN_TOLD, account: Account | None = None) -> AsyncIterator[None]:
        """From the end of the first look on."""
        looked = asyncio.Event()
        spread = Random(1)  # noqa: S311 - how waits vary is no secret
        looking = self.watch().keep_looking(lambda: Mailbox.open(account or self.account), every, spread, looked)
        task = asyncio.create_task(looking)
        await asyncio.wait_for(looked.wait(), 60)
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@pytest.fixture(scope="module")
def dovecot() -> Iterator[Dovecot]:
    with Dovecot() as running:
        yield running


@pytest.fixture
async def house(broker: BrokerProcess, client: Client) -> AsyncIterator[House]:
    """At the broker's home, where the command line finds both."""
    home = broker.socket.parent
    (home / "run").mkdir()
    (home / "run" / "broker.sock").symlink_to(broker.socket)
    built = House(client, home)
    for person in (ADA, BOB):
        await built.enroll(person)
    async with built.open():
        yield built


@pytest.fixture
def desk(house: House, dovecot: Dovecot, eventually: Eventually) -> Desk:
    return Desk(house, dovecot, eventually, f"ada{time.monotonic_ns()}")


@pytest.mark.parametrize(
    ("flag", "kind", "has_acted"),
    [
        (r"\Answered", "acknowledged", True),
        (r"\Flagged", "was_urgent", True),
        ("$Important", "was_urgent", True),
        ("$NotImportant", "not_urgent", False),
    ],
)
async def test_what_the_owner_marks_is_a_reaction_at_once(desk: Desk, flag: str, kind: str, has_acted: bool) -> None:
    """The server tells by IDLE; the history of the two grows, and the mail stays as it was."""
    id_ = await desk.arrive()
    before = await desk.house.counted()
    async with desk.watching():
        await desk.does(flag)
        await desk.hears(id_, kind)
        await desk.does(r"\Draft")  # the server tells again, and the flag is still there
    async with desk.watching():
        pass
    after = await desk.house.counted()
    with desk.dovecot.owner(desk.user) as program:
        shown = str(program.fetch("1", "(FLAGS)")[1])

    assert (await desk.house.kinds(id_)).count(kind) == 1
    assert ({name for name in after if after[name] > before.get(name, 0)} != set()) == has_acted
    assert flag.strip("\\") in shown
    assert "Seen" not in shown


async def test_what_the_owner_reads_and_moves_to_junk_was_not_urgent(desk: Desk) -> None:
    """A filter moves what nobody has read; that must not teach that alarms can wait."""
    filtered, read = await desk.arrive(), await desk.arrive()
    async with desk.watching():
        await desk.does(number="1", move="Junk")
        await desk.does(r"\Seen", number="1")
        await desk.does(number="2", move="Junk")
        await desk.hears(read, "not_urgent")

    assert "not_urgent" not in await desk.house.kinds(filtered)


async def test_the_name_of_somebody_else_s_notification_tells_nothing(desk: Desk) -> None:
    """Anybody can write the field into a mail, and get its reader to flag it."""
    bobs = await desk.arrive(BOB, "F")
    desk.deliver(f"Clarion-Notification: {format_id(bobs)}\r\n".encode() + STRANGER, "F")
    desk.deliver(b"Clarion-Notification: 0000000000001\r\nClarion-Notification: x\r\n" + STRANGER, "F")
    own = await desk.arrive(flags="F")
    mailbox = await Mailbox.open(desk.account)
    count = await desk.watch().look(mailbox)
    await mailbox.close()

    assert count == 1
    assert "was_urgent" in await desk.house.kinds(own)
    assert "was_urgent" not in await desk.house.kinds(bobs)


async def test_a_folder_that_was_made_anew_is_looked_through_anew(desk: Desk) -> None:
    """Its first mail has the number of another that was no mail of ours."""
    await desk.arrive(flags="F")
    ours = desk.house.sent[0].mail
    eye = desk.watch("Alerts")

    async def fill(mail: bytes) -> int:
        def act() -> None:
            with desk.dovecot.owner(desk.user) as program:
                program.delete("Alerts")
                assert program.create("Alerts")[0] == "OK"
                assert program.append("Alerts", r"(\Flagged)", "", mail)[0] == "OK"

        await asyncio.to_thread(act)
        mailbox = await Mailbox.open(desk.account)
        try:
            return await eye.look(mailbox)
        finally:
            await mailbox.close()

    assert [await fill(STRANGER), await fill(ours)] == [0, 1]


async def test_a_server_that_was_restarted_is_found_again(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    """And what was done meanwhile is heard; the log says what is away, and of no mail anything."""
    id_ = await desk.arrive()
    async with desk.watching():
        await asyncio.to_thread(desk.dovecot.stop)
        await desk.eventually(lambda: "the mail server localhost" in caplog.text, 60.0)
        await asyncio.to_thread(desk.dovecot.start)
        await desk.does(r"\Answered")
        await desk.hears(id_, "acknowledged")

    assert format_id(id_) not in caplog.text
    assert "@" not in caplog.text


async def test_a_connection_that_ends_without_a_word_is_noticed(desk: Desk) -> None:
    """Or a mailbox is deaf for half an hour because a router forgot who spoke."""
    id_ = await desk.arrive()
    open_ends: list[asyncio.StreamWriter] = []
    told = bytearray()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner, onward = await asyncio.open_connection("127.0.0.1", desk.dovecot.plain_port)
        open_ends.extend((writer, onward))
        await asyncio.gather(_pass_on(reader, onward, bytearray()), _pass_on(inner, writer, told))

    async with await asyncio.start_server(relay, "127.0.0.1", 0) as server:
        account = Account("127.0.0.1", server.sockets[0].getsockname()[1], desk.user, PASSWORD, None)
        async with desk.watching(account=account):
            await desk.eventually(lambda: b"+ idling" in told)
            for end in open_ends[:2]:
                end.transport.abort()
            await desk.does(r"\Answered")
            await desk.hears(id_, "acknowledged")
        for end in open_ends:
            end.transport.abort()


async def test_a_broker_that_was_away_hears_it_later(
    desk: Desk, broker: BrokerProcess, caplog: pytest.LogCaptureFixture
) -> None:
    """What nobody has heard is not forgotten."""
    id_ = await desk.arrive()
    async with desk.watching():
        await asyncio.to_thread(broker.kill)
        await desk.does(r"\Answered")
        await desk.eventually(lambda: "no broker answers" in caplog.text, 60.0)
        broker.start()
        await desk.hears(id_, "acknowledged")


async def test_a_server_that_can_do_little_is_asked_again_and_again(house: House, eventually: Eventually) -> None:
    """Without IDLE, CONDSTORE and SPECIAL-USE."""
    with Dovecot("IMAP4rev1") as plain:
        desk = Desk(house, plain, eventually, "ada")
        desk.deliver(STRANGER, "F")
        id_ = await desk.arrive()
        async with desk.watching(every=0.1):
            await desk.does(r"\Flagged", number="2")
            await desk.hears(id_, "was_urgent")

    assert (await house.kinds(id_)).count("was_urgent") == 1


async def test_the_command_looks_once_through_much_mail(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """For cron: the second time there is nothing new."""
    monkeypatch.setenv("CLARION_HOME", str(desk.house.home))
    for _ in range(1_200):
        desk.deliver(STRANGER, "F")
    id_ = await desk.arrive(flags="RS")
    words = _words(desk, tmp_path)
    printed = [await asyncio.to_thread(said, *words, "--once") for _ in range(2)]

    assert printed == ["1 new\n", "0 new\n"]
    assert "acknowledged" in await desk.house.kinds(id_)


async def test_the_command_runs_until_it_is_interrupted(desk: Desk, tmp_path: Path) -> None:
    """As a program, over TLS; it ends in order and has said nothing of any mail."""
    id_ = await desk.arrive()
    command = [sys.executable, "-m", "serving.cli", *_words(desk, tmp_path)]
    pipe, environment = asyncio.subprocess.PIPE, {**os.environ, "CLARION_HOME": str(desk.house.home)}
    process = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe, env=environment)
    assert process.stdout is not None
    first = await asyncio.wait_for(process.stdout.readline(), 90)
    await desk.does(r"\Answered")
    await desk.hears(id_, "acknowledged")
    process.send_signal(signal.SIGINT)
    rest, errors = await asyncio.wait_for(process.communicate(), 60)

    assert first == f"watching a mailbox at localhost:{desk.dovecot.port}\n".encode()
    assert (process.returncode, rest, errors) == (0, b"", b"")


async def test_what_is_wrong_is_said_in_a_line(desk: Desk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Certificate, login and folder; trying again would not help, so the program ends."""
    monkeypatch.setenv("CLARION_HOME", str(desk.house.home))
    words = _words(desk, tmp_path)
    without_ca = words[: words.index("--ca-file")]

    async def why(*given: str) -> str:
        return await asyncio.to_thread(complaint, *given, "--once")

    assert "the certificate of localhost is not trusted" in await why(*without_ca)
    assert "refuses the login" in await why(*words, "--password-file", _secret(tmp_path, "wrong"))
    assert "no such folder" in await why(*words, "--folder", "Nowhere")
    assert "speaks no TLS" in await why(*words, "--port", str(desk.dovecot.plain_port))
    with pytest.raises(ConfigurationError, match="one line"):
        await Mailbox.open(Account("localhost", desk.dovecot.port, "a\r\nb", PASSWORD, desk.dovecot.tls()))


def _words(desk: Desk, folder: Path) -> list[str]:
    server = ["--host", "localhost", "--port", str(desk.dovecot.port), "--user", desk.user]
    secrets = ["--password-file", _secret(folder, PASSWORD), "--ca-file", str(desk.dovecot.ca_file)]
    return ["reactions", "watch", ADA, *server, *secrets]


def _secret(folder: Path, password: str) -> str:
    path = folder / password
    path.write_text(password + "\n")
    return str(path)


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, passed: bytearray) -> None:
    with suppress(OSError):
        while octets := await reader.read(65_536):
            writer.write(octets)
            passed += octets
