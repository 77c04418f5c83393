"""Logits of many pairs, kept on disk as they come: a run that was killed goes on where it was."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.artefact import Artefact
from training.pairs import Pairs
from training.progress import chunks


def resumed_logits(artefact: Artefact, pairs: Pairs, file: Path) -> NDArray[np.float64]:
    """The artefact's logits, (N,), with a progress bar; `file` must be of this artefact and these pairs alone."""
    file.parent.mkdir(parents=True, exist_ok=True)
    known = np.fromfile(file, dtype=np.float64) if file.exists() else np.zeros(0)
    with file.open("r+b" if file.exists() else "wb") as kept:
        kept.seek(known.nbytes)
        kept.truncate()  # half a number may have been written last
        for chunk in chunks(pairs.examples()[len(known) :], "scoring"):
            artefact.logits(chunk).tofile(kept)
            kept.flush()
    return np.fromfile(file, dtype=np.float64)
