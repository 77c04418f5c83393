"""A Postfix of one's own: Debian's programs, a folder and a port that nobody else has, ended by its master's id."""

import os
import pwd
import shutil
import smtplib
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from types import MappingProxyType

PROGRAMS = Path("/usr/lib/postfix/sbin")
HOLD: Mapping[str, str] = MappingProxyType({"smtpd_client_restrictions": "check_client_access static:HOLD"})
"""Settings with which it accepts mail, keeps it on its disk, and does nothing more with it."""

DISCARD: Mapping[str, str] = MappingProxyType({"virtual_transport": "discard:"})
"""Settings with which it delivers all mail to nowhere."""

_USER = "postfix"
_QUEUES = ("maildrop", "hold", "incoming", "active", "deferred")
_SERVICES = """\
{port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""


@dataclass(frozen=True, slots=True)
class Postfix:
    """One that listens on 127.0.0.1 at `port`, and where its things lie."""

    port: int
    home: Path
    process: "subprocess.Popen[bytes]"

    @property
    def log(self) -> str:
        """What it said so far."""
        file = self.home / "mail.log"
        return file.read_text(encoding="utf-8", errors="replace") if file.exists() else ""

    @property
    def mails(self) -> list[bytes]:
        """What it delivered into its Maildir, the oldest first, as it lies there (LF; trace fields on top)."""
        found = (self.home / "mail" / "inbox" / "new").glob("*")
        return [path.read_bytes() for path in sorted(found, key=lambda path: path.stat().st_mtime_ns)]

    def waiting(self, *queues: str) -> int:
        """How many mails lie in these of its queues (all of them, if none is named)."""
        return sum(len(files) for queue in queues or _QUEUES for _, _, files in os.walk(self.home / "spool" / queue))

    def flush(self) -> None:
        """Have it try at once what waits for another try."""
        subprocess.run(["postqueue", "-c", self.home / "etc", "-f"], check=True, timeout=30)


@contextmanager
def postfix(*, relay: int | None = None, settings: Mapping[str, str] = MappingProxyType({})) -> Iterator[Postfix]:
    """A Postfix that runs until the block is left, as it is shipped but for its places: fsync before 250 too.

    It takes mail from this machine for anybody. With `relay` it hands everything on to that port of this machine;
    otherwise it is the last hop and keeps all of it in one Maildir. `settings` are further lines of main.cf, such as
    `HOLD`; they win.

    Raises:
        RuntimeError: it is not installed (tests/interop/packages.txt), is not run as root, or does not start.
    """
    if not PROGRAMS.is_dir() or os.getuid() != 0:
        raise RuntimeError("Postfix is missing or this is not root; see tests/interop/packages.txt")
    home = Path(mkdtemp(prefix="clarion-postfix-"))
    try:
        port = _free_port()
        _lay_out(home, port, {**_parameters(home, relay), **settings})
        process = _start(home, port)
        try:
            yield Postfix(port, home, process)
        finally:
            process.terminate()  # the master ends whom it started; all of them are a session of their own
            process.wait(30)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _parameters(home: Path, relay: int | None) -> dict[str, str]:
    owner = pwd.getpwnam(_USER)
    return {
        "compatibility_level": "3.6",
        "queue_directory": str(home / "spool"),
        "data_directory": str(home / "data"),
        "maillog_file": str(home / "mail.log"),
        "maillog_file_prefixes": str(home),
        "myhostname": "postfix.example",
        "mydestination": "",
        "alias_maps": "",
        "alias_database": "",
        "local_recipient_maps": "",
        "mynetworks": "127.0.0.0/8",
        "inet_interfaces": "127.0.0.1",
        "inet_protocols": "ipv4",
        "smtpd_relay_restrictions": "permit_mynetworks, reject",
        "message_size_limit": str(25 << 20),
    } | (
        {"relayhost": f"[127.0.0.1]:{relay}"}
        if relay is not None
        else {
            "virtual_mailbox_domains": "static:all",
            "virtual_mailbox_maps": "static:inbox/",
            "virtual_mailbox_base": str(home / "mail"),
            "virtual_mailbox_limit": "0",
            "virtual_minimum_uid": "1",
            "virtual_uid_maps": f"static:{owner.pw_uid}",
            "virtual_gid_maps": f"static:{owner.pw_gid}",
        }
    )


def _lay_out(home: Path, port: int, parameters: Mapping[str, str]) -> None:
    home.chmod(0o755)  # its processes are not root's
    for name in ("etc", "spool", "data", "mail"):
        (home / name).mkdir()
    for name in ("data", "mail"):
        shutil.chown(home / name, _USER, _USER)
    main = "".join(f"{name} = {value}\n" for name, value in parameters.items())
    (home / "etc" / "main.cf").write_text(main, encoding="utf-8")
    (home / "etc" / "master.cf").write_text(_SERVICES.format(port=port), encoding="utf-8")


def _start(home: Path, port: int) -> "subprocess.Popen[bytes]":
    """It listens once this returns."""
    check: list[str | Path] = ["postfix", "-c", home / "etc", "check"]
    subprocess.run(check, check=True, timeout=60, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    command: list[str | Path] = [PROGRAMS / "master", "-d", "-c", home / "etc"]
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    deadline = time.monotonic() + 30
    while not _greets(port):
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            raise RuntimeError(f"Postfix does not start: {Postfix(port, home, process).log}")
        time.sleep(0.05)
    return process


def _greets(port: int) -> bool:
    with suppress(OSError, smtplib.SMTPException), smtplib.SMTP("127.0.0.1", port, timeout=5) as server:
        return server.noop()[0] == 250
    return False


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
