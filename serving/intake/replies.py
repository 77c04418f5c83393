"""What the intake says when it says no: a reply code (RFC 5321), an enhanced one (RFC 3463) and the reason."""

from serving.errors import ClarionError


class Refusal(ClarionError):
    """The command or the mail is not taken; `reply` is what the client is told, and nothing was accepted."""

    def __init__(self, reply: str) -> None:
        super().__init__(reply)
        self.reply = reply


AWAY = "451 4.3.0 The queue does not answer; try again"
UNKNOWN = "451 4.3.0 It is not known whether it was kept; send it again, a repetition is recognised"
BUSY = "452 4.3.1 Too much mail is on its way in; try again in a moment"
STORAGE = "452 4.3.1 The store refuses; try again later"
NO_CALLER = "530 5.7.0 Log in with an API key first (AUTH)"
NOT_ENROLLED = "550 5.7.1 No such recipient is enrolled here, and who is not known may write to nobody else"
NO_SUCH_ADDRESS = "550 5.1.1 We have not given out this address, or nobody reads it"
ONE_AT_A_TIME = "452 4.5.3 One such recipient at a time; send the others separately"
TOO_MANY_RECIPIENTS = "452 4.5.3 Too many recipients; send the others separately"
TOO_LARGE = "552 5.3.4 The mail is larger than SIZE says"
TOO_MANY_ERRORS = "421 4.7.0 Too many errors"
TOO_MANY_COMMANDS = "421 4.7.0 Too many commands without a mail"
TOO_SLOW = "421 4.4.2 Too slow; send it again"
STOPPING = "421 4.3.2 Stopping; come again in a moment"
INTERNAL = "451 4.3.0 This broke something here; try again"

REFUSED = {"storage": STORAGE, "too_large": TOO_LARGE}
"""By the broker's reason."""
