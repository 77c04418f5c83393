"""What the torture runs take on the command line."""

import argparse
import math
from contextlib import suppress


def count(text: str) -> int:
    """A whole number above 0."""
    if text.isascii() and text.isdecimal() and int(text) > 0:
        return int(text)
    raise argparse.ArgumentTypeError("give a whole number above 0")


def positive(text: str) -> float:
    """A number above 0."""
    with suppress(ValueError):
        if 0 < float(text) < math.inf:
            return float(text)
    raise argparse.ArgumentTypeError("give a number above 0")
