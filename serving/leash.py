"""Ties the life of a process to its parent's, so that nothing outlives the one that watches over it (Linux prctl)."""

import ctypes
import os
import signal

SUPERVISOR = "CLARION_SUPERVISOR"
"""Environment variable: the process id of the supervisor at the top of the tree."""

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent() -> None:
    """Let the kernel kill this process when its parent dies, also by kill -9; end at once if the parent is gone now.

    Only a process below a supervisor can tell a lost parent (whoever adopted it is the supervisor or init); elsewhere
    the late check is left out.
    """
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    supervisor = os.environ.get(SUPERVISOR)
    if supervisor is not None and os.getppid() in (1, int(supervisor)):
        os._exit(1)


def leash(parent: int) -> None:
    """For a child between fork and exec: die when `parent`, the process that forks, dies."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def adopt_orphans() -> None:
    """Make this process the parent of its descendants whose own parent died, so that it can end and reap them."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, value, 0, 0, 0) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"prctl {option}: {os.strerror(code)}")
