"""A gateway where machines pay: over HTTP, on the real broker, with x402's own client and a chainless facilitator."""

import asyncio
import base64
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from eth_account import Account
from eth_account.signers.local import LocalAccount
from nacl.public import PrivateKey
from starlette.applications import Starlette
from starlette.routing import Mount
from x402 import x402Client
from x402.http import decode_payment_required_header
from x402.http.clients.httpx import x402HttpxClient
from x402.mechanisms.evm.exact import ExactEvmScheme
from x402.mechanisms.evm.signers import EthAccountSigner
from x402.schemas import PaymentPayload, PaymentRequired

from serving.authentication.api_keys import hash_key, new_key
from serving.gateway.api import Api, Keys
from serving.gateway.app import application
from serving.gateway.machine_payments import Machine, MachinePayments
from serving.gateway.machine_terms import Coin
from serving.payment.policy import Defaults
from serving.payment.x402_client import Facilitator
from serving.queue.client import Client
from serving.sealing import LookupKey, UnsealingKey
from tests.integration import facilitator as chainless

PRICE, IN_ATOMIC = 5, 50_000
TIMEOUT = 0.5
NOTICE = {"from": "ops@example.org", "to": "ada@example.net", "subject": "Disk full", "text": "db1 is full"}
OURS, THEIRS = Account.create().address, Account.create().address
COIN = Coin(chainless.NETWORK, chainless.ASSET, chainless.NAME, chainless.TOKEN_VERSION, 6, OURS)


@dataclass
class Clock:
    """The time, and how far a test has gone ahead of it."""

    ahead: float = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


@dataclass
class Gateway:
    """The public API over HTTP, and everything behind it."""

    url: str
    client: Client
    facilitator: chainless.Facilitator
    settling: Facilitator
    clock: Clock
    account: LocalAccount = field(default_factory=Account.create)
    keys: dict[str, str] = field(default_factory=dict)

    async def enroll(self, principal: str, **policy: Any) -> None:
        key = self.keys[principal] = new_key().key
        await self.client.execute(
            "enroll_principal", id=principal, name=principal, key_hash=hash_key(key), domains=[], policy=policy
        )

    def machine(self, principal: str = "machine") -> httpx.AsyncClient:
        """x402's own client, as a stranger would set it up."""
        return x402HttpxClient(self.payer(), base_url=self.url, headers=self._authorization(principal), timeout=10.0)

    def payer(self) -> x402Client:
        return x402Client().register("eip155:*", ExactEvmScheme(EthAccountSigner(self.account)))

    async def notify(self, proof: str = "", key: str = "", principal: str = "machine", **changes: Any) -> Any:
        """One request, without anybody's automatic answer to a 402."""
        headers = {"PAYMENT-SIGNATURE": proof, "Idempotency-Key": key}
        stated = self._authorization(principal) | {name: value for name, value in headers.items() if value}
        async with httpx.AsyncClient(base_url=self.url, timeout=10.0) as http:
            return await http.post("/notify", json=NOTICE | changes, headers=stated)

    async def proof(self, **changes: Any) -> str:
        """A payment for what a notification costs, or for terms that the test changes."""
        demand = terms_of(await self.notify())
        demand.accepts[0] = demand.accepts[0].model_copy(update=changes)
        return encoded(await self.payer().set_spend_controls(False).create_payment_payload(demand))

    async def balance(self, principal: str = "machine") -> int:
        rows = await self.client.query("balance", account=f"wallet:sender:{principal}")
        return int(rows[0]["balance"]) if rows else 0

    async def spend(self, principal: str = "machine") -> None:
        """What the payment stage does with it: all of the wallet is held."""
        amount = await self.balance(principal)
        postings = [
            {"account": f"wallet:sender:{principal}", "amount": -amount},
            {"account": "hold:1", "amount": amount},
        ]
        reserve = {"key": f"spent:{self.clock()}", "postings": postings, "currency": "USD"}
        await self.client.execute(
            "open_intent", key=reserve["key"], verb="hold", notification=None, payload={}, reserve=reserve
        )

    async def is_untouched(self) -> bool:
        """Whether nobody paid, nobody was credited, and nothing is left to be asked about."""
        open_ = [each["key"] for each in await self.client.query("intents", state="open")]
        return not (self.facilitator.settlements() or await self.balance() or open_)

    def later(self) -> None:
        """Go to when the first attempt to settle is certainly over."""
        self.clock.ahead += 2 * TIMEOUT + 0.1

    def _authorization(self, principal: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.keys[principal]}"}


def terms_of(response: httpx.Response) -> PaymentRequired:
    demand = decode_payment_required_header(response.headers["PAYMENT-REQUIRED"])
    assert isinstance(demand, PaymentRequired)
    return demand


def encoded(payment: object) -> str:
    assert isinstance(payment, PaymentPayload)
    return base64.b64encode(payment.model_dump_json(by_alias=True, exclude_none=True).encode()).decode()


@asynccontextmanager
async def paying(client: Client, log: Path) -> AsyncIterator[Gateway]:
    """The gateway with a sender, `machine`, that pays and has nothing; the facilitator keeps its log there."""
    clock = Clock()
    with chainless.running(log) as facilitator:
        settling = Facilitator(facilitator.url, timeout=TIMEOUT)
        payments = MachinePayments(client, Defaults(PRICE, "USD", 60.0), Machine(COIN, settling), clock=clock)
        keys = Keys(UnsealingKey(bytes(PrivateKey.generate())).sealing_key, LookupKey(bytes(32)))
        app = application()
        app.state.api = Api(client, keys, _judge, limit=20_000, domain="clarion.invalid", payments=payments)
        async with _served(Starlette(routes=[Mount("/v1", app)])) as url:
            gateway = Gateway(f"{url}/v1", client, facilitator, settling, clock)
            await gateway.enroll("machine", pays="sender")
            yield gateway
        await settling.close()


@asynccontextmanager
async def _served(app: Starlette) -> AsyncIterator[str]:
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off", timeout_graceful_shutdown=1))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    await serving
    listener.close()


async def _judge(*_: Any) -> Any:
    raise AssertionError("nothing is classified here")
