"""Mail to addresses of our own: reports of what became of a mail, and its readers' answers."""

from collections.abc import Mapping
from typing import Protocol

from serving.intake.replies import NO_SUCH_ADDRESS, Refusal
from serving.return_addresses import Purpose, Returned


class ReturnHandler(Protocol):
    """Takes a mail that came to an address that we gave out; it may come twice. The mail begins with our stamp, which
    `serving.trace.stamped` reads.

    What it raises is answered 4yz, and the mail comes again; a `Refusal`, and what the broker refuses, as they say.
    """

    async def __call__(self, returned: Returned, mail: bytes, /) -> None: ...


class Returns:
    """Hands each mail to the one that reads what it is for; where nobody does, there is no such address."""

    def __init__(self, readers: Mapping[Purpose, ReturnHandler]) -> None:
        self._readers = readers

    async def __call__(self, returned: Returned, mail: bytes) -> None:
        """See ReturnHandler."""
        reader = self._readers.get(returned.purpose)
        if reader is None:
            raise Refusal(NO_SUCH_ADDRESS)
        await reader(returned, mail)
