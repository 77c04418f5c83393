"""The provider's client as the run has it: the real one, a witness who writes its answers down, and perhaps the bug."""

import itertools
import json
import os
from dataclasses import replace

from serving.payment.provider import Absent, Answer, Order, Provider, Unknown
from tests.torture.payments.world import World

NEW_KEY = "new-key-on-unknown"
BUGS = (NEW_KEY,)


class Witness:
    """Passes every call on, and appends how it was answered to a file that a kill does not take with it."""

    def __init__(self, provider: Provider, world: World) -> None:
        self.name = provider.name
        self._provider = provider
        self._file = os.open(world.answers, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    async def perform(self, order: Order) -> Answer:
        """Send the order."""
        answer = await self._provider.perform(order)
        self._note("perform", answer)
        return answer

    async def find(self, order: Order) -> Answer | Absent:
        """Ask about the order."""
        answer = await self._provider.find(order)
        self._note("find", answer)
        return answer

    def _note(self, call: str, answer: Answer | Absent) -> None:
        os.write(self._file, json.dumps({"call": call, "answer": type(answer).__name__}).encode() + b"\n")


class NewKeyOnUnknown:
    """The bug that the audit must find: a timeout is taken for a failure, and paid again under another key."""

    def __init__(self, provider: Provider) -> None:
        self.name = provider.name
        self._provider = provider

    async def perform(self, order: Order) -> Answer:
        """Send the order under one key after the other until somebody answers."""
        answer = await self._provider.perform(order)
        for number in itertools.count(1):
            if not isinstance(answer, Unknown):
                break
            answer = await self._provider.perform(replace(order, key=f"{order.key}:again-{number}"))
        return answer

    async def find(self, order: Order) -> Answer | Absent:
        """Ask about the order."""
        return await self._provider.find(order)


def bank(provider: Provider, world: World) -> Provider:
    """What the stages are given."""
    witness = Witness(provider, world)
    return NewKeyOnUnknown(witness) if world.bug == NEW_KEY else witness
