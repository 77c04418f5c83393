"""Every error that serving raises on purpose; a class exists only where a caller acts on it differently."""


class ClarionError(Exception):
    """Root of the tree: the message says what happened and what to do, and never holds mail, keys or addresses."""


class ConfigurationError(ClarionError):
    """The process cannot start as it is set up; the message names the setting."""


class NotThereYet(ConfigurationError):
    """What the process needs to start does not answer; the message names the setting. It may do so in a moment."""


class BrokerUnavailable(ClarionError):
    """No broker answers on the socket; connect again later."""


class ProtocolError(ClarionError):
    """The peer broke the wire protocol; the connection is over."""

    def __init__(self, message: str, *, object_id: int = 0, code: int = 0) -> None:
        super().__init__(message)
        self.object_id = object_id
        self.code = code


class Refused(ClarionError):
    """The broker understood and said no; `reason` is one of the protocol's refusal reasons and nothing was changed."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail


class Temporary(ClarionError):
    """A stage cannot finish now and may later: retried after `retry_after` seconds (None: backoff).

    `is_outage`: something that all work needs is away, the operator should know, and the message is safe to log.
    `is_told`: whether the history gets a line for it.
    """

    def __init__(
        self, message: str, *, retry_after: float | None = None, is_outage: bool = False, is_told: bool = True
    ) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.is_outage = is_outage
        self.is_told = is_told


class Unsealable(ClarionError):
    """A sealed blob does not open: wrong key, or it was altered."""


class KeyNotHeld(Unsealable, Temporary):
    """A sealed blob names a key that is not in the folder of keys: it waits until the key's file is back."""


class InvalidToken(ClarionError):
    """A bearer token tells nobody's name; `hint` is what its sender can do. Neither holds anything of the token."""

    def __init__(self, detail: str, hint: str) -> None:
        super().__init__(detail)
        self.hint = hint


class IssuerAway(ClarionError):
    """The issuer of tokens does not answer and none of its keys is known: nobody can tell whose a token is now."""
