"""The delivery stage: an envelope goes to the receiver until the receiver has it, has refused it, or time is over."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import assert_never

from serving.delivery.connections import Connections, Destination
from serving.delivery.parcel import Parcel, open_parcel
from serving.delivery.schedule import PATIENT, Schedule
from serving.delivery.signing import DkimKey
from serving.delivery.transaction import Failure, send
from serving.errors import Temporary
from serving.pipeline import Sent, Undeliverable
from serving.sealing import UnsealingKey
from serving.stage import Work
from serving.values import Receipt


class Delivery:
    """Sends one envelope a call. A mail may arrive twice only where a reply was lost, and then as the same mail: the
    Message-ID comes from the envelope."""

    def __init__(
        self,
        key: UnsealingKey,
        destination: Destination,
        *,
        expiry: float,
        random: Random,
        schedule: Schedule = PATIENT,
        timeout: float = 60.0,
        data_timeout: float = 600.0,
        keep: int = 8,
        clock: Callable[[], float] = time.time,
        dkim: DkimKey | None = None,
    ) -> None:
        """`expiry`: for how many seconds after the first failure to try; the timeouts are seconds for a reply;
        `keep`: how many idle connections stay open, best as many as the stage works on at once."""
        self._key = key
        self._connections = Connections(destination, timeout=timeout, keep=keep)
        self._expiry = expiry
        self._random = random
        self._schedule = schedule
        self._data_timeout = data_timeout
        self._clock = clock
        self._dkim = dkim

    async def close(self) -> None:
        """Give up the idle connections."""
        await self._connections.close()

    async def handle(self, work: Work) -> Sent | Undeliverable:
        """Sent with the receiver's own 250, or Undeliverable with its own refusal, or once its hold has expired.

        Raises:
            Temporary: the receiver cannot now, is not there, or its reply was lost.
            Unsealable: the body is no envelope for this key.
        """
        until = work.facts.get("hold", {}).get("until")
        if until and self._clock() > until:
            return Undeliverable("the hold for it expired before the receiver had it")
        parcel = await self._parcel(work)

        async def note_sending() -> None:
            await work.note("sending", {"sending": {"attempt": work.attempt, "at": self._clock()}})

        ending = await send(self._connections, parcel, before_data=note_sending, data_timeout=self._data_timeout)
        match ending:
            case Receipt():
                return Sent(ending)
            case Failure(reply, permanent=True):
                return Undeliverable(reply)
            case Failure():
                return await self._postpone(work, ending)
            case _:
                assert_never(ending)

    async def _parcel(self, work: Work) -> Parcel:
        parcel = open_parcel(self._key.unseal(work.body))
        if self._dkim is None or not parcel.is_ours:
            return parcel
        return replace(parcel, mail=await asyncio.to_thread(self._dkim.sign, parcel.mail))

    async def _postpone(self, work: Work, failure: Failure) -> Undeliverable:
        left = await self._first_failure(work) + self._expiry - self._clock()
        if left <= 0:
            return Undeliverable(f"tried for {self._expiry:.0f} s; last: {failure.reply}")
        delay = min(left, self._schedule.delay(work.attempt, self._random))
        raise Temporary(failure.reply, retry_after=delay, is_outage=failure.unreachable)

    async def _first_failure(self, work: Work) -> float:
        """When delivery first failed, in seconds since the epoch. Not when the mail was accepted: it may have waited
        for a key or for money longer than anybody tries to deliver."""
        if "failing" in work.facts:
            return float(work.facts["failing"]["since"])
        now = self._clock()
        await work.note("failing", {"failing": {"since": now}})
        return now
