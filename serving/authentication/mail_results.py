"""The Authentication-Results field with what was found (RFC 8601)."""

import re
from collections.abc import Sequence

from serving.authentication.mail_finding import Finding, Method

_PLAIN = re.compile(r"[A-Za-z0-9._@-]+")


def results_field(findings: Sequence[Finding], authserv_id: str) -> bytes:
    """The field with what was found, folded, with its CRLF; put it above all others (section 5)."""
    parts = [_part(finding) for finding in findings] or ["none"]
    text = ";\r\n\t".join([f"Authentication-Results: {authserv_id}", *parts])
    return f"{text}\r\n".encode("ascii", "replace")


def _part(finding: Finding) -> str:
    properties = {
        Method.SPF: {"smtp.helo" if finding.is_helo else "smtp.mailfrom": finding.domain},
        Method.DKIM: {"header.d": finding.domain, "header.s": finding.selector},
        Method.DMARC: {"header.from": finding.domain},
        Method.ARC: {"header.as-d": finding.domain, "header.as-s": finding.selector},
    }[finding.method]
    words = [f"{finding.method}={finding.result}"]
    words += [f"reason={_quoted(finding.reason)}"] if finding.reason else []
    words += [f"{name}={_quoted(value)}" for name, value in properties.items() if value]
    return " ".join(words)


def _quoted(value: str) -> str:
    if _PLAIN.fullmatch(value):
        return value
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
