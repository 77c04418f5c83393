"""Mail that a relay hands on for others: how it came is stamped above it, for the sender's proofs to be judged by."""

from dataclasses import replace
from datetime import datetime

from starlette.requests import Request

from serving.gateway.problems import problem
from serving.gateway.submission import Draft
from serving.trace import Trace, read_words, stamp

_WORDS = ("client_ip", "helo", "mail_from")


def came_by(request: Request) -> Trace:
    """What the relay tells in the query: `client_ip`, `helo` and `mail_from` of whoever brought it the mail.

    `mail_from` may be left out, or be empty, for a bounce; nothing is known where none of the three is told.

    Raises:
        Problem: 422, it is no address, no name or no path.
    """
    told = {name: request.query_params.get(name) for name in _WORDS}
    if all(word is None for word in told.values()):
        return Trace()
    trace = read_words(told["client_ip"] or "", told["helo"] or "", told["mail_from"] or "")
    if trace is None:
        raise problem(
            422,
            "bad_trace",
            "`client_ip`, `helo` and `mail_from` do not say how the mail came",
            "give the address, the EHLO name and the bare MAIL FROM (none for a bounce), or none of the three",
        )
    return trace


def stamped(draft: Draft, trace: Trace, *, by: str, now: datetime) -> Draft:
    """The draft with our trace fields above its mail; `by` is our domain."""
    words = repr((trace.client_ip, trace.helo, trace.mail_from)).encode()
    return replace(draft, mail=stamp(trace, by, now) + draft.mail, request=words + draft.request)
