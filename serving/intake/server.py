"""Listens for SMTP until it is stopped; what is being written down then is finished and answered first."""

import asyncio
import contextlib
import logging
import ssl
from pathlib import Path

from serving.errors import ConfigurationError
from serving.intake.replies import STOPPING
from serving.intake.session import Parts, Session

BACKLOG = 512
GRACE = 5.0
"""Seconds for the mails that wait for the store."""


class Server:
    """The intake on one address; several processes may share it."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._sessions: set[Session] = set()
        self._server: asyncio.Server | None = None
        logging.getLogger("mail").setLevel(logging.CRITICAL)  # aiosmtpd's own log names addresses

    async def listen(self, host: str, port: int) -> int:
        """Begin; returns the port, a free one where `port` is 0. Raises ConfigurationError, the port cannot be had."""
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(self._session, host, port, backlog=BACKLOG, reuse_port=port != 0)
        except OSError as error:
            reason = error.strerror or str(error)
            raise ConfigurationError(
                f"the intake cannot listen on port {port}: {reason}; set CLARION_INTAKE_PORT"
            ) from None
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Take no more connections, let mails that wait for the store be answered, and end the rest."""
        if self._server is not None:
            self._server.close()
        for session in list(self._sessions):
            if not session.is_busy:
                session.send_away(STOPPING)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._parts.door.is_quiet(), GRACE)
        await asyncio.sleep(0.05)  # for the last replies
        for session in list(self._sessions):
            session.send_away(STOPPING)
        await asyncio.sleep(0)

    def _session(self) -> Session:
        return Session(self._parts, self._sessions)


def read_tls(certificate: Path | None, key: Path | None) -> ssl.SSLContext | None:
    """For STARTTLS, TLS 1.2 at least; None where there is no certificate.

    Raises:
        ConfigurationError: a file is missing, or the two are no pair.
    """
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        raise ConfigurationError("CLARION_INTAKE_CERTIFICATE and CLARION_INTAKE_KEY belong together; set both")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        reason = error.strerror or type(error).__name__
        raise ConfigurationError(f"CLARION_INTAKE_CERTIFICATE or CLARION_INTAKE_KEY cannot be used: {reason}") from None
    return context
