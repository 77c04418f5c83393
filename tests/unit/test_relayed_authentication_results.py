"""The Authentication-Results field: ours is written as RFC 8601 has it, and nobody else writes in our name."""

import authres  # type: ignore[import-untyped]
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.authentication.mail_finding import Finding, Method, Result
from serving.authentication.mail_results import results_field
from serving.trace import without_forged
from tests.unit.zones import MAIL

OURS = "clarion.example"
FINDINGS = [
    Finding(Method.SPF, Result.PASS, "", "example.com"),
    Finding(Method.SPF, Result.FAIL, "", "mx.example.com", is_helo=True),
    Finding(Method.DKIM, Result.POLICY, "l= does not cover the body", "example.com", "s1"),
    Finding(Method.DMARC, Result.FAIL, "p=reject", "example.com"),
    Finding(Method.ARC, Result.PASS, "", "relay.example", "s2"),
]


def test_the_field_says_what_was_found() -> None:
    """Read by a library that is not ours, so that other programs read it too."""
    written = results_field(FINDINGS, OURS).decode()

    read = authres.AuthenticationResultsHeader.parse(" ".join(written.split()))
    assert read.authserv_id == OURS
    assert [(each.method, each.result, each.reason) for each in read.results] == [
        (each.method.value, each.result.value, each.reason or None) for each in FINDINGS
    ]
    assert [(part.type, part.name, part.value) for each in read.results for part in each.properties] == [
        ("smtp", "mailfrom", "example.com"),
        ("smtp", "helo", "mx.example.com"),
        ("header", "d", "example.com"),
        ("header", "s", "s1"),
        ("header", "from", "example.com"),
        ("header", "as-d", "relay.example"),
        ("header", "as-s", "s2"),
    ]


def test_the_field_is_one_field_with_short_lines() -> None:
    """It is put on top of the mail as it is."""
    written = results_field(FINDINGS, OURS)

    assert written.startswith(
        b"Authentication-Results: clarion.example;\r\n\tspf=pass smtp.mailfrom=example.com;\r\n\t"
    )
    assert written.endswith(b"\r\n")
    assert all(line.startswith(b"\t") for line in written.split(b"\r\n")[1:-1])
    assert results_field([], OURS) == b"Authentication-Results: clarion.example;\r\n\tnone\r\n"


@pytest.mark.parametrize(
    "field",
    [
        b"Authentication-Results: clarion.example; dmarc=pass header.from=bank.example\r\n",
        b"authentication-results:CLARION.example.;dmarc=pass\r\n",
        b"Authentication-Results : clarion.example 1; dmarc=pass\r\n",
        b"Authentication-Results:\r\n clarion.example;\r\n\tdmarc=pass\r\n",
        b"Authentication-Results: (a (nested \\) one)) clarion.example; dmarc=pass\r\n",
        b'Authentication-Results: "clarion.example"; dmarc=pass\r\n',
        b'Authentication-Results: "clar\\ion.example"; dmarc=pass\r\n',
        b"Authentication-Results: (never closed clarion.example; dmarc=pass\r\n",
        b"Authentication-Results: ; dmarc=pass\r\n",
        b"Authentication-Results:\r\n",
        b"Authentication-Results: clarion.example; dmarc=pass\n",
        b"Authentication-Results: clarion.example; dmarc=pass\r",
    ],
)
@pytest.mark.parametrize("place", ["top", "middle", "end"])
def test_fields_in_our_name_are_removed(field: bytes, place: str) -> None:
    """Whoever reads our results later must find ours alone; the rest of the mail stays to the octet."""
    header, _, body = MAIL.partition(b"\r\n\r\n")
    first, _, rest = header.partition(b"\r\n")
    whole = {
        "top": field + MAIL,
        "middle": first + b"\r\n" + field + rest + b"\r\n\r\n" + body,
        "end": header + b"\r\n" + field + b"X: y\r\n\r\n" + body,
    }[place]

    kept = without_forged(whole, OURS)

    assert kept == (header + b"\r\nX: y\r\n\r\n" + body if place == "end" else MAIL)


@pytest.mark.parametrize(
    "raw",
    [
        MAIL,
        b"Authentication-Results: elsewhere.example; dmarc=pass\r\n" + MAIL,
        b"Authentication-Results: notclarion.example; dmarc=pass\r\n" + MAIL,
        b"Authentication-Results: (clarion.example;) elsewhere.example; dmarc=pass\r\n" + MAIL,
        b"ARC-Authentication-Results: i=1; clarion.example; dmarc=pass\r\n" + MAIL,
        b"X: y\r\n Authentication-Results: clarion.example; dmarc=pass\r\n" + MAIL,
        MAIL + b"Authentication-Results: clarion.example; dmarc=pass\r\n",
        b"no header at all",
        b"",
    ],
)
def test_everything_else_stays_as_it_came(raw: bytes) -> None:
    """Others' results are theirs, and an altered octet would break their signatures."""
    assert without_forged(raw, OURS) == raw


@given(st.binary(max_size=400), st.binary(max_size=100))
def test_nothing_in_our_name_is_left_whatever_stands_around(before: bytes, value: bytes) -> None:
    """Hostile octets neither break the reader nor hide a forged field from it."""
    forged = b"Authentication-Results: clarion.example; x=" + value.replace(b"\r", b"").replace(b"\n", b"") + b"\r\n"
    top = before.replace(b"\r", b"").replace(b"\n", b"") + b"\r\n" if before.strip() else b""

    assert forged not in without_forged(top + forged + b"X: y\r\n\r\n", OURS)
