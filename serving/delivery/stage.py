"""The delivery stage: an envelope goes to the receiver until the receiver has it, has refused it, or time is over."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from random import Random
from typing import assert_never

from serving.delivery.connections import Connections
from serving.delivery.lanes import Crowded, Lanes, Place
from serving.delivery.parcel import Parcel, open_parcel
from serving.delivery.routes import NoRoute, Router
from serving.delivery.schedule import PATIENT, Schedule
from serving.delivery.signing import DkimKey
from serving.delivery.tls import Contexts
from serving.delivery.transaction import Failure, send
from serving.errors import Temporary
from serving.pipeline import Sent, Undeliverable
from serving.sealing import UnsealingKey
from serving.stage import Work
from serving.values import Receipt

_LONG = 30.0
_CROWDED = "its destination is taking other mail, or hangs"


class Delivery:
    """Sends one envelope a call. A mail may arrive twice only where a reply was lost, and then as the same mail: the
    Message-ID comes from the envelope."""

    def __init__(
        self,
        key: UnsealingKey,
        router: Router,
        *,
        expiry: float,
        random: Random,
        schedule: Schedule = PATIENT,
        timeout: float = 60.0,
        data_timeout: float = 600.0,
        places: int = 64,
        connections: int = 10,
        rate: float = 0.0,
        mails: int = 100,
        idle: float = 30.0,
        tls: Contexts | None = None,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        dkim: DkimKey | None = None,
    ) -> None:
        """`expiry`: for how many seconds after the first failure to try; the timeouts are seconds for a reply;
        `places`: as many as the stage works on at once; `connections`, and mails a second (`rate`, 0: any), to one
        destination; a connection ends after that many `mails`, or `idle` seconds without one."""
        self._key = key
        self._router = router
        self._connections = Connections(router.hostname, timeout=timeout, keep=places, idle=idle, mails=mails, tls=tls)
        self._lanes = Lanes(places=places, connections=connections, rate=rate, clock=monotonic, random=random)
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
        parcel = open_parcel(self._key.unseal(work.body))
        domain = parcel.rcpt_to.rpartition("@")[2].lower()
        place = await self._lanes.enter(self._router.destination(domain), urgent=work.urgent)
        if isinstance(place, Crowded):
            return await self._turned_away(work, place)
        with place:
            ending = await self._send(work, parcel, domain, place)
        match ending:
            case Receipt():
                return Sent(ending)
            case Failure(reply, permanent=True):
                return Undeliverable(reply)
            case Failure():
                return await self._postpone(work, ending)
            case _:
                assert_never(ending)

    async def _send(self, work: Work, parcel: Parcel, domain: str, place: Place) -> Receipt | Failure:
        try:
            servers = await self._router.servers(domain)
        except Temporary as temporary:
            return Failure(str(temporary), permanent=False, broken=True)
        if isinstance(servers, NoRoute):
            place.answered()
            return Failure(servers.reply, permanent=True)

        async def note_sending() -> None:
            place.answered()
            await work.note("sending", {"sending": {"attempt": work.attempt, "at": self._clock()}})

        ending = await send(
            partial(self._connections.borrow, servers),
            await self._signed(parcel),
            before_data=note_sending,
            data_timeout=self._data_timeout,
        )
        place.answered(isinstance(ending, Receipt) or not (ending.unreachable or ending.broken))
        return ending

    async def _signed(self, parcel: Parcel) -> Parcel:
        if self._dkim is None or not parcel.is_ours:
            return parcel
        return replace(parcel, mail=await asyncio.to_thread(self._dkim.sign, parcel.mail))

    async def _postpone(self, work: Work, failure: Failure) -> Undeliverable:
        """Tries are counted here and not by claims: what was turned away was claimed, and not tried."""
        since, tries = self._failing(work)
        tries += 1
        await work.note("failing", {"failing": {"since": since, "tries": tries}})
        is_one = self._router.is_one_for_all
        reply = self._router.absence(failure.reply) if failure.unreachable else failure.reply
        delay = self._schedule.delay(tries, self._random)
        return self._later(since, delay, reply, is_outage=failure.unreachable and is_one)

    async def _turned_away(self, work: Work, crowded: Crowded) -> Undeliverable:
        """It comes again soon and has not been tried; but if it waits for long, its time has begun. The history is told
        the first time, the second, the fourth and so on: a server that hangs for days must not fill the store."""
        since, tries = self._failing(work)
        if "failing" not in work.facts and crowded.delay > _LONG:
            await work.note("failing", {"failing": {"since": since, "tries": tries}})
        is_told = work.attempt & (work.attempt - 1) == 0
        return self._later(since, crowded.delay, _CROWDED, is_told=is_told)

    def _failing(self, work: Work) -> tuple[float, int]:
        """Since when delivery fails, in seconds since the epoch, and how often it was tried. Not since the mail was
        accepted: it may have waited for a key or for money longer than anybody tries to deliver."""
        failing = work.facts.get("failing", {})
        return float(failing.get("since", self._clock())), int(failing.get("tries", 0))

    def _later(
        self, since: float, delay: float, reply: str, *, is_outage: bool = False, is_told: bool = True
    ) -> Undeliverable:
        left = since + self._expiry - self._clock()
        if left <= 0:
            return Undeliverable(f"tried for {self._expiry:.0f} s; last: {reply}")
        raise Temporary(reply, retry_after=min(left, delay), is_outage=is_outage, is_told=is_told)
