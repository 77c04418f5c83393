"""Which refusals say that an address itself is none, so that nothing more is sent there for a while (RFC 3463)."""

GONE = frozenset({"5.1.1", "5.1.6", "5.1.10", "5.2.1"})
"""No such mailbox, moved without a forwarding address, a domain that takes no mail (RFC 7505), mailbox disabled (RFC
3463 sections 3.2 and 3.3). Not 5.1.2: that a domain is not found may be the DNS's fault, or ours, and hits everybody
there. Not 5.2.2 (full) nor 5.7.1 (policy), which pass."""


def is_gone(status: str) -> bool:
    """Whether the status says that mail to the address cannot arrive at all."""
    return status in GONE
