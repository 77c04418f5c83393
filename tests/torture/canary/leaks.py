"""Faults on purpose: the torturer itself writes a canary where none may be, and the search must find it."""

import base64

from serving.enrolment import Registrar
from serving.keyring import load_sealing
from serving.queue.client import Client
from serving.sealing import load_lookup
from tests.torture.canary.cast import DOMAIN
from tests.torture.canary.house import House
from tests.torture.canary.tokens import Tokens

LEAKS = ("store", "log", "scratch")


async def leak(place: str, house: House, tokens: Tokens) -> None:
    """Write one canary: through the broker as it is, into a log in base64, into a temporary file in UTF-16."""
    text = tokens.new(f"leak into the {place}")
    match place:
        case "store":
            await _into_store(house, text)
        case "log":
            with (house.settings.home / "log" / "gateway.log").open("ab") as log:
                log.write(base64.b64encode(f"failed: {text}".encode()) + b"\n")
        case "scratch":
            folder = next(house.scratch.iterdir())
            (folder / "upload").write_bytes(f"Subject: {text}\n".encode("utf-16"))


async def _into_store(house: House, text: str) -> None:
    """As a sender's name, which is no secret and kept as it is."""
    keys = house.settings.keys
    client = await Client.connect(house.settings.socket, timeout=60.0)
    try:
        await Registrar(client, load_sealing(keys, "content"), load_lookup(keys)).principal("leak", text, [DOMAIN], {})
    finally:
        await client.close()
