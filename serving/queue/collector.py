"""Python's collector of cycles, in processes that live long and make few."""

import gc


def relax() -> None:
    """What was imported is never looked at again, and the rest seldom: a look at everything would stop a process that
    has a model in memory for a tenth of a second. Call it when all is loaded."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
