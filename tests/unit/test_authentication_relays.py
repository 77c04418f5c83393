"""A relay hands on the mail of others: its key proves nothing of them, their own mail has to."""

import asyncio
from base64 import b64encode
from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from serving.authentication.relayed import AT_ONCE, GIVE_UP_AFTER, LONGEST_FIELD, RelayedMail
from serving.authentication.stage import Authentication
from serving.effects import hop_of
from serving.encryption.stage import Encryption
from serving.errors import Temporary
from serving.pipeline import Authenticated, Enclosed, Forged, Unverified
from serving.sealing import LookupKey, UnsealingKey
from serving.trace import Trace, stamp
from serving.values import Results
from tests.unit import works
from tests.unit.zones import ALL_KEYS, ALL_SPF, MAIL, NOW, REJECT, RSA, Names, Zones, mail_from, trace

CONTENT, DELIVERY = UnsealingKey(b"\x11" * 32), UnsealingKey(b"\x22" * 32)
NONE = Trace()
UNTOLD = "SPF might prove it, and how the mail came is not known"
UNPROVEN = "nothing proves the From domain"
FORGED_RESULTS = b"Authentication-Results: gate.example; dmarc=pass header.from=example.com\r\n"

Outcome = Authenticated | Unverified | Forged


class Broker:
    """A relay for its own domain and everybody's mail, a sender for one domain, and a relay that was revoked."""

    PRINCIPALS: Mapping[str, dict[str, Any]] = {
        "relay": {"domains": ["relay.example"], "revoked_at": None, "policy": {"relays": True}},
        "sender": {"domains": ["bank.example"], "revoked_at": None, "policy": {}},
        "gone": {"domains": ["relay.example"], "revoked_at": 1.0, "policy": {"relays": True}},
    }

    async def query(self, name: str, /, **parameters: Any) -> list[dict[str, Any]]:
        match name:
            case "principal":
                return [{"id": parameters["id"], **self.PRINCIPALS[parameters["id"]]}]
            case "domain_owners":
                return [{"principal": "bank"}] if parameters["domain"] == "example.com" else []
            case "recipient":
                return [{"certificate": None, "policy": {"open": True}}]
            case _:
                raise AssertionError(name)


async def decide(
    mail: bytes,
    came: Trace = NONE,
    principal: str = "relay",
    zones: Collection[Names] = (ALL_KEYS, ALL_SPF, REJECT),
    failing: Collection[str] = (),
    waited: float = 0.0,
) -> Outcome:
    resolver = Zones({name: zone for each in zones for name, zone in each.items()}, failing=failing)
    relayed = RelayedMail(resolver, CONTENT.sealing_key, authserv_id="gate.example", clock=lambda: NOW + waited)
    body = stamp(came, "gate.example", datetime.fromtimestamp(NOW, UTC)) + mail
    work = works.work(principal=principal, body=CONTENT.sealing_key.seal(body), accepted_at=NOW)
    return await Authentication(Broker(), CONTENT, relayed).handle(work)


def words(outcome: Outcome) -> str:
    assert outcome.results is not None
    return outcome.results.words


@pytest.mark.parametrize(
    ("mail", "came", "outcome", "said"),
    [
        (RSA.sign(MAIL, "example.com"), NONE, Authenticated("dmarc"), "spf=none dkim=pass dmarc=pass"),
        (MAIL, trace("example.com"), Authenticated("dmarc"), "spf=pass dkim=none dmarc=pass"),
        (MAIL, NONE, Unverified(UNTOLD), "spf=none dkim=none dmarc=fail"),
        (MAIL, trace(), Forged("the From domain asks to reject what it did not send"), "spf=pass dkim=none dmarc=fail"),
        (mail_from("no.example"), trace(), Unverified(UNPROVEN), "spf=pass dkim=none dmarc=none"),
    ],
)
async def test_the_mails_own_proofs_decide(mail: bytes, came: Trace, outcome: Outcome, said: str) -> None:
    """SPF by what the relay told of the connection, DKIM by the mail itself, DMARC over both."""
    found = await decide(mail, came)

    assert words(found) == f"{said} arc=none"
    assert replace(found, results=None) == outcome


@pytest.mark.parametrize("principal", ["sender", "gone"])
async def test_only_who_may_relay_hands_on_the_mail_of_others(principal: str) -> None:
    """Or every key would be a way around the scope of every other."""
    forged = Forged("the From domain belongs to another sender")

    assert await decide(RSA.sign(MAIL, "example.com"), principal=principal) == forged


async def test_nothing_that_comes_from_a_relay_is_believed_for_its_key() -> None:
    """Strangers write to it in its own name too."""
    outcome = await decide(mail_from("relay.example"))

    assert isinstance(outcome, Unverified)
    assert words(outcome) == "spf=none dkim=none dmarc=none arc=none"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"Subject:", b"Subject: URGENT, production is down\r\nSubject:"),
        (b"Date:", b"Content-Type: text/html\r\nContent-Type: text/plain\r\nDate:"),
        (b"To:", b"To: eve@home.example\r\nTo:"),
    ],
)
async def test_a_signature_vouches_for_one_of_each_field(old: bytes, new: bytes) -> None:
    """What is put above the signed one is what a reader sees, and the classifier; its owner's mail is not rejected."""
    signed = RSA.sign(MAIL, "example.com")
    header, _, mail = signed.partition(b"From:")
    outcome = await decide(header + (b"From:" + mail).replace(old, new, 1), trace())

    assert isinstance(outcome, Unverified)
    assert outcome.reason == "its signature leaves out what a reader sees"


async def test_a_signature_without_the_subject_vouches_for_no_words() -> None:
    """Anybody could write another one."""
    signed = RSA.sign(MAIL, "example.com", include_headers=[b"from", b"to", b"date"])

    assert isinstance(await decide(signed), Unverified)


@pytest.mark.parametrize(
    ("mail", "signs", "is_heard"),
    [
        (b"Autocrypt: addr=ops@example.com; keydata=AA==\r\n" + MAIL, True, True),
        (b"Autocrypt: addr=ops@example.com; keydata=AA==\r\n" + MAIL, False, False),
        (MAIL, True, False),
    ],
)
async def test_an_announcement_is_heard_where_its_domain_has_signed_it(
    mail: bytes, signs: bool, is_heard: bool
) -> None:
    """A field put above somebody's genuine mail would have all later mail to them sealed to a stranger."""
    heard: list[float] = []

    async def learn(_: bytes, accepted_at: float) -> None:
        heard.append(accepted_at)

    names = [b"from", b"to", b"subject", b"date", *([b"autocrypt"] if signs and b"Autocrypt" in mail else [])]
    signed = RSA.sign(mail, "example.com", include_headers=names)
    resolver = Zones({name: zone for each in (ALL_KEYS, ALL_SPF, REJECT) for name, zone in each.items()})
    relayed = RelayedMail(resolver, CONTENT.sealing_key, authserv_id="gate.example", clock=lambda: NOW, learn=learn)

    assert isinstance(
        await relayed(stamp(NONE, "gate.example", datetime.fromtimestamp(NOW, UTC)) + signed, NOW), Authenticated
    )
    assert heard == ([NOW] if is_heard else [])


async def test_a_strangers_slow_name_servers_hold_up_nobody_else() -> None:
    """Each mail may wait for twenty seconds; a stage works on eight at once, alarms among them."""
    resolver = Zones({}, silent={"_dmarc.example.com"})
    relayed = RelayedMail(resolver, CONTENT.sealing_key, authserv_id="gate.example", clock=lambda: NOW)
    waiting = [asyncio.create_task(relayed(MAIL, NOW)) for _ in range(AT_ONCE)]
    await asyncio.sleep(0)
    with pytest.raises(Temporary, match="other mail waits"):
        await relayed(MAIL, NOW)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_a_silent_dns_is_asked_again_for_an_hour_and_fails_nobody() -> None:
    """RFC 7489 section 5.6.3: a temporary error is no verdict; waiting for ever would lose the mail."""
    silent = {"_dmarc.example.com"}
    with pytest.raises(Temporary):
        await decide(RSA.sign(MAIL, "example.com"), failing=silent, waited=GIVE_UP_AFTER - 1)

    late = await decide(RSA.sign(MAIL, "example.com"), failing=silent, waited=GIVE_UP_AFTER + 1)
    assert isinstance(late, Unverified)
    assert "dmarc=temperror" in words(late)


async def opened(mail: bytes, outcome: Outcome) -> bytes:
    """What an open-by-policy recipient gets of a mail after that outcome."""
    facts = dict(hop_of(outcome, 7, b"r" * 32, {}).facts)
    gate, lookup = "clarion@gate.example", LookupKey(b"l" * 32)
    encryption = Encryption(Broker(), CONTENT, DELIVERY.sealing_key, gate, lambda: NOW, lookup=lookup)
    body, address = CONTENT.sealing_key.seal(mail), CONTENT.sealing_key.seal(b"ann@home.example")
    enclosed = await encryption.handle(works.work(principal="relay", body=body, address=address, facts=facts))
    assert isinstance(enclosed, Enclosed)
    return DELIVERY.unseal(enclosed.envelope.body).partition(b"\n")[2]


async def test_the_recipient_reads_what_was_found_and_no_forgery_of_it() -> None:
    """RFC 8601 section 5: ours above everything that it speaks of, others' in our name removed, the mail unchanged."""
    signed = RSA.sign(MAIL, "example.com")
    got = await opened(FORGED_RESULTS + signed, await decide(FORGED_RESULTS + signed, trace("example.com")))
    above, _, below = got.partition(b"DKIM-Signature")

    assert got.endswith(signed)
    assert b"DKIM-Signature" + below == signed
    assert above.count(b"Authentication-Results: gate.example") == 1
    assert b"dkim=pass header.d=example.com header.s=s1" in above
    assert b"spf=pass smtp.mailfrom=example.com" in above


async def test_nobody_writes_results_in_our_name() -> None:
    """Nor who comes with an API key: a mail program believes the field for its name alone."""
    got = await opened(FORGED_RESULTS + MAIL, Authenticated("api_key"))

    assert b"Authentication-Results" not in got
    assert got.endswith(MAIL)


async def test_findings_that_are_too_long_to_carry_leave_their_results() -> None:
    """A notification's facts are limited; a mail with long names must not die of them."""
    longest = ".".join(["x" * 60] * 4)
    outcome = await decide(mail_from(longest), trace(longest))
    assert outcome.results is not None
    field = CONTENT.unseal(outcome.results.field)

    assert len(field) <= LONGEST_FIELD
    assert field.startswith(b"Authentication-Results: gate.example; spf=")
    assert len(b64encode(outcome.results.field)) < 700


def test_no_name_of_the_sender_lies_open_in_the_facts() -> None:
    """At rest nothing is plaintext: the store's facts say results and never domains."""
    sealed = CONTENT.sealing_key.seal(b"Authentication-Results: gate.example; dmarc=pass header.from=example.com\r\n")
    facts = hop_of(Authenticated("dmarc", Results("dmarc=pass", sealed)), 7, b"r" * 32, {}).facts

    assert "example" not in str(facts)
    assert facts["authentication"] == {"outcome": "authenticated", "method": "dmarc", "found": "dmarc=pass"}
