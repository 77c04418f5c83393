"""A PostgreSQL server of the tests' own: Debian's binaries, a Unix socket and nothing else, ended by its process id."""

import itertools
import os
import pwd
import shutil
import signal
import subprocess
import time
from pathlib import Path
from tempfile import mkdtemp

import psycopg
import pytest

USER = "postgres"
_NAMES = itertools.count(1)


def _programs() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        pytest.skip("no PostgreSQL server; see tests/interop/packages.txt")
    return found[-1].parent


class Server:
    """fsync is on, as a user's is."""

    def __init__(self) -> None:
        self._bin = _programs()
        self._home = Path(mkdtemp(prefix="clarion-pg-"))
        if os.getuid() == 0:  # the server does not run as root
            owner = pwd.getpwnam(USER)
            os.chown(self._home, owner.pw_uid, owner.pw_gid)
        self._data = self._home / "data"
        made: list[str | Path] = ["-D", self._data, "-U", USER, "-E", "UTF8", "--locale=C", "--auth=trust"]
        subprocess.run(self._command("initdb", *made), check=True, capture_output=True, timeout=60)
        self.process = self._start()

    def database(self) -> str:
        """The URL of a new, empty database."""
        name = f"clarion_{next(_NAMES)}"
        with psycopg.connect(self._url(USER), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return self._url(name)

    def restart(self) -> None:
        """As a power cut does it, without the power: SIGQUIT leaves recovery to the next start."""
        self._end(signal.SIGQUIT)
        self.process = self._start()

    def close(self) -> None:
        """End it and leave nothing. At once: a last checkpoint of hundreds of databases takes most of a minute."""
        self._end(signal.SIGQUIT)
        shutil.rmtree(self._home)

    def _start(self) -> "subprocess.Popen[bytes]":
        options: list[str | Path] = ["-D", self._data, "-k", self._home, "-c", "listen_addresses="]
        process = subprocess.Popen(
            self._command("postgres", *options), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 30
        while True:
            try:
                psycopg.connect(self._url(USER)).close()
            except psycopg.OperationalError:
                assert time.monotonic() < deadline, "the server does not start"
                time.sleep(0.1)
            else:
                return process

    def _end(self, number: signal.Signals) -> None:
        postmaster = int((self._data / "postmaster.pid").read_text().split()[0])
        os.kill(postmaster, number)
        self.process.wait(30)

    def _command(self, program: str, *words: str | Path) -> list[str]:
        drop = ["setpriv", "--reuid", USER, "--regid", USER, "--init-groups"] if os.getuid() == 0 else []
        return [*drop, str(self._bin / program), *map(str, words)]

    def _url(self, name: str) -> str:
        return f"postgresql://{USER}@/{name}?host={self._home}"
