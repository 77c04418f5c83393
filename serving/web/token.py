"""The token in a pay page's address: it opens one notification's payment, while that waits, and nothing else."""

import hashlib

from itsdangerous import BadSignature, URLSafeSerializer

from serving.web.desk import BadToken

SHOWN_AFTERWARDS = 7 * 86_400.0
"""Seconds for which a page still says that it is too late."""

_PURPOSE = "clarion.pay"


class PayTokens:
    """Makes and reads tokens. Whoever holds the key can make one: the stage that asks, and the gateway."""

    def __init__(self, key: bytes) -> None:
        options = {"key_derivation": "hmac", "digest_method": hashlib.sha256}
        self._serializer = URLSafeSerializer(key, salt=_PURPOSE, signer_kwargs=options)

    def make(self, notification: int, until: float) -> str:
        """The token of a notification; it is good until then, seconds since the epoch."""
        token: str = self._serializer.dumps([notification, int(until)])
        return token

    def read(self, token: str, now: float) -> int:
        """The notification's id; BadToken for one that is not ours or whose time is over."""
        try:
            notification, until = self._serializer.loads(token)
        except (BadSignature, ValueError, TypeError):
            raise BadToken("forged") from None
        if now > until:
            raise BadToken("expired")
        return int(notification)
