"""GnuPG and Sequoia's sq, which nobody here wrote, as people use them: make a key, seal and sign, open and verify."""

import shutil
import subprocess
from pathlib import Path
from typing import Protocol

import pytest
from pysequoia import Cert, Tsk


class Person:
    """Somebody's key and certificate, in files for the programs and in memory for us."""

    def __init__(self, stem: Path, secret: bytes) -> None:
        self.key = Tsk.from_bytes(secret)
        self.key_file, self.file = stem.with_suffix(".key"), stem.with_suffix(".cert")
        self.key_file.write_bytes(secret)
        self.file.write_bytes(bytes(self.certificate))

    @property
    def certificate(self) -> Cert:
        """What they would upload."""
        return self.key.extract_certificate()

    @property
    def fingerprint(self) -> str:
        """As the programs write it."""
        return self.certificate.fingerprint.upper()


class Program(Protocol):
    """What the tests want of either program."""

    def generate(self, algorithm: str, address: str) -> bytes:
        """A new secret key without a password."""

    def meet(self, person: Person) -> None:
        """Learn somebody's key."""

    def seal(self, content: bytes, sender: Person, recipients: list[Person], *options: str) -> bytes:
        """An armoured message, signed and encrypted, not compressed unless the options say so."""

    def open(self, message: bytes, person: Person, trusted: Path) -> subprocess.CompletedProcess[bytes]:
        """Decrypt, and verify that the certificate in the file signed; status 0 only if both succeed."""


class Gpg:
    """gpg with a keyring of its own, whose path has to be short because its agent listens on a socket in it."""

    def __init__(self, home: Path) -> None:
        self._home = home
        _require("gpg")

    def generate(self, algorithm: str, address: str) -> bytes:
        """A primary key and a subkey, as in ed25519/cv25519; a primary key that encrypts itself where one is named."""
        primary, _, subkey = algorithm.partition("/")
        usage = "default" if subkey else "sign,encrypt"
        made = self._run("--yes", "--quick-generate-key", f"Ann <{address}>", primary, usage, "never", check=True)
        (fingerprint,) = (line.split()[-1] for line in made.stderr.decode().splitlines() if " KEY_CREATED " in line)
        if subkey:
            self._run("--quick-add-key", fingerprint, subkey, "encr", "never", check=True)
        return self._run("--export-secret-keys", fingerprint, check=True).stdout

    def meet(self, person: Person) -> None:
        """Import the secret key."""
        self._run("--import", str(person.key_file), check=True)

    def trust(self, certificate: Path) -> None:
        """Import a certificate to verify with."""
        self._run("--import", str(certificate), check=True)

    def seal(self, content: bytes, sender: Person, recipients: list[Person], *options: str) -> bytes:
        """gpg compresses unless told not to; a later option counts."""
        to = [part for each in recipients for part in ("--recipient", each.fingerprint)]
        what = ("--armor", "--trust-model", "always", "--compress-algo", "none", *options)
        return self._run(
            *what, "--local-user", sender.fingerprint, *to, "--sign", "--encrypt", stdin=content, check=True
        ).stdout

    def open(self, message: bytes, person: Person, trusted: Path) -> subprocess.CompletedProcess[bytes]:
        """gpg succeeds at mail without a signature too, so its status lines are asked who signed."""
        self.trust(trusted)
        done = self._run("--try-secret-key", person.fingerprint, "--decrypt", stdin=message)
        signers = [
            line.split()[-1] for line in done.stderr.decode(errors="replace").splitlines() if " VALIDSIG " in line
        ]
        if signers != [Cert.from_file(str(trusted)).fingerprint.upper()]:
            done.returncode = done.returncode or 1
        return done

    def leave(self) -> None:
        """End the agent that gpg has started."""
        subprocess.run(["gpgconf", "--homedir", self._home, "--kill", "all"], check=True, timeout=20)

    def _run(self, *arguments: str, stdin: bytes = b"", check: bool = False) -> subprocess.CompletedProcess[bytes]:
        quiet = (
            "--batch",
            "--no-tty",
            "--quiet",
            "--status-fd",
            "2",
            "--pinentry-mode",
            "loopback",
            "--passphrase",
            "",
        )
        return _run("gpg", "--homedir", str(self._home), *quiet, *arguments, stdin=stdin, check=check)


class Sq:
    """sq, which keeps nothing: keys and certificates are files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        _require("sq")

    def generate(self, algorithm: str, address: str) -> bytes:
        """A primary key with a subkey for each use."""
        path = self._folder / f"{algorithm}.new"
        named = ("--userid", f"Ann <{address}>", "--export", path)
        _run("sq", "key", "generate", "--cipher-suite", algorithm, *named, check=True)
        return path.read_bytes()

    def meet(self, person: Person) -> None:
        """Nothing to do."""

    def seal(self, content: bytes, sender: Person, recipients: list[Person], *options: str) -> bytes:
        """sq compresses, or pads by a compression, unless told not to."""
        to = [part for each in recipients for part in ("--recipient-cert", each.file)]
        what = options or ("--compression", "none")
        return _run("sq", "encrypt", *what, "--signer-key", sender.key_file, *to, stdin=content, check=True).stdout

    def open(self, message: bytes, person: Person, trusted: Path) -> subprocess.CompletedProcess[bytes]:
        """One valid signature by the certificate is required."""
        who = ("--recipient-key", person.key_file, "--signer-cert", trusted, "--signatures", "1")
        return _run("sq", "decrypt", *who, stdin=message)


def _require(program: str) -> None:
    if shutil.which(program) is None:
        pytest.fail(f"no {program}; run tests/interop/install.sh")


def _run(*command: str | Path, stdin: bytes = b"", check: bool = False) -> subprocess.CompletedProcess[bytes]:
    done = subprocess.run(command, input=stdin, capture_output=True, check=False, timeout=100)
    assert done.returncode == 0 or not check, done.stderr.decode(errors="replace")
    return done
