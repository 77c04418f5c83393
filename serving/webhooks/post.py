"""One attempt: a signed event goes to its receiver, and what that says is read as far as it matters."""

import asyncio
import email.utils
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import httpx

from serving.errors import Temporary
from serving.webhooks.places import Impossible, Place, Places

LARGEST_REPLY = 64 << 10


@dataclass(frozen=True, slots=True)
class Reply:
    """How it ended, as a few words of ours; `retry_after` is seconds that the receiver asks for, 0.0 for none."""

    is_told: bool
    words: str
    is_gone: bool = False
    is_throttled: bool = False
    retry_after: float = 0.0


class Post:
    """Sends to one receiver over connections that it keeps; `timeout` is seconds for an attempt, all in all."""

    def __init__(
        self,
        places: Places,
        *,
        timeout: float = 15.0,
        connections: int = 8,
        tls: ssl.SSLContext | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._places, self._timeout, self._clock = places, timeout, clock
        # No two receivers share connections: hosts may have one address, and a connection is of one host.
        limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
        self._client = httpx.AsyncClient(
            verify=tls or ssl.create_default_context(), timeout=timeout, trust_env=False, limits=limits
        )

    async def close(self) -> None:
        """End the connections."""
        await self._client.aclose()

    async def send(self, url: str, fields: Mapping[str, str], body: bytes) -> Reply:
        """The receiver's answer, or why there is none; only 2xx means that it was told, and no redirect is followed."""
        try:
            async with asyncio.timeout(self._timeout):
                place = await self._places.find(url)
                if isinstance(place, Impossible):
                    return Reply(False, place.reason)
                return await self._try_each(place, fields, body)
        except (TimeoutError, httpx.TimeoutException):
            return Reply(False, f"no answer within {self._timeout:.0f} s")
        except Temporary:
            return Reply(False, "the DNS does not answer")
        except httpx.HTTPError as error:
            return Reply(False, f"the connection failed ({type(error).__name__})")

    async def _try_each(self, place: Place, fields: Mapping[str, str], body: bytes) -> Reply:
        """The next address only where the one before could not be connected to: then nothing was sent."""
        *others, last = place.addresses
        for address in others:
            try:
                return await self._post(place, address, fields, body)
            except (httpx.ConnectError, httpx.ConnectTimeout):
                continue
        return await self._post(place, last, fields, body)

    async def _post(self, place: Place, address: str, fields: Mapping[str, str], body: bytes) -> Reply:
        # The target is no part of the URL because httpx logs URLs, and a receiver may take its path for a secret.
        url = httpx.URL(scheme=place.scheme, host=address, port=place.port, path="/")
        headers = {"Host": place.host, "Content-Type": "application/json", "User-Agent": "Clarion-Webhooks/1", **fields}
        extensions = {"sni_hostname": place.name, "target": place.target.encode()}
        async with self._client.stream("POST", url, content=body, headers=headers, extensions=extensions) as response:
            if response.is_success:
                await _drain(response)
            return _reply(response, self._clock())


async def _drain(response: httpx.Response) -> None:
    """A short answer is read to its end, so that the connection can be used again; any other ends with it."""
    size = 0
    try:
        async for piece in response.aiter_raw():
            size += len(piece)
            if size > LARGEST_REPLY:
                return
    except httpx.HTTPError:  # the status was 2xx: whatever was to follow says nothing
        return


def _reply(response: httpx.Response, now: float) -> Reply:
    status = response.status_code
    return Reply(
        is_told=response.is_success,
        words=f"status {status}",
        is_gone=status == httpx.codes.GONE,
        is_throttled=status in (httpx.codes.TOO_MANY_REQUESTS, httpx.codes.SERVICE_UNAVAILABLE),
        retry_after=0.0 if response.is_success else _seconds(response.headers.get("retry-after", ""), now),
    )


def _seconds(retry_after: str, now: float) -> float:
    """RFC 9110 section 10.2.3: seconds, or a date; 0.0 for what is neither."""
    if retry_after.isascii() and retry_after.isdecimal() and len(retry_after) < 10:
        return float(retry_after)
    try:
        return max(email.utils.parsedate_to_datetime(retry_after).timestamp() - now, 0.0)
    except (ValueError, OverflowError, TypeError):
        return 0.0
