"""Where a domain's mail goes, as a value: the servers to try, in order, and what TLS each of them must show."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

IMPLICIT_TLS = 465
"""The port of submission that begins with TLS (RFC 8314 section 3.3)."""


class Security(StrEnum):
    """What TLS a server must show. Opportunistic: it is used where it is offered, whoever is there (RFC 7435), and
    left out where it does not come about. Required: verified for the server's name, or nothing is sent."""

    PLAIN = "plain"
    OPPORTUNISTIC = "opportunistic"
    REQUIRED = "required"


@dataclass(frozen=True, slots=True)
class Login:
    """What a smarthost knows us by; told over verified TLS alone."""

    user: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Server:
    """One address to connect to. `name` is what its certificate must be for; servers of one `preference` are alike."""

    address: str
    port: int
    name: str
    security: Security = Security.OPPORTUNISTIC
    preference: int = 0
    login: Login | None = None


@dataclass(frozen=True, slots=True)
class NoRoute:
    """No server will ever take mail for the domain; `reply` is what a server would have said."""

    reply: str


class Router(Protocol):
    """Who tells where mail goes."""

    @property
    def hostname(self) -> str:
        """Our name in EHLO."""

    @property
    def is_one_for_all(self) -> bool:
        """Whether all mail goes to one place: if that is away, the operator has to know."""

    def destination(self, domain: str) -> str:
        """What the domain's mail shares its limits under; asks nobody."""

    async def servers(self, domain: str) -> Sequence[Server] | NoRoute:
        """The servers in the order of trying, at least one. Raises Temporary where nobody can tell now."""

    def absence(self, reason: str) -> str:
        """That none of the servers can be spoken to, in words for the history and, where it is one for all, the log."""


@dataclass(frozen=True, slots=True)
class Smarthost:
    """All mail goes to one server, found by the machine's own means. A login makes TLS required."""

    host: str
    port: int
    hostname: str
    security: Security = Security.OPPORTUNISTIC
    login: Login | None = None

    @property
    def is_one_for_all(self) -> bool:
        """See `Router.is_one_for_all`."""
        return True

    def destination(self, _: str) -> str:
        """See `Router.destination`."""
        return f"{self.host}:{self.port}"

    async def servers(self, _: str) -> tuple[Server]:
        """See `Router.servers`."""
        security = Security.REQUIRED if self.login else self.security
        return (Server(self.host, self.port, self.host, security, login=self.login),)

    def absence(self, reason: str) -> str:
        """See `Router.absence`."""
        where = f"{self.host}:{self.port}"
        return f"{where} does not serve us: {reason}; start it or set CLARION_SMTP_HOST and CLARION_SMTP_PORT"
