"""What a proven mail announces of its sender's own certificate (Autocrypt) is kept for the mail that they get, where
nothing better is known."""

import asyncio
import logging
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Protocol

from serving.authentication.mail_sender import sender_address
from serving.encryption.autocrypt import learned
from serving.errors import BrokerUnavailable
from serving.mail import Mail, split
from serving.sealing import LookupKey, UnsealingKey

_log = logging.getLogger(__name__)


class Store(Protocol):
    """What this asks of the broker."""

    async def query(self, name: str, /, **parameters: Any) -> list[dict[str, Any]]: ...

    async def execute(self, name: str, /, **parameters: Any) -> dict[str, Any]: ...


class Learning:
    """Learns of people who are registered as recipients, and of nobody else."""

    def __init__(self, store: Store, content: UnsealingKey, lookup: LookupKey) -> None:
        self._store = store
        self._content = content
        self._lookup = lookup

    async def __call__(self, raw: bytes, accepted_at: float) -> None:
        """Of a mail whose From domain has signed its Autocrypt field; `accepted_at` is seconds since the epoch.

        Whatever is wrong with the announcement is no reason to do anything else with the mail. Raises
        BrokerUnavailable.
        """
        try:
            await self._learn(raw, accepted_at)
        except BrokerUnavailable:
            raise
        except Exception as error:
            _log.warning("an Autocrypt field was not heard: %s", type(error).__name__)

    async def _learn(self, raw: bytes, accepted_at: float) -> None:
        mail, address = split(raw), sender_address(raw)
        if mail is None or not isinstance(address, str) or _is_automatic_answer(mail):
            return
        values = [field.value for field in mail.fields if field.name == "autocrypt"]
        if len(values) != 1:  # the signature covers one, and nobody says which
            return
        rows = await self._store.query("recipient", lookup=self._lookup.address(address).hex())
        if not rows:
            return
        held = rows[0]["certificate"]
        sealed = await asyncio.to_thread(self._kept, held, values[0], address, _written_at(mail, accepted_at))
        if sealed is None:
            return
        await self._store.execute("change_certificate", lookup=rows[0]["lookup"], certificate=sealed, held=held)

    def _kept(self, held: str | None, value: bytes, address: str, now: datetime) -> str | None:
        """The sealed certificate to keep in place of the one that is held; None where that stays."""
        text = "" if held is None else self._content.unseal(bytes.fromhex(held)).decode()
        kept = learned(text, value, address, now)
        return None if kept is None else self._content.sealing_key.seal(kept.encode()).hex()


def _is_automatic_answer(mail: Mail) -> bool:
    """What Autocrypt does not listen to: answers of machines, and reports."""
    answered = mail.first("auto-submitted").lower().startswith(b"auto-replied")
    return answered or mail.first("content-type").lower().startswith(b"multipart/report")


def _written_at(mail: Mail, accepted_at: float) -> datetime:
    """By its Date, or when it arrived if that is earlier."""
    arrived = datetime.fromtimestamp(accepted_at, UTC)
    try:
        date = parsedate_to_datetime(mail.first("date").decode("ascii", "replace"))
    except (ValueError, IndexError, OverflowError):
        return arrived
    return min(date.replace(tzinfo=date.tzinfo or UTC), arrived)
