"""Tells the operator that a stage waits for something that is away: one line, not one for every mail that waits."""

import logging
import time
from collections.abc import Callable

from serving.errors import Temporary
from serving.pipeline import Stage

EVERY = 60.0
"""Seconds between two lines about the same stage."""

_log = logging.getLogger(__name__)


class Outages:
    """The outages that one stage runs into; `clock` is monotonic seconds."""

    def __init__(self, stage: Stage, clock: Callable[[], float] = time.monotonic) -> None:
        self._stage = stage
        self._clock = clock
        self._told_at: float | None = None

    def tell(self, temporary: Temporary) -> None:
        """Log the outage unless this stage told of one within the last minute."""
        now = self._clock()
        if not temporary.is_outage or (self._told_at is not None and now - self._told_at < EVERY):
            return
        self._told_at = now
        _log.warning("%s waits: %s (what was accepted is kept and tried again)", self._stage.value, temporary)
