"""OpenPGP: our PGP/MIME, PySequoia alone, and gpg, all with the same keys, which gpg has made."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email import message_from_bytes
from pathlib import Path
from tempfile import TemporaryDirectory

from pysequoia import Cert, Tsk, encrypt

from experiments.benchmarks.encryption.mails import GATEWAY, RECIPIENT
from experiments.benchmarks.encryption.peers import LIBRARY, OURS, OUTSIDE, Peer, Peers, run
from serving.encryption.certificates import Unusable, read_certificate
from serving.encryption.sealed import enclose

GPG, UNCOMPRESSED = "gpg", "gpg, uncompressed"
KINDS = {"Curve25519": ("ed25519", "cv25519"), "RSA-3072": ("rsa3072", "rsa3072")}


class Keyring:
    """A gpg home of its own, with a key of the gateway and one of the recipient."""

    def __init__(self, home: Path, signing: str, encrypting: str) -> None:
        self._command = ("gpg", "--homedir", str(home), "--batch", "--quiet", "--no-tty", "--trust-model", "always")
        for address in (GATEWAY, RECIPIENT):
            self._make(address, signing, encrypting)

    def signer(self) -> Tsk:
        """The gateway's key."""
        return Tsk.from_bytes(run(*self._command, "--export-secret-keys", GATEWAY))

    def exported(self) -> bytes:
        """The recipient's certificate."""
        return run(*self._command, "--armor", "--export", RECIPIENT)

    def sealer(self, *options: str) -> Callable[[bytes], bytes]:
        """gpg as its users call it, a process a message."""
        command = (*self._command, "--armor", "--local-user", GATEWAY, "--recipient", RECIPIENT, *options)
        return lambda payload: run(*command, "--encrypt", "--sign", stdin=payload)

    def opened(self, armour: bytes) -> bytes:
        """What gpg finds inside, where the gateway's good signature is over it."""
        with TemporaryDirectory() as folder:
            status = Path(folder) / "status"
            plain = run(*self._command, "--status-file", status, "--decrypt", stdin=armour)
            if b"[GNUPG:] VALIDSIG " not in status.read_bytes():
                raise SystemExit("gpg finds no good signature in what was sealed")
        return plain

    def _make(self, address: str, signing: str, encrypting: str) -> None:
        free = ("--pinentry-mode", "loopback", "--passphrase", "")
        run(*self._command, *free, "--quick-generate-key", address, signing, "sign,cert", "never")
        listed = run(*self._command, "--with-colons", "--list-keys", address).decode().splitlines()
        fingerprint = next(line.split(":")[9] for line in listed if line.startswith("fpr:"))
        run(*self._command, *free, "--quick-add-key", fingerprint, encrypting, "encr", "never")


@contextmanager
def keyring(kind: str) -> Iterator[Keyring]:
    """A new one; its path is short because gpg-agent listens on a socket in it, and the agent ends with it."""
    with TemporaryDirectory(prefix="gpg-") as home:
        try:
            yield Keyring(Path(home), *KINDS[kind])
        finally:
            run("gpgconf", "--homedir", str(home), "--kill", "all")


def peers(keys: Keyring) -> Peers:
    """Everybody, with these keys."""
    certificate, key = usable(keys.exported()), keys.signer()
    signer = key.signer()
    return {
        OURS: Peer(lambda mail: enclose(mail, OUTSIDE, certificate, key), lambda mail: keys.opened(_armour(mail))),
        LIBRARY: Peer(lambda payload: encrypt(payload, recipients=[certificate], signer=signer), keys.opened),
        GPG: Peer(keys.sealer(), keys.opened),
        UNCOMPRESSED: Peer(keys.sealer("--compress-algo", "none"), keys.opened),
    }


def usable(octets: bytes) -> Cert:
    """The certificate as the stage judges it."""
    certificate = read_certificate(octets, RECIPIENT, datetime.now(UTC))
    if isinstance(certificate, Unusable):
        raise SystemExit(f"gpg has made a certificate that is not usable: {certificate.reason}")
    return certificate


def _armour(mail: bytes) -> bytes:
    """The second part of a PGP/MIME mail (RFC 3156 section 4)."""
    _, _, second = message_from_bytes(mail).walk()
    octets = second.get_payload(decode=True)
    return octets if isinstance(octets, bytes) else b""
