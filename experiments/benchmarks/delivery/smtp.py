"""Postfix's own test programs: `smtp-source` sends as fast as it is answered, `smtp-sink` takes and counts."""

import os
import re
import select
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from serving.demo.running import free_ports

LENGTH = 4096
SESSIONS = 16
_COUNTS = re.compile(rb"mesg=(\d+)")


@dataclass(frozen=True, slots=True)
class Load:
    """Who sends to whom; `keep`: many mails over one connection, otherwise a connection for each."""

    sender: str
    recipient: str
    sessions: int = SESSIONS
    length: int = LENGTH
    keep: bool = True

    def command(self, port: int, count: int) -> list[str]:
        """The program that sends `count` mails to that port of this machine."""
        words = ["-s", str(self.sessions), "-m", str(count), "-l", str(self.length), *(["-d"] if self.keep else [])]
        return ["smtp-source", *words, "-f", self.sender, "-t", self.recipient, f"127.0.0.1:{port}"]

    def send(self, port: int, count: int) -> float:
        """Send them; the seconds until the last was accepted. SystemExit where one was not."""
        begin = time.perf_counter()
        done = subprocess.run(self.command(port, count), capture_output=True, check=False, timeout=600)
        if done.returncode != 0:
            raise SystemExit(f"smtp-source: {done.stderr.decode(errors='replace').strip()}")
        return time.perf_counter() - begin


class Sink:
    """A running `smtp-sink` on `port`, and how many mails it has taken."""

    def __init__(self, process: "subprocess.Popen[bytes]", port: int) -> None:
        self._process = process
        self.port = port
        self.count = 0

    def wait_for(self, count: int, seconds: float) -> None:
        """Return once it has taken so many in all; SystemExit where it has not within `seconds`."""
        deadline = time.monotonic() + seconds
        while self.count < count:
            if not self._read(deadline - time.monotonic()):
                raise SystemExit(f"smtp-sink has {self.count} of {count} mails after {seconds:.0f} s")

    def _read(self, seconds: float) -> bool:
        output = self._process.stdout
        if output is None or not select.select([output], [], [], max(seconds, 0.0))[0]:
            return False
        said = os.read(output.fileno(), 65_536)
        if not said:
            raise SystemExit("smtp-sink has ended")
        found = _COUNTS.findall(said)
        self.count = max([self.count, *map(int, found)])
        return True


@contextmanager
def sink(port: int = 0) -> Iterator[Sink]:
    """An `smtp-sink` until the block is left, on a free port where none is named."""
    port = port or free_ports(1)[0]
    command = ["smtp-sink", *(["-u", "nobody"] if os.getuid() == 0 else []), "-c", f"127.0.0.1:{port}", "1000"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        yield Sink(process, port)
    finally:
        process.terminate()
        process.wait(10)
