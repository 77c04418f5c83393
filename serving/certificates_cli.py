"""`clarion keys add`, `show` and `remove`: the certificates that a recipient's mail is sealed to.

They lie sealed in the store; so these commands run where the content key is.
"""

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serving.commands import AsJson, ask, registered, show
from serving.errors import ConfigurationError
from serving.keyring import load_unsealing
from serving.queue.client import Client
from serving.sealing import load_lookup
from serving.settings import Settings

if TYPE_CHECKING:
    from serving.encryption.bundle import Block

Address = Annotated[str, typer.Argument(help="A registered recipient's address.")]
TRIES = 5
Change = Callable[[list["Block"]], Sequence["Block"]]


def read_file(path: Path, address: str) -> "list[Block]":
    """The certificates in a file, each of them usable; ConfigurationError says what one is not."""
    from serving.encryption.bundle import LARGEST_BUNDLE, blocks
    from serving.encryption.certificates import Unusable

    try:
        with path.open("rb") as file:
            octets = file.read(LARGEST_BUNDLE + 1)
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}") from None
    if len(octets) > LARGEST_BUNDLE:
        raise ConfigurationError(f"{path}: larger than {LARGEST_BUNDLE >> 20} MiB; that is no certificate")
    found = blocks(octets)
    if not found:
        raise ConfigurationError(f"{path}: neither an OpenPGP nor an X.509 certificate")
    for block in found:
        if isinstance(judged := block.read(address, datetime.now(UTC)), Unusable):
            raise ConfigurationError(f"{path}: {judged.reason}")
    return found


def add(address: Address, file: Annotated[Path, typer.Argument(help="OpenPGP or X.509, text or binary.")]) -> None:
    """Add certificates to those of a recipient; mail that waits for one goes on."""
    brought = read_file(file, address)
    kept = changed(address, lambda held: [*held, *brought])
    print(f"registered; {len(kept)} in all")


def remove(
    address: Address,
    fingerprint: Annotated[str, typer.Argument(help="As `clarion keys show` prints it, or its beginning.")],
) -> None:
    """Take a certificate away, because it is revoked or lost; mail is held where none is left."""

    def change(held: "list[Block]") -> "Sequence[Block]":
        meant = [block for block in held if fingerprint_of(block).startswith(fingerprint.lower())]
        if len(meant) != 1:
            raise ConfigurationError("several begin like that; name one" if meant else "there is no such certificate")
        return [block for block in held if block is not meant[0]]

    print(f"removed; {len(changed(address, change))} left")


def show_certificates(address: Address, as_json: AsJson = False) -> None:
    """What a recipient's mail can be sealed to, where that came from, until when, and why not."""
    show([_row_of(block, address) for block in changed(address, None)], as_json=as_json)


def fingerprint_of(block: "Block") -> str:
    """An OpenPGP fingerprint, or the SHA-256 of an X.509 certificate; lower-case hexadecimal."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding
    from pysequoia import Cert

    if block.method == "openpgp":
        return str(Cert.from_bytes(block.octets).fingerprint).lower()
    certificate = x509.load_pem_x509_certificate(block.octets)
    return hashlib.sha256(certificate.public_bytes(Encoding.DER)).hexdigest()


def changed(address: str, change: Change | None) -> "Sequence[Block]":
    """The certificates that are registered after the change; None changes nothing."""
    settings = Settings.read()
    work = _reader(settings, address) if change is None else _writer(settings, address, change)
    return ask(settings, work)


def _row_of(block: "Block", address: str) -> dict[str, Any]:
    from serving.encryption.certificates import Unusable
    from serving.encryption.expiry import usable_until
    from serving.encryption.sources import origin_of

    judged = block.read(address, datetime.now(UTC))
    until = None if isinstance(judged, Unusable) else usable_until(judged)
    return {
        "method": block.method,
        "fingerprint": fingerprint_of(block),
        "source": origin_of(block).source.value,
        "until": None if until is None else until.timestamp(),
        "state": judged.reason if isinstance(judged, Unusable) else "usable",
    }


def _reader(settings: Settings, address: str) -> "Callable[[Client], Awaitable[Sequence[Block]]]":
    async def work(client: Client) -> "Sequence[Block]":
        return _held(settings, await _row(settings, client, address))

    return work


def _writer(settings: Settings, address: str, change: Change) -> "Callable[[Client], Awaitable[Sequence[Block]]]":
    from serving.encryption.bundle import blocks, bundle

    sealing = load_unsealing(settings.keys, "content").sealing_key

    async def work(client: Client) -> "Sequence[Block]":
        for _ in range(TRIES):
            row = await _row(settings, client, address)
            text = bundle(change(_held(settings, row)))
            kept = blocks(text.encode())
            sealed = sealing.seal(text.encode()).hex() if kept else None
            held = {"lookup": row["lookup"], "held": row["certificate"]}
            if (await client.execute("change_certificate", certificate=sealed, **held))["changed"]:
                return kept
        raise ConfigurationError("somebody changes this recipient's certificates at the same time; try again")

    return work


async def _row(settings: Settings, client: Client, address: str) -> dict[str, Any]:
    return await registered(client, load_lookup(settings.keys).address(address).hex())


def _held(settings: Settings, row: dict[str, Any]) -> "list[Block]":
    from serving.encryption.bundle import blocks

    if row["certificate"] is None:
        return []
    return blocks(load_unsealing(settings.keys, "content").unseal(bytes.fromhex(row["certificate"])))
