"""Senders are told of mail that was taken and came back later. Runs beside a stage that holds the content key, since
whom to tell lies sealed in the message."""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NoReturn, Protocol

from serving.errors import BrokerUnavailable, Refused, Unsealable
from serving.identifiers import format_id
from serving.origin import origin_of
from serving.reports import Report, sealed_report
from serving.sealing import LookupKey, UnsealingKey

EVERY = 5.0

_log = logging.getLogger(__name__)


class Store(Protocol):
    """What this asks of the broker."""

    async def query(self, name: str, /, **parameters: Any) -> list[dict[str, Any]]: ...

    async def execute(self, name: str, /, **parameters: Any) -> dict[str, Any]: ...


@dataclass(frozen=True, slots=True)
class Teller:
    """Writes the reports; `mail_from` is our own address."""

    store: Store
    content: UnsealingKey
    lookup: LookupKey
    mail_from: str

    async def tell(self) -> int:
        """Tell every sender that is to be told; returns how many reports were written.

        Raises:
            BrokerUnavailable: some wait until it is back.
        """
        count = 0
        for row in await self.store.query("bounces_waiting"):
            try:
                count += await self._tell(row)
            except Unsealable as error:  # its key may come back
                _log.error("notification %s: no report that it came back: %s", row["id"], error)
            except Refused as refused:
                if refused.reason == "storage":
                    raise
                _log.error("notification %s: no report that it came back: %s", row["id"], refused.reason)
                await self._close(row)
        return count

    async def _tell(self, row: Mapping[str, Any]) -> bool:
        written = await self._written(row)
        if written is None:
            await self._close(row)
            return False
        answer = await self.store.execute("report", about=row["id"], action=row["action"], **written)
        return bool(answer["fresh"])

    async def _close(self, row: Mapping[str, Any]) -> None:
        await self.store.execute("close_bounce", id=row["id"], action=row["action"])

    async def _written(self, row: Mapping[str, Any]) -> dict[str, Any] | None:
        """The report, None where nobody is to be told, or the message is not kept any more."""
        bodies = await self.store.query("body", message=row["message"])
        sealed = bytes.fromhex(bodies[0]["body"]) if bodies else b""
        return await asyncio.to_thread(self._write, row, sealed) if sealed else None

    def _write(self, row: Mapping[str, Any], sealed: bytes) -> dict[str, Any] | None:
        mail, rcpt_to = self.content.unseal(sealed), self.content.unseal(bytes.fromhex(row["address"])).decode()
        try:
            origin = origin_of(mail, row["facts"], rcpt_to, self.mail_from, self.lookup)
            if origin is None or not origin.wants(row["action"]):
                return None
            content = self.content.sealing_key
            return sealed_report(origin, rcpt_to, _report(row), self.mail_from, mail, row["facts"], content)
        except Exception as error:  # a mail of anybody, and a letter that cannot be written would be tried for ever
            _log.error("notification %s: no report that it came back: %s", row["id"], type(error).__name__)
            return None


async def keep_telling(teller: Teller, *, every: float = EVERY) -> NoReturn:
    """`tell` every so many seconds, until cancelled."""
    while True:
        try:
            await teller.tell()
        except BrokerUnavailable:
            pass  # the next look finds the same
        except Exception as error:
            _log.warning("senders of mail that came back are told later: %s", type(error).__name__)
        await asyncio.sleep(every)


def _report(row: Mapping[str, Any]) -> Report:
    id_, action = format_id(int(row["id"])), row["action"]
    return Report(id_, action, row["reply"], arrived=_date(row["accepted_at"]), at=_date(row["at"]))


def _date(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)
