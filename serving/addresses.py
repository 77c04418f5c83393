"""Mail addresses and domains in the one spelling that this project compares: lower case, domain as A-labels."""

import re
from functools import lru_cache

import idna

_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_BREAKING = re.compile(r"[\r\n\0<>]")
_LONGEST_DOMAIN = 253


def canonical_domain(domain: str) -> str | None:
    """The domain in lower-case A-labels (RFC 5890) without a trailing dot; None where it is no domain name.

    Address literals (`[192.0.2.1]`) and single labels are no domains here: nobody can own them.
    """
    name = domain.strip().rstrip(".").lower()
    return _canonical(name) if len(name) <= _LONGEST_DOMAIN else None


@lru_cache(maxsize=4096)
def _canonical(name: str) -> str | None:
    """What a mail names, each of its stages asks for again."""
    if not name.isascii():
        name = _to_ascii(name)
    labels = name.split(".")
    if len(labels) < 2 or len(name) > _LONGEST_DOMAIN or not all(map(_LABEL.fullmatch, labels)):
        return None
    return name


def domain_of(address: str) -> str | None:
    """The canonical domain of a bare address; None where it is no address with a domain (RFC 5321 4.1.2)."""
    local, at, domain = address.strip().rpartition("@")
    if not at or not local or _BREAKING.search(address.strip()):
        return None
    return canonical_domain(domain)


def own_domain(mail_from: str) -> str:
    """The domain of our own address; one that is nobody's (RFC 2606) where the address has none."""
    return domain_of(mail_from) or "clarion.invalid"


def canonical_address(address: str) -> str:
    """The address as it is compared: stripped, lower-case, domain canonical. What is no address is only lower-cased."""
    stripped = address.strip().lower()
    domain = domain_of(stripped)
    return stripped if domain is None else f"{stripped.rpartition('@')[0]}@{domain}"


def is_within(domain: str, scope: str) -> bool:
    """Whether a canonical domain is the scope itself or lies below it."""
    return domain == scope or domain.endswith(f".{scope}")


def parents(domain: str) -> tuple[str, ...]:
    """The domain and each of its parents of two labels or more, nearest first."""
    labels = domain.split(".")
    return tuple(".".join(labels[start:]) for start in range(len(labels) - 1))


def _to_ascii(name: str) -> str:
    try:
        return idna.encode(name, uts46=True).decode("ascii").lower()
    except (idna.IDNAError, UnicodeError):
        return ""
