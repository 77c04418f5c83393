"""What the whole stage takes for a mail, in processor time, and which part takes how much of it."""

import asyncio
import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

from pysequoia import Cert, Tsk

from experiments.benchmarks.encryption.mails import GATEWAY, RECIPIENT
from experiments.benchmarks.encryption.peers import OUTSIDE
from experiments.benchmarks.measuring import Measured, interleaved
from serving.encryption.certificates import read_certificate
from serving.encryption.sealed import enclose
from serving.encryption.stage import Encryption
from serving.sealing import LookupKey, UnsealingKey
from serving.stage import Work

PARTS = (
    "unsealing body, address and certificate",
    "judging the certificate",
    "sealing to the recipient",
    "sealing for delivery",
)
WHOLE = "handle"

_CONTENT, _DELIVERY = UnsealingKey(b"\x11" * 32), UnsealingKey(b"\x22" * 32)


class Broker:
    """Answers at once with one recipient who has a certificate."""

    def __init__(self, certificate: bytes) -> None:
        self._row = {"certificate": _CONTENT.sealing_key.seal(certificate).hex(), "policy": {}}

    async def query(self, name: str, /, **_: Any) -> list[dict[str, Any]]:
        """The recipient, or no policy of a sender."""
        return [self._row] if name == "recipient" else []


async def _note(kind: str, _: Mapping[str, Any]) -> None:
    raise AssertionError(f"the stage notes nothing, not {kind}")


def measure(mail: bytes, certificate: bytes, signer: Tsk, repeats: int, count: int) -> dict[str, Any]:
    """Microseconds a mail: of `handle` as it is, and of each part done in the same order without the rest."""
    work = _work(mail)
    lookup = LookupKey(b"l" * 32)
    broker, delivery = Broker(certificate), _DELIVERY.sealing_key
    stage = Encryption(broker, _CONTENT, delivery, GATEWAY, time.time, lookup=lookup, signer=signer)
    sealed = _CONTENT.sealing_key.seal(certificate)
    parts: dict[str, list[float]] = {name: [] for name in PARTS}

    def whole() -> float:
        return asyncio.run(_handled(stage, work, count))

    def apart() -> float:
        steps = [_step(work, sealed, signer) for _ in range(count)]
        spent = [sum(step[index] for step in steps) / count * 1e6 for index in range(len(PARTS))]
        for name, value in zip(PARTS, spent, strict=True):
            parts[name].append(value)
        return sum(spent)

    found = interleaved({WHOLE: whole, "parts": apart}, repeats, "the stage")
    measured = {WHOLE: found[WHOLE]} | {name: Measured(tuple(values[1:])) for name, values in parts.items()}
    return {
        "processor_us": {name: each.report() for name, each in measured.items()},
        "share": {name: measured[name].median / measured[WHOLE].median for name in PARTS},
    }


async def _handled(stage: Encryption, work: Work, count: int) -> float:
    begin = time.process_time()
    for _ in range(count):
        await stage.handle(work)
    return (time.process_time() - begin) / count * 1e6


def _step(work: Work, sealed: bytes, signer: Tsk) -> list[float]:
    """Seconds of processor time of each part."""
    times = [time.thread_time()]
    body, address, octets = _CONTENT.unseal(work.body), _CONTENT.unseal(work.address), _CONTENT.unseal(sealed)
    times.append(time.thread_time())
    certificate = read_certificate(octets, address.decode(), datetime.now(UTC))
    if not isinstance(certificate, Cert):
        raise SystemExit(f"the certificate is not usable: {certificate.reason}")
    times.append(time.thread_time())
    mail = enclose(body, OUTSIDE, certificate, signer)
    times.append(time.thread_time())
    _DELIVERY.sealing_key.seal(json.dumps({"mail_from": GATEWAY, "rcpt_to": RECIPIENT}).encode() + b"\n" + mail)
    times.append(time.thread_time())
    return [after - before for before, after in pairwise(times)]


def _work(mail: bytes) -> Work:
    address, body = _CONTENT.sealing_key.seal(RECIPIENT.encode()), _CONTENT.sealing_key.seal(mail)
    return Work(7, 8, 0, 1, b"r" * 32, address, "bank", {}, body, OUTSIDE.date.timestamp(), _note)
