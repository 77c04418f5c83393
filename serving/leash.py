"""Ties the life of a process to its parent's, so that nothing outlives the one that watches over it (Linux prctl)."""

import os
import signal

from serving.core_dumps import forbid_files
from serving.prctl import SET_CHILD_SUBREAPER, SET_PDEATHSIG, prctl

SUPERVISOR = "CLARION_SUPERVISOR"
"""Environment variable: the process id of the supervisor at the top of the tree."""


def die_with_parent() -> None:
    """Let the kernel kill this process when its parent dies, also by kill -9; end at once if the parent is gone now.

    Only a process below a supervisor can tell a lost parent (whoever adopted it is the supervisor or init); elsewhere
    the late check is left out.
    """
    prctl(SET_PDEATHSIG, signal.SIGKILL)
    supervisor = os.environ.get(SUPERVISOR)
    if supervisor is not None and os.getppid() in (1, int(supervisor)):
        os._exit(1)


def leash(parent: int) -> None:
    """For a child between fork and exec: die when `parent`, the process that forks, dies, and leave no core file."""
    forbid_files()
    prctl(SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def adopt_orphans() -> None:
    """Make this process the parent of its descendants whose own parent died, so that it can end and reap them."""
    prctl(SET_CHILD_SUBREAPER, 1)
