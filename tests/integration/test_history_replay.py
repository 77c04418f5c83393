"""One fold, two homes: what training computes from a dict and serving from store rows must be the same numbers."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data import history
from data.replay import History as Replayed
from data.schema import Message
from data.table import read_messages
from serving.history import History as Stored
from serving.queue.store import directory, hops, intake
from serving.queue.store.history import EXPECTED, Increment
from serving.queue.store.hops import LeaseName, Pending
from serving.queue.store.intake import NewMessage
from serving.queue.store.transaction import Transaction
from serving.sealing import LookupKey
from tests.integration.peers import OWNER, Store

MAILS = 5_000


class Reader:
    """The directory of a store without a broker before it."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def query(self, name: str, /, **parameters: Any) -> list[dict[str, Any]]:
        return self._store.do(lambda transaction: directory.answer(transaction, name, parameters))


class Served:
    """Mail on its way through the store as in serving: accepted, claimed, analysed one recipient after another."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lookup = LookupKey(bytes(range(32)))
        self._history = Stored(Reader(store), self._lookup)
        self._ids: dict[tuple[str, str], int] = {}

    async def receive(self, message: Message) -> list[np.ndarray[Any, Any]]:
        """The features of each recipient, read as serving reads them."""
        recipients = [(self._lookup.address(address), b"sealed") for address in message.recipients]
        new = NewMessage("sender", b"sealed", recipients, None, b"", {}, hops.NORMAL)
        ids = self._store.do(lambda transaction: intake.accept(transaction, new)).notifications
        for name in self._claim("authentication", len(ids)):
            self._store.complete(name, "authenticated")
        names = self._claim("classification", len(ids))
        found = []
        for name in names:
            ordinal = ids.index(name.id)
            found.append(await self._analyse(message, message.recipients[ordinal], ordinal, name))
        self._ids.update(
            {(message.message_id, address): id_ for address, id_ in zip(message.recipients, ids, strict=True)}
        )
        order = [ids.index(name.id) for name in names]
        return [found[order.index(ordinal)] for ordinal in range(len(ids))]

    def react(self, message_id: str, recipient: str, at: float) -> None:
        """The recipient answered."""
        parameters = {"id": str(self._ids[message_id, recipient]), "kind": "acknowledged", "at": at}
        self._store.do(lambda transaction: directory.answer(transaction, "react", parameters))

    async def _analyse(self, message: Message, recipient: str, ordinal: int, name: LeaseName) -> np.ndarray[Any, Any]:
        counters = await self._history.counters(message, recipient)
        observation = self._history.observation(message, recipient, ordinal, counters)
        seen = [Increment(each.key, each.count, each.at, each.link) for each in observation.seen]
        pending = Pending(
            seen=seen, reaction=b"".join(EXPECTED.pack(each.key, each.until) for each in observation.reaction)
        )
        self._store.do(lambda transaction: hops.complete(transaction, name, "not_urgent", pending, None))
        return history.features(message, recipient, counters)

    def _claim(self, stage: str, count: int) -> list[LeaseName]:
        def verb(transaction: Transaction) -> list[LeaseName]:
            claimed = hops.claim(transaction, stage, count, OWNER, 60.0)
            return [LeaseName(lease.row["id"], lease.row["fence"], OWNER) for lease in claimed]

        return self._store.do(verb)


class Mirrored(Replayed):
    """Training's fold; every reaction that it finds is also told to the store."""

    def __init__(self, served: Served) -> None:
        super().__init__()
        self._served = served

    def react(self, message: Message, recipient: str, at: float) -> None:
        super().react(message, recipient, at)
        self._served.react(message.message_id, recipient, at)


async def compared(messages: Iterable[Message], store: Store) -> int:
    """Send the mails both ways, in order of time; how many pairs had the same features."""
    served = Served(store)
    replayed, pairs = Mirrored(served), 0
    for message in messages:
        expected = [replayed.features(message, recipient) for recipient in message.recipients]
        found = await served.receive(message)
        replayed.observe(message)
        pairs += len(found)

        np.testing.assert_array_equal(np.array(found), np.array(expected), err_msg=message.message_id)
    return pairs


def mail(number: int, sender: str, to: tuple[str, ...], parent: int | None = None) -> Message:
    """The number-th mail, an hour after the one before."""
    return Message(
        list="here",
        message_id=f"{number}@example",
        date=1_700_000_000.0 + 3_600.0 * number,
        sender=sender,
        sender_name=sender,
        to=to,
        cc=(),
        subject="s",
        in_reply_to=None if parent is None else f"{parent}@example",
        body="b",
        body_len=1,
        sender_id=sender,
    )


async def test_recipients_of_one_mail_do_not_see_each_other(tmp_path: Path) -> None:
    """Whoever is analysed second would otherwise find the thread one post longer than training ever showed it."""
    mails = [
        mail(0, "a@x.example", ("b@x.example", "c@x.example", "d@x.example")),
        mail(1, "b@x.example", ("a@x.example", "c@x.example"), parent=0),
        mail(2, "a@x.example", ("b@x.example", "c@x.example"), parent=1),
    ]

    assert await compared(mails, Store(tmp_path / "store")) == 7


@pytest.mark.real_mail
@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_real_mails_have_the_same_features_in_the_store_as_in_training(real_mail: Path, tmp_path: Path) -> None:
    """A feature that serving computes otherwise is a model that nobody evaluated."""
    messages = (each for each in read_messages(real_mail / "lists" / "messages.parquet") if each.list == "usrp-users")
    ordered = sorted((each for each in messages if each.recipients), key=lambda each: each.date)

    store = Store(tmp_path / "store")
    store.connection.execute("PRAGMA synchronous = OFF")  # numbers are compared here, not durability

    assert await compared(ordered[:MAILS], store) > MAILS
