"""`python -m training.train experiments/001-first.toml`: one experiment from tables to registered challenger.

Ctrl-C keeps a checkpoint; the same command goes on from there. Every refusal is one line on standard error.
"""

import argparse
import sys
from pathlib import Path

from data.table import BadTable
from training.config import ConfigError, load
from training.pairs import BadPairs


def main() -> None:
    """Runs the experiment that the command line names; exit status 0, 1 (said in one line) or 130 (stopped)."""
    parser = argparse.ArgumentParser(prog="training.train", description=__doc__)
    parser.add_argument("experiment", type=Path, help="an experiment's TOML file")
    try:
        config = load(parser.parse_args().experiment)
        from training.experiment import experiment
        from training.fit import Stopped

        try:
            experiment(config)
        except Stopped as stopped:
            print(stopped, file=sys.stderr)
            sys.exit(130)
    except (ConfigError, BadTable, BadPairs) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
