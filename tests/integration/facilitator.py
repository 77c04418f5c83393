"""An x402 facilitator on a free loopback port, for one token, without any chain: it checks the signatures for real, and
where a real one would send a transaction it writes a line to a file. Whoever signs has all the money in the world.

Each nonce is spent once, as by EIP-3009. A transaction hash is the hash of the line and names nothing.
"""

import asyncio
import contextlib
import hashlib
import json
import os
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

import uvicorn
from eth_account import Account
from eth_account.messages import encode_typed_data
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

NETWORK, CHAIN = "eip155:84532", 84532
ASSET = "0x036CbD53842c5426634e7929541eC2318f3dCF7e"
NAME, TOKEN_VERSION = "USDC", "2"
HANG = 3.0
REFUSED = "invalid_exact_evm_"
_FIELDS = {
    "from": "address",
    "to": "address",
    "value": "uint256",
    "validAfter": "uint256",
    "validBefore": "uint256",
    "nonce": "bytes32",
}


class Fault(StrEnum):
    """What goes wrong with one /settle."""

    SILENCE = "silence"  # carries it out and does not answer
    HTML = "html"  # carries it out and answers with a web page
    ERROR = "error"  # answers 500 and does nothing


class Facilitator:
    """Its memory and its routes; `faults` are those of the next requests to /settle, in order."""

    def __init__(self, log: Path) -> None:
        self.url = ""
        self.faults: list[Fault] = []
        self.asked: list[str] = []
        self._log = log
        self._spending = asyncio.Lock()

    def settlements(self) -> list[dict[str, Any]]:
        """All that was carried out."""
        return [json.loads(line) for line in self._log.read_text().splitlines()] if self._log.exists() else []

    def application(self) -> Starlette:
        """The ASGI application."""
        return Starlette(
            routes=[
                Route("/supported", self.supported, methods=["GET"]),
                Route("/verify", self.verify, methods=["POST"]),
                Route("/settle", self.settle, methods=["POST"]),
            ]
        )

    async def supported(self, _: Request) -> Response:
        """What it takes."""
        kind = {"x402Version": 2, "scheme": "exact", "network": NETWORK}
        return JSONResponse({"kinds": [kind], "extensions": [], "signers": {}})

    async def verify(self, request: Request) -> Response:
        """Whether it would be carried out now."""
        self.asked.append("verify")
        payer, reason = self._judge(await request.json())
        return JSONResponse({"isValid": not reason, "payer": payer, **({"invalidReason": reason} if reason else {})})

    async def settle(self, request: Request) -> Response:
        """Carry it out, once."""
        self.asked.append("settle")
        fault = self.faults.pop(0) if self.faults else None
        if fault is Fault.ERROR:
            return JSONResponse({"error": "out of order"}, 500)
        body = await request.json()
        async with self._spending:
            payer, reason = self._judge(body)
            transaction = "" if reason else self._spend(body["paymentPayload"]["payload"]["authorization"])
        if fault is Fault.SILENCE:
            await asyncio.sleep(HANG)
        if fault is Fault.HTML:
            return HTMLResponse("<!doctype html><h1>502 Bad Gateway</h1>", 502)
        answer = {"success": not reason, "payer": payer, "transaction": transaction, "network": NETWORK}
        return JSONResponse({**answer, "errorReason": reason} if reason else answer)

    def _judge(self, body: Mapping[str, Any]) -> tuple[str, str]:
        """The payer, and why it is refused; empty for what is good."""
        wanted, payload = body["paymentRequirements"], body["paymentPayload"]["payload"]
        signed = payload["authorization"]
        spent = {(each["from"].lower(), each["nonce"].lower()) for each in self.settlements()}
        failures = {
            "network_mismatch": (wanted["network"], wanted["asset"]) != (NETWORK, ASSET),
            f"{REFUSED}payload_recipient_mismatch": signed["to"].lower() != wanted["payTo"].lower(),
            f"{REFUSED}payload_authorization_value_mismatch": int(signed["value"]) != int(wanted["amount"]),
            f"{REFUSED}payload_authorization_valid_before": int(signed["validBefore"]) < time.time() + 6,
            f"{REFUSED}payload_authorization_valid_after": int(signed["validAfter"]) > time.time(),
            f"{REFUSED}payload_signature": _signer(signed, payload["signature"]) != signed["from"],
            f"{REFUSED}nonce_already_used": (signed["from"].lower(), signed["nonce"].lower()) in spent,
        }
        return signed["from"], next((reason for reason, failed in failures.items() if failed), "")

    def _spend(self, authorization: Mapping[str, str]) -> str:
        """On the disk before anybody hears of it."""
        line = json.dumps(dict(authorization))
        with self._log.open("a") as log:
            log.write(line + "\n")
            log.flush()
            os.fsync(log.fileno())
        return "0x" + hashlib.sha256(line.encode()).hexdigest()


@contextlib.contextmanager
def running(log: Path) -> Iterator[Facilitator]:
    """A facilitator in a thread of its own, until the block ends."""
    facilitator, listener = Facilitator(log), socket.create_server(("127.0.0.1", 0))
    facilitator.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    config = uvicorn.Config(
        facilitator.application(), log_level="critical", lifespan="off", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield facilitator
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()


def _signer(signed: Mapping[str, str], signature: str) -> str:
    """Who signed it by EIP-712; empty for what is no signature."""
    message = {name: int(signed[name]) if kind == "uint256" else signed[name] for name, kind in _FIELDS.items()}
    types = {"TransferWithAuthorization": [{"name": name, "type": kind} for name, kind in _FIELDS.items()]}
    domain = {"name": NAME, "version": TOKEN_VERSION, "chainId": CHAIN, "verifyingContract": ASSET}
    with contextlib.suppress(Exception):  # a library of many layers, and a hostile signature may fail in each
        return str(Account.recover_message(encode_typed_data(domain, types, message), signature=signature))
    return ""
