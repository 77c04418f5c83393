"""Asks the broker until it answers."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from serving.errors import BrokerUnavailable, Refused

Value = TypeVar("Value")

AWAY, FAILING = 0.2, 1.0
"""Seconds after which a broker that is away, and a store that fails, is asked again."""


async def insist(ask: Callable[[], Awaitable[Value]]) -> Value:
    """The answer, as soon as broker and store give one: a second time does no harm, by a fence, a key or an id.

    Raises Refused for whatever would be refused again.
    """
    while True:
        try:
            return await ask()
        except BrokerUnavailable:
            await asyncio.sleep(AWAY)
        except Refused as refused:
            if refused.reason != "storage":
                raise
            await asyncio.sleep(FAILING)
