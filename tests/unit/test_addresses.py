"""One spelling for addresses and domains, whatever the mail program wrote."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.addresses import canonical_address, canonical_domain, domain_of, is_within, parents


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("Example.ORG.", "example.org"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("XN--BCHER-KVA.example", "xn--bcher-kva.example"),
        ("bank。example", "bank.example"),
        ("localhost", None),
        ("[192.0.2.1]", None),
        ("a..example", None),
        ("-a.example", None),
        ("", None),
        ("bank.example\u0000.evil.example", None),
        ("x" * 64 + ".example", None),
    ],
)
def test_a_domain_has_one_canonical_spelling_or_none(written: str, canonical: str | None) -> None:
    """Scopes are compared as text; two spellings would be two owners."""
    assert canonical_domain(written) == canonical


@pytest.mark.parametrize(
    "address", ["", "@", "a@", "@b.example", "no address", "a@b", "a@b.example\r\nBcc: x@y.example"]
)
def test_what_is_no_address_has_no_domain(address: str) -> None:
    """A guessed domain could authenticate somebody."""
    assert domain_of(address) is None


def test_the_last_at_sign_decides_the_domain() -> None:
    """A local part may hold an at sign; the domain is what follows the last one."""
    assert domain_of('"pay@bank.example"@evil.example') == "evil.example"


def test_a_sibling_that_ends_alike_is_not_within_a_scope() -> None:
    """`notbank.example` must not pass for `bank.example`."""
    assert is_within("alerts.bank.example", "bank.example")
    assert not is_within("notbank.example", "bank.example")
    assert not is_within("bank.example", "alerts.bank.example")


def test_parents_stop_before_the_top_level() -> None:
    """Nobody owns `.example`."""
    assert parents("a.b.example") == ("a.b.example", "b.example")


@settings(deadline=None)
@given(st.text(max_size=60))
def test_any_text_has_a_canonical_address_and_it_is_stable(text: str) -> None:
    """Addresses come from hostile mail; looking one up never raises."""
    once = canonical_address(text)

    assert canonical_address(once) == once
