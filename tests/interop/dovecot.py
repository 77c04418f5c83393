"""A Dovecot of the tests' own: Debian's program, its own configuration and folders, ended by its process id."""

import imaplib
import os
import pwd
import shutil
import signal
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import Self

from serving.demo.running import free_ports
from tests.integration.authorities import Authority
from tests.interop.postfix import answers

PASSWORD = "open-sesame"
"""Of everybody; whoever logs in has a mailbox."""

OWNER = "mail"
_CONFIGURATION = """\
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/log
protocols = imap
listen = 127.0.0.1
ssl = required
ssl_cert = <{certificate}
ssl_key = <{certificate}
first_valid_uid = 1
first_valid_gid = 1
mail_location = maildir:{folder}/mail/%u
mail_fsync = never
imap_capability = {capability}
passdb {{
  driver = static
  args = password={password}
}}
userdb {{
  driver = static
  args = uid={owner} gid={owner} home={folder}/mail/%u
}}
namespace inbox {{
  inbox = yes
  mailbox Junk {{
    auto = create
    special_use = \\Junk
  }}
}}
service imap-login {{
  inet_listener imap {{
    port = {plain_port}
  }}
  inet_listener imaps {{
    port = {port}
    ssl = yes
  }}
}}
"""


class Dovecot:
    """One that runs while the block does, with TLS on `port` for `localhost`. It needs root.

    `capability` is what it says it can do in place of what it can.
    """

    def __init__(self, capability: str = "") -> None:
        self.folder = Path(mkdtemp(prefix="clarion-dovecot-"))
        self.port, self.plain_port = free_ports(2)
        authority = Authority(self.folder)
        self.ca_file, self._certificate = authority.file, authority.good("localhost")
        self._capability = capability
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._write()
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self.folder)

    def start(self) -> None:
        """Until it takes connections."""
        command = ["/usr/sbin/dovecot", "-F", "-c", str(self.folder / "dovecot.conf")]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while not answers(self.plain_port, b"* O"):
            assert self._process.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.05)

    def stop(self) -> None:
        """With everybody's connections."""
        assert self._process is not None
        if self._process.poll() is None:
            os.kill(self._process.pid, signal.SIGTERM)  # the master ends its children
            self._process.wait(30)

    def deliver(self, user: str, mail: bytes, name: str, flags: str = "") -> None:
        """As a mail server does that writes to the Maildir; flags are its letters."""
        box = self.folder / "mail" / user
        owner = pwd.getpwnam(OWNER)
        for folder in (box, *(box / each for each in ("cur", "new", "tmp"))):
            folder.mkdir(exist_ok=True)
            os.chown(folder, owner.pw_uid, owner.pw_gid)
        path = box / "tmp" / name
        path.write_bytes(mail)
        os.chown(path, owner.pw_uid, owner.pw_gid)
        path.rename(box / "cur" / f"{name}:2,{flags}" if flags else box / "new" / name)

    @contextmanager
    def owner(self, user: str, folder: str = "INBOX") -> Iterator[imaplib.IMAP4_SSL]:
        """The mailbox's owner with a mail program, who has opened the folder."""
        program = imaplib.IMAP4_SSL("localhost", self.port, ssl_context=self.tls(), timeout=60)
        try:
            program.login(user, PASSWORD)
            assert program.select(folder)[0] == "OK"
            yield program
        finally:
            program.logout()

    def tls(self) -> ssl.SSLContext:
        """Trusts its certificate."""
        return ssl.create_default_context(cafile=self.ca_file)

    def log(self) -> str:
        """What it logged so far."""
        path = self.folder / "log"
        return path.read_text(errors="replace") if path.exists() else "it logged nothing"

    def _write(self) -> None:
        self.folder.chmod(0o755)
        owner = pwd.getpwnam(OWNER)
        for name in ("run", "state", "mail"):
            (self.folder / name).mkdir()
        os.chown(self.folder / "mail", owner.pw_uid, owner.pw_gid)
        text = _CONFIGURATION.format(
            folder=self.folder,
            certificate=self._certificate,
            capability=self._capability,
            password=PASSWORD,
            owner=OWNER,
            port=self.port,
            plain_port=self.plain_port,
        )
        (self.folder / "dovecot.conf").write_text(text)
