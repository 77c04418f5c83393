"""No core dumps: the memory of our processes holds keys and plaintext, and a crash must not write it down."""

import resource
import sys

from serving.prctl import SET_DUMPABLE, prctl


def forbid_files() -> None:
    """Let neither this process nor any that it starts write a core file; none of them can take that back."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def forbid() -> None:
    """For a process that holds keys or plaintext: its memory is handed to nobody when it crashes.

    The limit does not bind a program that `core_pattern` pipes dumps into (core(5)); not being dumpable does, but an
    exec undoes it (PR_SET_DUMPABLE in prctl(2)), so each process has to say it itself. In /proc such a process belongs
    to root: other processes of the same user can read neither its memory nor its environment.
    """
    forbid_files()
    if sys.platform == "linux":
        prctl(SET_DUMPABLE, 0)
