"""SPF of relayed mail: RFC 7208's own examples, its limits, and DNS that fails."""

from collections.abc import Mapping

import pytest

from serving.authentication.mail_finding import Finding, Method, Result
from serving.authentication.mail_spf import check_spf
from serving.authentication.resolver import RecordKind
from serving.trace import Trace
from tests.unit.zones import Zones

Names = Mapping[str, Mapping[str, list[str]]]

APPENDIX_A: Names = {
    "example.com": {"A": ["192.0.2.10", "192.0.2.11"], "MX": ["10 mail-a.example.com", "20 mail-b.example.com"]},
    "amy.example.com": {"A": ["192.0.2.65"]},
    "bob.example.com": {"A": ["192.0.2.66"]},
    "mail-a.example.com": {"A": ["192.0.2.129"]},
    "mail-b.example.com": {"A": ["192.0.2.130"]},
    "example.org": {"MX": ["10 mail-c.example.org"]},
    "mail-c.example.org": {"A": ["192.0.2.140"]},
    "10.2.0.192.in-addr.arpa": {"PTR": ["example.com"]},
    "65.2.0.192.in-addr.arpa": {"PTR": ["amy.example.com"]},
    "66.2.0.192.in-addr.arpa": {"PTR": ["bob.example.com"]},
    "129.2.0.192.in-addr.arpa": {"PTR": ["mail-a.example.com"]},
    "130.2.0.192.in-addr.arpa": {"PTR": ["mail-b.example.com"]},
    "140.2.0.192.in-addr.arpa": {"PTR": ["mail-c.example.org"]},
    "4.0.0.10.in-addr.arpa": {"PTR": ["bob.example.com"]},
    "mary.mobile-users._spf.example.com": {"A": ["127.0.0.2"]},
    "15.15.168.192.joel.remote-users._spf.example.com": {"A": ["127.0.0.2"]},
    "mobile-users._spf.example.com": {"TXT": ["v=spf1 exists:%{l1r+}.%{d}"]},
    "remote-users._spf.example.com": {"TXT": ["v=spf1 exists:%{ir}.%{l1r+}.%{d}"]},
}
USERS = "v=spf1 mx include:mobile-users._spf.%{d} include:remote-users._spf.%{d} -all"
STRONG_BAD = Trace("192.0.2.3", "mail.example.com", "strong-bad@email.example.com")


def zone(record: str, more: Names | None = None) -> Zones:
    names = {**APPENDIX_A, **(more or {})}
    return Zones({**names, "example.com": {**names["example.com"], "TXT": [record]}})


async def result_of(record: str, client: str, sender: str = "amy@example.com", more: Names | None = None) -> Result:
    return (await check_spf(Trace(client, "mail.example.com", sender), zone(record, more))).result


@pytest.mark.parametrize(
    ("record", "passing", "failing"),
    [
        ("v=spf1 +all", ["203.0.113.9", "2001:db8::1"], []),
        ("v=spf1 a -all", ["192.0.2.10", "192.0.2.11"], ["192.0.2.65"]),
        ("v=spf1 a:example.org -all", [], ["192.0.2.10", "192.0.2.140"]),
        ("v=spf1 mx -all", ["192.0.2.129", "192.0.2.130"], ["192.0.2.10"]),
        ("v=spf1 mx:example.org -all", ["192.0.2.140"], ["192.0.2.129"]),
        ("v=spf1 mx mx:example.org -all", ["192.0.2.129", "192.0.2.130", "192.0.2.140"], ["192.0.2.65"]),
        ("v=spf1 mx/30 mx:example.org/30 -all", ["192.0.2.131", "192.0.2.143"], ["192.0.2.132", "192.0.2.144"]),
        ("v=spf1 ptr -all", ["192.0.2.65"], ["192.0.2.140", "10.0.0.4"]),
        ("v=spf1 ip4:192.0.2.128/28 -all", ["192.0.2.129"], ["192.0.2.65"]),
    ],
)
async def test_the_simple_examples_of_appendix_a(record: str, passing: list[str], failing: list[str]) -> None:
    """RFC 7208 appendix A.1: which machines each record allows."""
    assert {client: await result_of(record, client) for client in passing} == dict.fromkeys(passing, Result.PASS)
    assert {client: await result_of(record, client) for client in failing} == dict.fromkeys(failing, Result.FAIL)


@pytest.mark.parametrize(
    ("client", "sender", "result"),
    [
        ("192.0.2.129", "amy@example.com", Result.PASS),
        ("203.0.113.9", "mary+list@example.com", Result.PASS),
        ("192.168.15.15", "joel@example.com", Result.PASS),
        ("192.168.15.16", "joel@example.com", Result.FAIL),
        ("203.0.113.9", "eve@example.com", Result.FAIL),
    ],
)
async def test_the_per_user_example_of_appendix_a(client: str, sender: str, result: Result) -> None:
    """RFC 7208 appendix A.4: includes and macros over the local part and the address."""
    assert await result_of(USERS, client, sender) is result


async def test_redirect_hands_the_decision_on() -> None:
    """RFC 7208 appendix A.2: one record for the domains of several customers."""
    more = {"_spf.example.net": {"TXT": ["v=spf1 ip4:192.0.2.1 -all"]}}

    assert await result_of("v=spf1 redirect=_spf.example.net", "192.0.2.1", more=more) is Result.PASS
    assert await result_of("v=spf1 redirect=_spf.example.net", "192.0.2.2", more=more) is Result.FAIL


@pytest.mark.parametrize(
    ("macro", "name"),
    [
        ("%{ir}.%{v}._spf.%{d2}", "3.2.0.192.in-addr._spf.example.com"),
        ("%{lr-}.lp._spf.%{d2}", "bad.strong.lp._spf.example.com"),
        ("%{lr-}.lp.%{ir}.%{v}._spf.%{d2}", "bad.strong.lp.3.2.0.192.in-addr._spf.example.com"),
        ("%{ir}.%{v}.%{l1r-}.lp._spf.%{d2}", "3.2.0.192.in-addr.strong.lp._spf.example.com"),
        ("%{d2}.trusted-domains.example.net", "example.com.trusted-domains.example.net"),
        ("%{d}.x.example", "email.example.com.x.example"),
        ("%{dr}.x.example", "com.example.email.x.example"),
        ("%{d2r}.x.example", "example.email.x.example"),
        ("%{l}.x.example", "strong-bad.x.example"),
        ("%{l-}.x.example", "strong.bad.x.example"),
        ("%{h}.x.example", "mail.example.com.x.example"),
    ],
)
async def test_the_macro_examples(macro: str, name: str) -> None:
    """RFC 7208 section 7.4: the name that is asked for."""
    zones = Zones({"email.example.com": {"TXT": [f"v=spf1 exists:{macro} -all"]}})

    await check_spf(STRONG_BAD, zones)

    assert zones.asked[-1] == (name, RecordKind.A)


async def test_the_macro_example_with_ipv6() -> None:
    """RFC 7208 section 7.4: nibbles, reversed."""
    zones = Zones({"email.example.com": {"TXT": ["v=spf1 exists:%{ir}.%{v}._spf.%{d2} -all"]}})

    await check_spf(Trace("2001:db8::cb01", "mail.example.com", "strong-bad@email.example.com"), zones)

    nibbles = "1.0.b.c.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2"
    assert zones.asked[-1][0] == f"{nibbles}.ip6._spf.example.com"


@pytest.mark.parametrize(
    ("record", "result"),
    [
        ("v=spf1 ~all", Result.SOFTFAIL),
        ("v=spf1 ?all", Result.NEUTRAL),
        ("v=spf1", Result.NEUTRAL),
        ("v=spf10 -all", Result.NONE),
        ("v=spf1 ip4:999.0.0.1 -all", Result.PERMERROR),
        ("v=spf1 unknown:x -all", Result.PERMERROR),
        ("v=spf1 include:none.example -all", Result.PERMERROR),
        ("v=spf1 a:%{q} -all", Result.PERMERROR),
        ("v=spf1 a:\udcff\udcfe -all", Result.PERMERROR),
        (f"v=spf1 a:.{'a' * 60_000}! -all", Result.PERMERROR),
        (f"v=spf1 {'ip4:192.0.2.1 ' * 400} -all", Result.PERMERROR),
    ],
)
async def test_a_record_has_one_meaning_or_none(record: str, result: Result) -> None:
    """Softfail, neutral and every mistake are told apart, in bounded time."""
    assert await result_of(record, "203.0.113.9") is result


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    ("record", "more"),
    [
        ("v=spf1 include:a.example -all", {"a.example": {"TXT": ["v=spf1 include:example.com -all"]}}),
        ("v=spf1 include:example.com -all", {}),
        ("v=spf1 redirect=a.example", {"a.example": {"TXT": ["v=spf1 redirect=example.com"]}}),
        ("v=spf1 redirect=example.com", {}),
        ("v=spf1 " + " ".join(f"a:h{n}.example" for n in range(11)) + " -all", {}),
        ("v=spf1 mx -all", {"example.com": {"MX": [f"10 h{n}.example" for n in range(11)]}}),
        ("v=spf1 a:x1.example a:x2.example a:x3.example +all", {}),
        ("v=spf1 a:many.example +all", {"many.example": {"A": [f"192.0.2.{n}" for n in range(51)]}}),
    ],
    ids=["include loop", "include self", "redirect loop", "redirect self", "11 names", "11 MX", "3 void", "addresses"],
)
async def test_loops_and_excess_end_in_a_permanent_error(record: str, more: Names) -> None:
    """RFC 7208 section 4.6.4: ten look-ups and two that find nothing; a hostile zone must not make us ask for ever."""
    full = {f"h{n}.example": {"A": ["192.0.2.200"]} for n in range(11)}
    zones = zone(record, {**full, **more})

    found = await check_spf(Trace("203.0.113.9", "", "amy@example.com"), zones)

    assert found.result is Result.PERMERROR
    assert len(zones.asked) <= 12


async def test_the_dns_is_asked_no_more_than_the_limits_allow() -> None:
    """Ten mechanisms of ten hosts each is the most that a zone can make us ask."""
    more: dict[str, Mapping[str, list[str]]] = {
        f"m{m}.example": {"MX": [f"10 h{m}-{n}.example" for n in range(10)]} for m in range(10)
    }
    more |= {f"h{m}-{n}.example": {"A": ["192.0.2.200"]} for m in range(10) for n in range(10)}
    zones = zone("v=spf1 " + " ".join(f"mx:m{m}.example" for m in range(10)) + " -all", more)

    found = await check_spf(Trace("203.0.113.9", "", "amy@example.com"), zones)

    assert found.result is Result.FAIL
    assert len(zones.asked) == len(set(zones.asked)) == 111


@pytest.mark.parametrize("failing", ["example.com", "mail-b.example.com"])
async def test_a_dns_that_fails_is_a_temporary_error(failing: str) -> None:
    """A time-out is no forgery, wherever in the evaluation it comes."""
    zones = Zones(zone("v=spf1 mx -all").names, failing=[failing])

    found = await check_spf(Trace("203.0.113.9", "", "amy@example.com"), zones)

    assert found.result is Result.TEMPERROR


@pytest.mark.parametrize(
    ("trace", "finding"),
    [
        (Trace("192.0.2.10", "example.com", ""), Finding(Method.SPF, Result.PASS, "", "example.com", is_helo=True)),
        (Trace("192.0.2.10", "", '"a@b"@example.com'), Finding(Method.SPF, Result.PASS, "", "example.com")),
        (Trace("::ffff:192.0.2.10", "", "a@EXAMPLE.com."), Finding(Method.SPF, Result.PASS, "", "example.com")),
        (Trace("192.0.2.10", "example.com", None), Finding(Method.SPF, Result.NONE, "nothing to check")),
        (Trace(None, None, "a@example.com"), Finding(Method.SPF, Result.NONE, "nothing to check", "example.com")),
        (Trace("not one", "", "a@example.com"), Finding(Method.SPF, Result.NONE, "nothing to check", "example.com")),
        (Trace("192.0.2.10", "[192.0.2.10]", ""), Finding(Method.SPF, Result.NONE, "nothing to check", is_helo=True)),
        (Trace("192.0.2.10", "", "a" * 9000 + "@example.com"), Finding(Method.SPF, Result.NONE, "nothing to check")),
    ],
)
async def test_who_is_checked(trace: Trace, finding: Finding) -> None:
    """MAIL FROM, or HELO for a bounce; what came by HTTP has neither."""
    assert await check_spf(trace, zone("v=spf1 a -all")) == finding
