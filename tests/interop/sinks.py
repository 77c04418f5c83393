"""Postfix's smtp-sink, which takes mail well or ill as it is told, ended by its process id."""

import re
import shutil
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path
from tempfile import mkdtemp
from typing import Self

from serving.demo.running import free_ports
from tests.interop.postfix import answers

_PROGRAM = "/usr/sbin/smtp-sink"


class Sink:
    """One that runs while the block does, with these options (see smtp-sink(1)); it appends each mail to a file."""

    def __init__(self, *options: str, port: int = 0) -> None:
        self.port = port or free_ports(1)[0]
        self._options = options
        self._folder = Path(mkdtemp(prefix="clarion-sink-"))
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        command = [_PROGRAM, "-u", "root", "-D", str(self._folder / "mail"), *self._options]
        self._process = subprocess.Popen(
            [*command, f"127.0.0.1:{self.port}", "64"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        deadline = time.monotonic() + 10
        while not answers(self.port, greeting=None):
            assert self._process.poll() is None, self._process.stderr.read() if self._process.stderr else ""
            assert time.monotonic() < deadline, "smtp-sink does not start"
            time.sleep(0.02)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(10)
        if self._process.stderr:
            self._process.stderr.close()
        shutil.rmtree(self._folder)

    def message_ids(self) -> Counter[str]:
        """How often each Message-ID has arrived whole."""
        path = self._folder / "mail"
        mails = path.read_bytes() if path.exists() else b""
        return Counter(each.decode() for each in re.findall(rb"^Message-ID: (<.*?>)\r?$", mails, re.MULTILINE))
