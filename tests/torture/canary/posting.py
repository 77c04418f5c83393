"""Posts the letters and asks after them, and repeats until there is an answer: everything may be dead just now."""

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import aiosmtplib
import httpx

from serving.errors import ConfigurationError
from tests.torture.canary.letters import Letter

PATIENCE = 400.0
"""Seconds for which a request is repeated while nobody answers, or with 5xx."""


class Post:
    """One sender; `ids` holds the notification that each letter became, `refusals` how the others were answered."""

    def __init__(self, url: str, smtp_port: int, api_key: str, *, at_once: int = 12) -> None:
        limits = httpx.Limits(max_connections=at_once, max_keepalive_connections=at_once)
        self._http = httpx.AsyncClient(base_url=url, timeout=60.0, limits=limits, trust_env=False)
        self._authorization = {"Authorization": f"Bearer {api_key}"}
        self._smtp_port, self._api_key = smtp_port, api_key
        self.ids: dict[int, str] = {}

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def send(self, letter: Letter) -> None:
        """Have it accepted. Raises ConfigurationError where it is refused."""
        if letter.is_by_smtp:
            message = (await self._insist_by_smtp(letter)).rpartition(" ")[2]
            found = (await self._insist("GET", f"/v1/messages/{message}")).json()
            self.ids[letter.number] = found["notifications"][0]["id"]
            return
        headers = {"Content-Type": letter.media_type, "Idempotency-Key": f"canary-{letter.number}"}
        answer = await self._insist("POST", "/v1/notify", letter.content, headers)
        if answer.status_code != 202:
            raise ConfigurationError(f"canary {letter.number} was refused: {answer.status_code} {answer.text}")
        self.ids[letter.number] = answer.json()["notifications"][0]["id"]

    async def find(self, id_: str) -> dict[str, Any] | None:
        """Where it is and how it got there; None where the API does not know it."""
        answer = await self._insist("GET", f"/v1/notifications/{id_}")
        found: dict[str, Any] | None = answer.json() if answer.status_code == 200 else None
        return found

    async def react(self, id_: str, kind: str) -> None:
        """Say what the recipient thought of it."""
        content = f'{{"kind": "{kind}"}}'.encode()
        await self._insist("POST", f"/v1/notifications/{id_}/feedback", content, {"Content-Type": "application/json"})

    async def ask(self, path: str, media_type: str, content: bytes, *, with_key: bool = True) -> int:
        """The status of any other POST."""
        authorization = {} if with_key else {"Authorization": "Bearer clarion_of_nobody"}
        return (await self._insist("POST", path, content, {"Content-Type": media_type, **authorization})).status_code

    async def _insist(
        self, method: str, path: str, content: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        deadline = time.monotonic() + PATIENCE
        while True:
            answer = await self._try(method, path, content, {**self._authorization, **(headers or {})})
            if answer is not None and answer.status_code < 500:
                return answer
            if time.monotonic() > deadline:
                raise ConfigurationError(f"{path} does not answer; see the log of the gateway")
            await asyncio.sleep(0.3)

    async def _insist_by_smtp(self, letter: Letter) -> str:
        """What the intake says to the mail, which it has when it says so."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                return await self._say(letter)
            except (aiosmtplib.SMTPException, OSError) as error:
                code = getattr(error, "code", 0)
                if 500 <= code < 600 or time.monotonic() > deadline:
                    raise ConfigurationError(f"canary {letter.number} was not taken by SMTP: {code}") from None
            await asyncio.sleep(0.3)

    async def _say(self, letter: Letter) -> str:
        client = aiosmtplib.SMTP(
            hostname="127.0.0.1", port=self._smtp_port, use_tls=False, start_tls=False, timeout=60.0
        )
        async with client:
            await client.login("canary", self._api_key)
            sender = f"ops@{letter.person.sender_domain}"
            _, said = await client.sendmail(sender, [letter.person.address], letter.content)
        return said

    async def _try(self, method: str, path: str, content: bytes, headers: Mapping[str, str]) -> httpx.Response | None:
        try:
            return await self._http.request(method, path, content=content, headers=headers)
        except httpx.TransportError:
            return None
