"""`python -m training.train experiments/003-mails.toml …`: each experiment from tables to registered challenger.

Ctrl-C keeps a checkpoint; the same command goes on from there. Every refusal is one line on standard error.
"""

import argparse
import sys
from pathlib import Path

from data.table import BadTable
from training.config import ConfigError, load
from training.pairs import BadPairs


def main() -> None:
    """Runs the experiments that the command line names; exit status 0, 1 (said in one line) or 130 (stopped)."""
    parser = argparse.ArgumentParser(prog="training.train", description=__doc__)
    parser.add_argument("experiments", type=Path, nargs="+", help="experiments' TOML files, run one after another")
    try:
        configs = [load(path) for path in parser.parse_args().experiments]
        from training.experiment import experiment
        from training.fit import Stopped

        try:
            for config in configs:
                experiment(config)
        except Stopped as stopped:
            print(stopped, file=sys.stderr)
            sys.exit(130)
    except (ConfigError, BadTable, BadPairs) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
