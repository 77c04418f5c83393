"""The sandbox provider's memory: an append-only file of JSON lines, each on disk before anybody hears of it."""

import fcntl
import json
import os
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from serving.durable import sync_folder
from serving.errors import ConfigurationError
from serving.payment.provider import Order, Verb


@dataclass(frozen=True, slots=True)
class Operation:
    """One line: money that moved. `at` is seconds since the epoch, `amount` minor units."""

    seq: int
    at: float
    key: str
    verb: str
    payer: str
    amount: int
    currency: str

    def answers(self, order: Order) -> bool:
        """Whether the order is the one that made this operation."""
        made_by = (self.key, self.verb, self.payer, self.amount, self.currency)
        return made_by == (order.key, order.verb, order.payer, order.amount, order.currency)


class Journal:
    """All operations so far, and how much is kept for each payer. Not safe for use by two threads at once."""

    def __init__(self, path: Path, clock: Callable[[], float]) -> None:
        """Read what is there; a last line that a crash cut short was never answered, and is cut off.

        Raises:
            ConfigurationError: another process writes the file, or a line in its middle is damaged.
        """
        self._path = path
        self._clock = clock
        self._operations: dict[str, Operation] = {}
        self._kept: defaultdict[tuple[str, str], int] = defaultdict(int)
        self._file = _open_exclusively(path)
        self._size = self._load()

    def __len__(self) -> int:
        return len(self._operations)

    def find(self, key: str) -> Operation | None:
        """The operation committed under the key."""
        return self._operations.get(key)

    def kept(self, payer: str, currency: str) -> int:
        """Minor units kept for the payer: charged, and neither released nor refunded yet."""
        return self._kept[payer, currency]

    def append(self, order: Order) -> Operation:
        """Commit the order; it is on disk when this returns. Raises OSError when the disk refuses."""
        operation = Operation(
            len(self._operations) + 1,
            self._clock(),
            order.key,
            order.verb.value,
            order.payer,
            order.amount,
            order.currency,
        )
        line = json.dumps(asdict(operation), separators=(",", ":")).encode() + b"\n"
        self._write(line)
        self._remember(operation)
        return operation

    def close(self) -> None:
        """Let another process have the file."""
        os.close(self._file)

    def _write(self, line: bytes) -> None:
        try:
            _write_all(self._file, line)
            os.fsync(self._file)
        except OSError:
            os.ftruncate(self._file, self._size)
            raise
        self._size += len(line)

    def _load(self) -> int:
        content = self._path.read_bytes()
        whole = content.rfind(b"\n") + 1
        for number, line in enumerate(content[:whole].splitlines(), start=1):
            self._remember(self._parse(number, line))
        if whole < len(content):
            os.ftruncate(self._file, whole)
            os.fsync(self._file)
        return whole

    def _parse(self, number: int, line: bytes) -> Operation:
        try:
            fields: dict[str, Any] = json.loads(line)
            operation = Operation(**fields)
        except (ValueError, TypeError):
            raise ConfigurationError(f"{self._path}, line {number}: no operation; restore the file") from None
        if operation.seq != number or operation.key in self._operations:
            raise ConfigurationError(f"{self._path}, line {number}: out of order or a key twice; restore the file")
        return operation

    def _remember(self, operation: Operation) -> None:
        self._operations[operation.key] = operation
        sign = 1 if operation.verb == Verb.CHARGE else -1
        self._kept[operation.payer, operation.currency] += sign * operation.amount


def _open_exclusively(path: Path) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise ConfigurationError(
            f"{path} is in use by another sandbox provider; stop it or name another file"
        ) from None
    sync_folder(path.parent)
    return descriptor


def _write_all(descriptor: int, content: bytes) -> None:
    while content:
        content = content[os.write(descriptor, content) :]
