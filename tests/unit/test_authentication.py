"""Who may speak for a domain, decided by the key and the From alone."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.authentication.api_keys import hash_key, is_key, matches, new_key
from serving.authentication.mail_sender import sender_domain
from serving.authentication.stage import Authentication
from serving.errors import Unsealable
from serving.pipeline import Authenticated, Forged, Unverified
from serving.sealing import UnsealingKey
from serving.stage import Work
from tests.unit import works

CONTENT = UnsealingKey(b"\x11" * 32)
PHISHING = (
    "URGENT: your account is suspended, act now",
    "Final notice! Verify your password within 24 hours",
    "P1 outage, production down, page everyone immediately",
    "invoice overdue - wire transfer required today",
)


class Broker:
    """Answers the two queries of authentication from plain tables."""

    def __init__(self, principals: Mapping[str, tuple[tuple[str, ...], float | None]]) -> None:
        self._principals = principals

    async def query(self, name: str, /, **parameters: Any) -> list[dict[str, Any]]:
        if name == "principal":
            found = self._principals.get(parameters["id"])
            return [{"id": parameters["id"], "domains": list(found[0]), "revoked_at": found[1]}] if found else []
        assert name == "domain_owners"
        return [{"principal": p} for p, (domains, _) in self._principals.items() if parameters["domain"] in domains]


BROKER = Broker(
    {
        "bank": (("bank.example", "bücher.example"), None),
        "shop": (("shop.example",), None),
        "gone": (("gone.example",), 1.0),
    }
)


def _work(raw: bytes, principal: str) -> Work:
    return works.work(principal=principal, body=CONTENT.sealing_key.seal(raw))


async def _decide(raw: bytes, principal: str = "bank") -> Authenticated | Unverified | Forged:
    return await Authentication(BROKER, CONTENT).handle(_work(raw, principal))


def _mail(sender: str, subject: str = "disk", body: str = "full") -> bytes:
    return f"From: {sender}\r\nTo: ann@home.example\r\nSubject: {subject}\r\n\r\n{body}\r\n".encode()


@pytest.mark.parametrize(
    "sender",
    [
        "ops@bank.example",
        "OPS@BANK.Example",
        "Ops <ops@alerts.eu.bank.example>",
        "ops@bank.example.",
        "ops@bücher.example",
        "Ops <ops@xn--bcher-kva.example>",
        "J. Doe <ops@bank.example>",
        "[P1] Nagios <ops@bank.example>",
        '"Doe, J." <ops@bank.example>',
        "ops@bank.example (the night shift)",
        "=?utf-8?q?B=C3=BCro?= <ops@bank.example>",
        "Büro <ops@bank.example>",
        "Ops\r\n <ops@bank.example>",
    ],
)
async def test_a_key_vouches_for_its_domains_in_every_spelling(sender: str) -> None:
    """Honest senders write From in many ways; each that one reader alone can mean must pass."""
    assert await _decide(_mail(sender)) == Authenticated("api_key")


@pytest.mark.parametrize(
    "sender",
    [
        "ops@shop.example",
        '"ops@bank.example" <x@shop.example>',
        "=?utf-8?q?ops=40bank=2Eexample_=3Cops=40bank=2Eexample=3E?= <x@shop.example>",
        '"ops@bank.example"@shop.example',
        "ops@pay.shop.example",
    ],
)
async def test_a_domain_of_another_principal_is_forged_whatever_the_display_name_says(sender: str) -> None:
    """A display name that shows the own domain must not hide whose address it is."""
    assert isinstance(await _decide(_mail(sender)), Forged)


@pytest.mark.parametrize(
    "sender",
    [
        "ops@elsewhere.example",
        "ops@notbank.example",
        "ops@bank.example.elsewhere.example",
        "ops@bаnk.example",  # a Cyrillic letter
        "ops@example",
        "ops@bank",
        "ops",
        "",
        "<>",
        "ops@[192.0.2.1]",
        "ops@bank.example, eve@elsewhere.example",
        "Ops <ops@bank.example> <eve@elsewhere.example>",
        "eve@elsewhere.example <ops@bank.example>",
        "ops@bank.example <eve@elsewhere.example>",
        "Ops: ops@bank.example;",
        "ops@bank.example@elsewhere.example",
        "ops@bank.example>",
        "<ops@bank.example",
        "(" * 1500 + "ops@bank.example",
        "x" * 3000 + " <ops@bank.example>",
        "a@=?utf-8?q?bank?=.example",
        "ops@bank.example (shift <eve@elsewhere.example>",
        '"Ops <ops@bank.example>',
        ", ops@bank.example",
    ],
)
async def test_a_sender_that_nothing_proves_is_unverified(sender: str) -> None:
    """Where readers could differ or nobody vouches, the mail may only go to the digest."""
    assert isinstance(await _decide(_mail(sender)), Unverified)


@pytest.mark.parametrize(
    "raw",
    [
        b"Subject: none\r\n\r\nFrom: ops@bank.example\r\n",
        b"\r\nFrom: ops@bank.example\r\n\r\n",
        b"From: ops@bank.example\r\nFrom: eve@elsewhere.example\r\n\r\n",
        b"From: ops@bank.example\nfrom : eve@elsewhere.example\n\n",
        b"From: ops@bank.example\r\n \r\nFROM: eve@elsewhere.example\r\n\r\n",
        b"X: 1\rFrom: eve@elsewhere.example\r\nFrom: ops@bank.example\r\n\r\n",
        b"From: ops@bank.example\0\r\n\r\n",
        b"From ops@bank.example Mon Jan  1 00:00:00 2026\n\n",
        b"",
        b"\xff\xfe\x00",
        b"From: ops@bank.example\r\nX: " + b"y" * 1_100_000 + b"\r\n\r\n",
    ],
    ids=[
        "none",
        "in the body",
        "two",
        "space before colon",
        "after blanks",
        "bare CR",
        "NUL",
        "mbox",
        "empty",
        "bytes",
        "huge",
    ],
)
async def test_no_from_or_several_is_unverified_with_a_reason(raw: bytes) -> None:
    """Mail programs choose differently among several From, so none of them is proof."""
    outcome = await _decide(raw)

    assert isinstance(outcome, Unverified)
    assert outcome.reason


async def test_a_revoked_key_vouches_for_nothing() -> None:
    """Mail that a stolen key left in the queue must not become urgent after the key is revoked."""
    assert await _decide(_mail("x@gone.example"), "gone") == Unverified("the API key is revoked")


async def test_an_unknown_principal_is_unverified_and_cannot_borrow_a_domain() -> None:
    """A principal that was deleted while its mail waited is nobody."""
    assert isinstance(await _decide(_mail("x@elsewhere.example"), "nobody"), Unverified)
    assert isinstance(await _decide(_mail("x@bank.example"), "nobody"), Forged)


@pytest.mark.parametrize("words", PHISHING)
@pytest.mark.parametrize("principal", ["bank", "shop", "gone", "nobody"])
async def test_phishing_words_change_no_decision(words: str, principal: str) -> None:
    """Promise 6: a sender that fails authentication is never helped by its words."""
    for sender in ("ops@bank.example", "x@shop.example", "x@gone.example", "x@elsewhere.example"):
        plain = await _decide(_mail(sender), principal)

        assert await _decide(_mail(sender, words, words), principal) == plain


@settings(max_examples=100, deadline=None)
@given(st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=60), st.binary(max_size=300))
def test_subject_and_body_never_reach_the_decision(subject: str, body: bytes) -> None:
    """Whatever is written below From, the domain found is the same."""
    raw = b"From: Ops <ops@bank.example>\r\nSubject: s" + subject.replace("\0", "").encode() + b"\r\n\r\n" + body

    assert sender_domain(raw) == "bank.example"


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_hostile_bytes_never_crash_the_reader(octets: bytes) -> None:
    """An exception here would send a hostile mail round eight attempts and into the dead."""
    for raw in (octets, b"From: " + octets, b'From: "' + octets + b"<a@bank.example>"):
        assert isinstance(sender_domain(raw), str | Unverified)


async def test_an_altered_body_is_not_judged() -> None:
    """A decision on altered octets would be about another mail."""
    work = _work(_mail("ops@bank.example"), "bank")
    altered = Work(**{name: getattr(work, name) for name in Work.__slots__} | {"body": work.body[:-1] + b"x"})

    with pytest.raises(Unsealable):
        await Authentication(BROKER, CONTENT).handle(altered)


def test_keys_are_long_unique_and_stored_as_digests_only() -> None:
    """A stolen store must not hold anything that opens the gateway."""
    keys = [new_key() for _ in range(100)]

    assert len({key.key for key in keys} | {key.id for key in keys}) == 200
    assert all(is_key(key.key) and key.key.startswith("clk_") and len(key.key) == 47 for key in keys)
    assert all(matches(key.key, key.hash) and key.hash == hash_key(key.key) for key in keys)
    assert not any(key.key[4:] in key.hash or key.key[4:14] in key.id for key in keys)
    assert not matches(keys[0].key, keys[1].hash)


@pytest.mark.parametrize("text", ["", "clk_", "clk_short", "Bearer x", "clk_" + "ä" * 43, "clk_" + "a" * 44])
def test_what_is_no_key_is_told_without_asking_the_store(text: str) -> None:
    """Garbage in the header costs no query and no exception."""
    assert not is_key(text)
    assert not matches(text, hash_key("another"))
