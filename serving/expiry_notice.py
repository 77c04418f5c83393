"""Recipients are told 30 days ahead that their mail will be held, once for each certificate's end; so is the operator,
in the log. Runs beside a stage that holds the content key."""

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NoReturn, Protocol

from serving.expiring import Lapsing, lapsing
from serving.letters import begin_letter
from serving.sealing import LookupKey, UnsealingKey

EVERY = 86_400.0
NOTHING = "0"
"""No notification is the cause of such a notice."""

_log = logging.getLogger(__name__)


class Store(Protocol):
    """What this asks of the broker."""

    async def query(self, name: str, /, **parameters: Any) -> list[dict[str, Any]]: ...

    async def execute(self, name: str, /, **parameters: Any) -> dict[str, Any]: ...


async def warn(store: Store, content: UnsealingKey, lookup: LookupKey, mail_from: str, now: datetime) -> int:
    """Tell each recipient all of whose certificates of a method end within 30 days; returns how many there are.

    The notice travels sealed to what still lasts. Who lets it end is told with the first mail that is held.
    """
    ending = [each for each in await lapsing(store, content, now) if isinstance(each, Lapsing) and each.until]
    for each in ending:
        await _tell(store, content, lookup, mail_from, each, now)
    return len({each.recipient for each in ending})


async def keep_warning(
    store: Store,
    content: UnsealingKey,
    lookup: LookupKey,
    mail_from: str,
    clock: Callable[[], float],
    *,
    every: float = EVERY,
) -> NoReturn:
    """`warn` every so many seconds, until cancelled; a broker that is away is asked the next time."""
    while True:
        try:
            count = await warn(store, content, lookup, mail_from, datetime.fromtimestamp(clock(), UTC))
        except Exception as error:  # whatever one recipient's row holds, tomorrow's look is not given up for it
            _log.warning("whose certificates end soon is not known: %s", type(error).__name__)
        else:
            if count:
                _log.warning("recipients whose certificates end soon: %d; `clarion keys expiring` lists them", count)
        await asyncio.sleep(every)


async def _tell(
    store: Store, content: UnsealingKey, lookup: LookupKey, mail_from: str, each: Lapsing, now: datetime
) -> None:
    seal = content.sealing_key.seal
    await store.execute(
        "write_notice",
        about=NOTHING,
        kind="expiring",
        recipient=lookup.address(each.recipient).hex(),
        address=seal(each.recipient.encode()).hex(),
        body=seal(_letter(mail_from, each, now)).hex(),
        is_open=False,
        once=f"{each.block.method}:{each.until:%Y-%m-%d}",
    )


def _letter(mail_from: str, each: Lapsing, now: datetime) -> bytes:
    until = f"{each.until:%Y-%m-%d}"
    letter = begin_letter(mail_from, each.recipient, f"Your certificate ends on {until}", now)
    letter.set_content(
        f"The certificate that your messages are sealed to ({each.block.method}) ends on {until}.\n"
        f"Messages that may only leave sealed are held from then on.\n\n"
        f"Give your new certificate to whoever runs this service. Nobody needs to answer this mail.\n"
    )
    return letter.as_bytes()
