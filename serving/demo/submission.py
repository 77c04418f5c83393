"""The demo's senders: they post mail to the HTTP endpoint, and repeat what got no answer under the same key."""

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import httpx

from serving.demo.audit import Found, found_in
from serving.demo.mailbox import Mail

PATIENCE = 120.0
"""Seconds for which a mail is offered again while nobody answers, or the answer is 5xx or 429."""


@dataclass(frozen=True, slots=True)
class Receipts:
    """What the senders were told: ids by sender, one each notification, and how many mails were refused (4xx)."""

    ids: dict[str, str]
    refused: dict[str, int]

    @property
    def accepted(self) -> list[str]:
        """The ids of all 202s."""
        return list(self.ids)


class Senders:
    """Posts and asks with each sender's own API key, a bounded number of requests at once."""

    def __init__(self, url: str, keys: Mapping[str, str], *, at_once: int = 12) -> None:
        limits = httpx.Limits(max_connections=at_once, max_keepalive_connections=at_once)
        self._http = httpx.AsyncClient(base_url=url, timeout=60.0, limits=limits, trust_env=False)
        self._keys = keys
        self._turns = asyncio.Semaphore(at_once)
        self.receipts = Receipts({}, {})

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def post(self, mail: Mail, sender: str, progress: Callable[[], None]) -> None:
        """Post one mail; a 4xx is taken down as refused, anything but an answer is repeated with the same key."""
        headers = {
            "Authorization": f"Bearer {self._keys[sender]}",
            "Content-Type": "message/rfc822",
            "Idempotency-Key": hashlib.sha256(mail.raw).hexdigest(),
        }
        async with self._turns:
            response = await self._insist("POST", "/v1/notify", headers, mail.raw)
        if response.status_code == 202:
            for notification in response.json()["notifications"]:
                self.receipts.ids[notification["id"]] = sender
        else:
            code = _error_code(response)
            self.receipts.refused[code] = self.receipts.refused.get(code, 0) + 1
        progress()

    async def find(self, id_: str) -> Found | None:
        """What the API says of one notification; None when it does not know it."""
        headers = {"Authorization": f"Bearer {self._keys[self.receipts.ids[id_]]}"}
        async with self._turns:
            response = await self._insist("GET", f"/v1/notifications/{id_}", headers)
        return found_in(response.json()) if response.status_code == 200 else None

    async def find_all(self) -> dict[str, Found | None]:
        """What the API says of every accepted notification."""
        ids = self.receipts.accepted
        return dict(zip(ids, await asyncio.gather(*map(self.find, ids)), strict=True))

    async def _insist(self, method: str, path: str, headers: Mapping[str, str], content: bytes = b"") -> httpx.Response:
        deadline = asyncio.get_running_loop().time() + PATIENCE
        while True:
            answer = await self._try(method, path, headers, content)
            if isinstance(answer, httpx.Response) and answer.status_code < 500 and answer.status_code != 429:
                return answer
            if asyncio.get_running_loop().time() > deadline:
                if isinstance(answer, Exception):
                    raise answer
                return answer
            await asyncio.sleep(0.3)

    async def _try(
        self, method: str, path: str, headers: Mapping[str, str], content: bytes
    ) -> httpx.Response | httpx.TransportError:
        try:
            return await self._http.request(method, path, headers=headers, content=content)
        except httpx.TransportError as error:
            return error


def _error_code(response: httpx.Response) -> str:
    try:
        return f"{response.status_code} {response.json()['error']}"
    except (ValueError, KeyError, TypeError):
        return str(response.status_code)
