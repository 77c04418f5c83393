"""The tokens in our pages' addresses: each opens one thing, for its time, and nothing else."""

import hashlib
from typing import Any, Literal, get_args

from itsdangerous import BadSignature, URLSafeSerializer

from serving.web.desk import BadToken

SHOWN_AFTERWARDS = 7 * 86_400.0
"""Seconds for which a page still says that it is too late."""

Reaction = Literal["acknowledged", "was_urgent", "not_urgent"]
"""What a recipient can tell of a notification by a link."""

UNSUBSCRIBE_FOR = 400 * 86_400.0
"""Seconds for which a digest's link to fewer digests is good: mail is read late."""

STATEMENT_FOR = 30 * 86_400.0
"""Seconds for which a link to a statement is good."""


class PayTokens:
    """Open one notification's payment: whoever has the link may pay for it, and sees no statement.

    Whoever holds the key can make one: the stage that asks, and the gateway.
    """

    def __init__(self, key: bytes) -> None:
        self._tokens = _Tokens(key, "clarion.pay")

    def make(self, notification: int, until: float) -> str:
        """The token of a notification; it is good until then, seconds since the epoch."""
        return self._tokens.make(notification, until)

    def read(self, token: str, now: float) -> int:
        """The notification's id; BadToken for one that is not ours or whose time is over."""
        return int(self._tokens.read(token, now))


class StatementTokens:
    """Open one wallet's statement: a link of its own, so that who is sent the other one to pay does not see it."""

    def __init__(self, key: bytes) -> None:
        self._tokens = _Tokens(key, "clarion.statement")

    def make(self, wallet: str, now: float) -> str:
        """The token of a wallet's statement, good for `STATEMENT_FOR`."""
        return self._tokens.make(wallet, now + STATEMENT_FOR)

    def read(self, token: str, now: float) -> str:
        """The wallet; BadToken for a token that is not ours or whose time is over."""
        return str(self._tokens.read(token, now))


class ReactionTokens:
    """Tell one thing of one notification: whoever has the link may say just that."""

    def __init__(self, key: bytes) -> None:
        self._tokens = {kind: _Tokens(key, f"clarion.{kind}") for kind in get_args(Reaction)}

    def make(self, notification: int, kind: Reaction, until: float) -> str:
        """The token by which the recipient tells `kind`; it is good until then, seconds since the epoch."""
        return f"{kind}.{self._tokens[kind].make(notification, until)}"

    def read(self, token: str, now: float) -> tuple[int, Reaction]:
        """The notification's id and what is told; BadToken for one that is not ours or whose time is over."""
        kind, _, rest = token.partition(".")
        for known, tokens in self._tokens.items():
            if known == kind:
                return int(tokens.read(rest, now)), known
        raise BadToken("forged")


class UnsubscribeTokens:
    """Ask for fewer digests: whoever has the link may do so for one recipient, and nothing else."""

    def __init__(self, key: bytes) -> None:
        self._tokens = _Tokens(key, "clarion.unsubscribe")

    def make(self, recipient: bytes, now: float) -> str:
        """The token of a recipient (the lookup), good for `UNSUBSCRIBE_FOR`."""
        return self._tokens.make(recipient.hex(), now + UNSUBSCRIBE_FOR)

    def read(self, token: str, now: float) -> bytes:
        """The recipient's lookup; BadToken for a token that is not ours or whose time is over."""
        return bytes.fromhex(str(self._tokens.read(token, now)))


class Links:
    """All, of one key."""

    def __init__(self, key: bytes) -> None:
        self.pay, self.statement, self.reaction = PayTokens(key), StatementTokens(key), ReactionTokens(key)
        self.unsubscribe = UnsubscribeTokens(key)


class _Tokens:
    """What is signed for one purpose is forged for every other."""

    def __init__(self, key: bytes, purpose: str) -> None:
        options = {"key_derivation": "hmac", "digest_method": hashlib.sha256}
        self._serializer = URLSafeSerializer(key, salt=purpose, signer_kwargs=options)
        self._signer = self._serializer.make_signer(purpose)

    def make(self, what: int | str, until: float) -> str:
        payload = self._serializer.dump_payload([what, int(until)])
        return self._signer.sign(payload).decode("ascii")  # as `dumps` does, but with one signer for all

    def read(self, token: str, now: float) -> Any:
        try:
            what, until = self._serializer.loads(token)
        except (BadSignature, ValueError, TypeError):
            raise BadToken("forged") from None
        if now > until:
            raise BadToken("expired")
        return what
