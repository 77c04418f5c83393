"""Mail to addresses of our own: reports of what became of a mail, and its readers' answers."""

from typing import Protocol

from serving.return_addresses import Returned


class ReturnHandler(Protocol):
    """Takes a mail that came to an address that we gave out; it may come twice. The mail begins with our stamp, which
    `serving.trace.stamped` reads.

    What it raises is answered 451, and the mail comes again; a `Refusal` is answered as it says.
    """

    async def __call__(self, returned: Returned, mail: bytes) -> None: ...
