"""A Postfix of the tests' own: Debian's programs, its own configuration and queue, ended by its process id."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from tempfile import mkdtemp
from typing import Self

from serving.demo.running import free_ports

OWNER = "postfix"
_MASTER = "/usr/lib/postfix/sbin/master"
_SERVICES = """\
pickup    unix  n - n 60 1 pickup
cleanup   unix  n - n - 0 cleanup
qmgr      unix  n - n 300 1 qmgr
tlsmgr    unix  - - n 1000? 1 tlsmgr
rewrite   unix  - - n - - trivial-rewrite
bounce    unix  - - n - 0 bounce
defer     unix  - - n - 0 bounce
trace     unix  - - n - 0 bounce
verify    unix  - - n - 1 verify
flush     unix  n - n 1000? 0 flush
proxymap  unix  - - n - - proxymap
proxywrite unix - - n - 1 proxymap
smtp      unix  - - n - - smtp
relay     unix  - - n - - smtp
showq     unix  n - n - - showq
error     unix  - - n - - error
retry     unix  - - n - - error
discard   unix  - - n - - discard
virtual   unix  - n n - - virtual
anvil     unix  - - n - 1 anvil
scache    unix  - - n - 1 scache
postlog   unix-dgram n - n - 1 postlogd
"""


class Postfix:
    """One that runs while the block does, on `port`; it keeps mail for its `domain` in a Maildir. It needs root."""

    def __init__(
        self, main_cf: Mapping[str, str] | None = None, master: Iterable[str] = (), *, domain: str = "receiver.example"
    ) -> None:
        """`main_cf` adds to its parameters or replaces them, `master` are further lines of its master.cf."""
        self.folder = Path(mkdtemp(prefix="clarion-postfix-"))
        (self.port,) = free_ports(1)
        self.domain = domain
        self._main, self._master = dict(main_cf or {}), tuple(master)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._write()
        etc = str(self.folder / "etc")
        # What `postfix start` does before master, without what would put master into a session of its own.
        subprocess.run(["/usr/sbin/postfix", "-c", etc, "check"], check=True, timeout=60, capture_output=True)
        self._process = subprocess.Popen(
            [_MASTER, "-d", "-c", etc], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 30
        while not answers(self.port):
            assert self._process.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.05)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        if self._process.poll() is None:
            os.kill(self._process.pid, signal.SIGTERM)  # master ends its children
            self._process.wait(30)
        shutil.rmtree(self.folder)

    def mails(self) -> list[bytes]:
        """What has arrived, as its files hold it: Return-Path, Delivered-To and Received above, lines end in LF."""
        return [path.read_bytes() for path in sorted((self.folder / "mail" / "box" / "new").glob("*"))]

    def queued(self) -> int:
        """How many messages it holds that have neither arrived nor come back."""
        queues = ("maildrop", "incoming", "active", "deferred")
        return sum(1 for name in queues for path in (self.folder / "queue" / name).rglob("*") if path.is_file())

    def log(self) -> str:
        """What it logged so far."""
        path = self.folder / "log" / "mail"
        return path.read_text(errors="replace") if path.exists() else "it logged nothing"

    def _write(self) -> None:
        self.folder.chmod(0o755)
        owner = pwd.getpwnam(OWNER)
        for name in ("etc", "queue", "data", "mail", "log"):
            (self.folder / name).mkdir()
        for name in ("data", "mail"):
            os.chown(self.folder / name, owner.pw_uid, owner.pw_gid)
        main = "".join(f"{name} = {value}\n" for name, value in (self._parameters() | self._main).items())
        smtpd = f"127.0.0.1:{self.port} inet n - n - - smtpd\n"
        extra = "".join(f"{line}\n" for line in self._master)
        (self.folder / "etc" / "main.cf").write_text(main)
        (self.folder / "etc" / "master.cf").write_text(smtpd + _SERVICES + extra)

    def _parameters(self) -> dict[str, str]:
        owner = pwd.getpwnam(OWNER)
        return {
            "compatibility_level": "3.6",
            "queue_directory": str(self.folder / "queue"),
            "data_directory": str(self.folder / "data"),
            "maillog_file": str(self.folder / "log" / "mail"),
            "maillog_file_prefixes": str(self.folder),
            "mail_owner": OWNER,
            "setgid_group": "postdrop",
            "myhostname": f"mx.{self.domain}",
            "mydestination": "",
            "mynetworks": "127.0.0.0/8",
            "local_header_rewrite_clients": "",  # mail is left as it came, as that of strangers is
            "inet_interfaces": "127.0.0.1",
            "inet_protocols": "ipv4",
            "alias_maps": "",
            "alias_database": "",
            "local_transport": "error:there is no local mail",
            "virtual_mailbox_domains": self.domain,
            "virtual_mailbox_base": str(self.folder / "mail"),
            "virtual_mailbox_maps": "static:box/",
            "virtual_uid_maps": f"static:{owner.pw_uid}",
            "virtual_gid_maps": f"static:{owner.pw_gid}",
            "virtual_minimum_uid": "1",
            "mailbox_size_limit": "0",
            "virtual_mailbox_limit": "0",
            "message_size_limit": str(26 << 20),
            "smtputf8_enable": "yes",
            "smtpd_client_connection_count_limit": "0",
        }


def answers(port: int, greeting: bytes | None = b"220") -> bool:
    """Whether somebody listens there, and greets so where a greeting is named."""
    try:
        with socket.create_connection(("127.0.0.1", port), 1.0) as connection:
            connection.settimeout(5.0)
            return greeting is None or connection.recv(3) == greeting
    except OSError:
        return False
