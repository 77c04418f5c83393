"""How an issuer's subject is written down, for the store and for people: `<iss> <sub>`."""

LONGEST_SUBJECT = 255
"""Characters of a sub, ASCII (OpenID Connect Core 1.0, section 2)."""
LONGEST_ISSUER = 2_000


def subject_of(issuer: str, sub: str) -> str | None:
    """The name of the subject, None where one of the two cannot be part of it. An issuer is a URL: it has no space."""
    is_issuer = 0 < len(issuer) <= LONGEST_ISSUER and issuer.isprintable() and " " not in issuer
    is_sub = 0 < len(sub) <= LONGEST_SUBJECT and sub.isascii() and sub.isprintable() and sub.strip() == sub
    return f"{issuer} {sub}" if is_issuer and is_sub else None
