"""One process of several that train one model under torchrun, or the only one (torch.distributed.run's environment)."""

import os


def rank() -> int:
    """Which of the processes this is, from 0 on."""
    return int(os.environ.get("RANK", "0"))


def processes() -> int:
    """How many train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_first() -> bool:
    """Whether this is the one that writes things down."""
    return rank() == 0
