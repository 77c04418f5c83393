"""Bodies that are too large for a message travel as sealed memfds (memfd_create(2), fcntl(2) F_ADD_SEALS)."""

import fcntl
import os

from serving.errors import ProtocolError

MAX_INLINE = 3840
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL


def share(octets: bytes) -> int:
    """A new descriptor of a memfd that holds `octets` and can never change again; the caller closes it."""
    fd = os.memfd_create("clarion", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        _write(fd, octets)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
    except BaseException:
        os.close(fd)
        raise
    return fd


def receive(fd: int, size: int, limit: int) -> bytes:
    """The first `size` octets behind a peer's descriptor, which is closed; ProtocolError unless a sealed memfd."""
    try:
        if size > limit:
            raise ProtocolError(f"a body of {size} octets; at most {limit} are taken")
        if fcntl.fcntl(fd, fcntl.F_GET_SEALS) & _SEALS != _SEALS:
            raise ProtocolError("the descriptor lacks seals; seal shrink, grow, write and seal")
        if os.fstat(fd).st_size < size:
            raise ProtocolError("the descriptor is shorter than its stated size")
        return _read(fd, size)
    except OSError as error:
        raise ProtocolError("the descriptor is not a memfd") from error
    finally:
        os.close(fd)


def _write(fd: int, octets: bytes) -> None:
    view = memoryview(octets)
    while view:
        view = view[os.write(fd, view) :]


def _read(fd: int, size: int) -> bytes:
    parts, offset = [], 0
    while offset < size:
        part = os.pread(fd, min(size - offset, 1 << 20), offset)
        if not part:
            raise ProtocolError("the descriptor ended early")
        parts.append(part)
        offset += len(part)
    return b"".join(parts)
