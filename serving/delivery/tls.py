"""TLS on the way out: contexts for whoever is there, and for a server that has to prove its name."""

import ssl
from dataclasses import dataclass
from pathlib import Path

from serving.delivery.routes import Security
from serving.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Contexts:
    """How to greet a server by TLS."""

    anybody: ssl.SSLContext
    verified: ssl.SSLContext

    def of(self, security: Security) -> ssl.SSLContext:
        """The context that the security asks for."""
        return self.verified if security is Security.REQUIRED else self.anybody


def contexts(ca_file: Path | None = None) -> Contexts:
    """Contexts that trust what the machine trusts, and the certificates in `ca_file` besides.

    Raises:
        ConfigurationError: the file holds none.
    """
    anybody = ssl.create_default_context()
    anybody.check_hostname = False
    anybody.verify_mode = ssl.CERT_NONE
    verified = ssl.create_default_context()
    if ca_file is not None:
        try:
            verified.load_verify_locations(ca_file)
        except OSError:  # ssl.SSLError is one
            raise ConfigurationError(
                "CLARION_SMTP_CA_FILE cannot be used: it is no file of PEM certificates that can be read"
            ) from None
    return Contexts(anybody, verified)
