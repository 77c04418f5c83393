"""Whose certificates stop being usable soon: mail to them will be held, which they and the operator can prevent.

The certificates and the addresses lie sealed in the store, so this runs where the content key is.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from serving.encryption.bundle import METHODS, Block, blocks
from serving.encryption.certificates import Unusable
from serving.encryption.expiry import usable_until
from serving.errors import Unsealable
from serving.sealing import UnsealingKey

AHEAD = timedelta(days=30)


class Reader(Protocol):
    """What this asks of the broker."""

    async def query(self, name: str, /, **parameters: Any) -> list[dict[str, Any]]: ...


@dataclass(frozen=True, slots=True)
class Lapsing:
    """A recipient's certificate that ends at `until` or, where that is None, cannot be used now for the reason."""

    recipient: str
    block: Block
    until: datetime | None
    reason: str


async def lapsing(
    reader: Reader, content: UnsealingKey, now: datetime, within: timedelta = AHEAD, *, page_size: int = 1_000
) -> list[Lapsing | Unsealable]:
    """The certificates of all recipients of whom, for OpenPGP or for S/MIME, none lasts beyond `now + within`.

    Where one does, those that it stands in for are no reason to warn. An Unsealable stands for a recipient whose row
    the key does not open. `page_size` is how many recipients the broker names at once.
    """
    found: list[Lapsing | Unsealable] = []
    async for row in _recipients(reader, page_size):
        try:
            address = content.unseal(bytes.fromhex(row["address"])).decode()
            held = blocks(content.unseal(bytes.fromhex(row["certificate"])))
        except Unsealable as error:
            found.append(error)
            continue
        for method in METHODS:
            found += _lapsing([block for block in held if block.method == method], address, now, within)
    return found


def _lapsing(held: Sequence[Block], address: str, now: datetime, within: timedelta) -> list[Lapsing]:
    """All that are held for one method, or none because one of them lasts."""
    judged = [_judge(block, address, now, within) for block in held]
    ending = [each for each in judged if each is not None]
    return ending if len(ending) == len(held) else []


def _judge(block: Block, address: str, now: datetime, within: timedelta) -> Lapsing | None:
    """None where the certificate lasts longer."""
    certificate = block.read(address, now)
    if isinstance(certificate, Unusable):
        return Lapsing(address, block, None, certificate.reason)
    until = usable_until(certificate)
    return None if until is None or until > now + within else Lapsing(address, block, until, "")


async def _recipients(reader: Reader, page_size: int) -> AsyncIterator[dict[str, Any]]:
    after = ""
    while page := await reader.query("recipients_with_certificates", after=after, limit=page_size):
        for found in page:
            for row in await reader.query("recipient", lookup=found["lookup"]):
                if row["certificate"] is not None:  # which may have been taken away in between
                    yield row
        after = page[-1]["lookup"]
