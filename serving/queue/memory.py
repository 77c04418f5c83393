"""Bodies that are too large for a message travel in memfds, sealed or shared (memfd_create(2), F_ADD_SEALS)."""

import fcntl
import os

from serving.errors import ProtocolError

MAX_INLINE = 3840
_SIZE_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW
_SEALS = _SIZE_SEALS | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL


def fits_inline(body: bytes, *values: object) -> bool:
    """Whether a body goes into one message with these values; those of a fixed size always have room."""
    texts = (value.encode() if isinstance(value, str) else value for value in values)
    return len(body) + sum(len(text) + 8 for text in texts if isinstance(text, bytes)) <= MAX_INLINE


def share(octets: bytes) -> int:
    """A new descriptor of a memfd that holds `octets` and can never change again; the caller closes it."""
    fd = os.memfd_create("clarion", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        write(fd, octets, 0)
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
        return read(fd, size, 0)
    except OSError as error:
        raise ProtocolError("the descriptor is not a memfd") from error
    finally:
        os.close(fd)


def fix_size(fd: int) -> None:
    """Seal a memfd's size; its content can still change."""
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SIZE_SEALS)


def check_pool(fd: int, size: int) -> None:
    """ProtocolError unless the descriptor is a memfd of that size, fixed. What else it may be could block a reader."""
    try:
        if fcntl.fcntl(fd, fcntl.F_GET_SEALS) & _SIZE_SEALS != _SIZE_SEALS:
            raise ProtocolError("the pool lacks seals; seal shrink and grow")
        if os.fstat(fd).st_size != size:
            raise ProtocolError("the pool is not of its stated size")
    except OSError as error:
        raise ProtocolError("the descriptor is not a memfd") from error


def write(fd: int, octets: bytes, offset: int) -> None:
    """Write them all. Raises OSError when no memory is left."""
    view = memoryview(octets)
    while view:
        written = os.pwrite(fd, view, offset)
        view, offset = view[written:], offset + written


def read(fd: int, size: int, offset: int) -> bytes:
    """A copy of `size` octets from there; ProtocolError when there are fewer."""
    octets = os.pread(fd, size, offset)
    while len(octets) < size:
        more = os.pread(fd, size - len(octets), offset + len(octets))
        if not more:
            raise ProtocolError("the descriptor ended early")
        octets += more
    return octets
