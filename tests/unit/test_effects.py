"""What each outcome changes in the store."""

import json
from typing import Any, get_args

import pytest

from serving import pipeline as p
from serving import values as v
from serving.effects import hop_of
from serving.observation import Increment, Observation, Reaction
from serving.queue.lease import Hop, Posting
from serving.queue.limits import MAX_FACTS
from serving.wishes.lists import Match

RECIPIENT = bytes(range(32))
WALLET = f"wallet:{RECIPIENT.hex()}"
PREDICTION = v.Prediction("urgent", 0.91, None, False, "v1")
OBSERVATION = Observation((Increment(b"k" * 32, 2, 17.5, 9),), (Reaction(b"r" * 32, 9.0), Reaction(b"s" * 32, 99.0)))
SEALED = v.Sealed(b"octets", "openpgp")
EVERY: list[p.Outcome] = [
    p.Authenticated("api_key"),
    p.Unverified("no_domain"),
    p.Forged("other_domain"),
    p.Unverified("nothing proves the From domain", v.Results("spf=fail dkim=none dmarc=fail arc=none", bytes(250))),
    p.Urgent(PREDICTION, OBSERVATION),
    p.Postponed(PREDICTION, OBSERVATION, 99.0),
    p.NotUrgent(PREDICTION, None),
    p.NotUrgent(PREDICTION, None, Match("never", "sender", 50)),
    p.Uncertain(PREDICTION, OBSERVATION),
    p.Unscored("error"),
    p.FailedOpen("error"),
    p.Discarded("wish", 0.001, 0.002, 0.01),
    p.Digested(99.0, "wish"),
    p.Delayed(99.0, "wish"),
    p.Bundled(7),
    p.Enclosed(SEALED),
    p.EnclosedFree(v.OpenByPolicy(b"octets", "sender"), "failed_open"),
    p.Keyless("no_certificate"),
    p.KeyMissing("no_certificate"),
    p.Told((8, 9), 99.0),
    p.Held(v.Hold(5, "EUR", WALLET)),
    p.Waived("policy"),
    p.Free("wallet:free:ab:2026-11"),
    p.Due(5, "EUR", 99.0),
    p.Unfunded(5, "EUR", 99.0, 199.0),
    p.Owed(v.Hold(5, "EUR", f"debt:{WALLET}")),
    p.Lapsed(5, "EUR", WALLET),
    p.Asked(8, 99.0),
    p.Expired(None),
    p.PassedOn(8),
    p.NotPassedOn("it cannot be read here", 9),
    p.Sent(v.Receipt(250, "2.0.0 ok", "<1@x>")),
    p.Undeliverable("550 no"),
    p.Captured(5),
    p.Unbilled("policy"),
    p.Returned(5, "550 no"),
    p.Watching(99.0),
    p.Escalated(1, 2, "apprise:ntfys", 9.0, 99.0, 8),
    p.Acknowledged(9.0, 1, 2),
    p.Exhausted(2),
    p.Unwatched("there is no chain"),
]


def hop(outcome: p.Outcome, **facts: Any) -> Hop:
    return hop_of(outcome, 7, RECIPIENT, facts)


def test_every_outcome_has_a_hop_whose_facts_are_small_json() -> None:
    """Facts travel in one message of at most 4096 octets, together with the rest of a lease."""
    hops = [hop(outcome) for outcome in EVERY]

    assert {type(outcome) for outcome in EVERY} == set(get_args(p.Outcome))
    assert all(len(json.dumps(dict(each.facts))) < MAX_FACTS / 4 for each in hops)


@pytest.mark.parametrize(
    ("outcome", "source", "target"),
    [
        (p.Held(v.Hold(5, "EUR", WALLET)), WALLET, "hold:7"),
        (p.Owed(v.Hold(5, "EUR", f"debt:{WALLET}")), "advances", "hold:7"),
        (p.Captured(5), "hold:7", "revenue"),
        (p.Returned(5, "no"), "hold:7", WALLET),
    ],
)
def test_money_moves_from_the_wallet_to_the_hold_and_from_there_once(
    outcome: p.Outcome, source: str, target: str
) -> None:
    """The three transfers of ShitOps Pay; any other account would be a leak."""
    moved = hop(outcome, hold={"amount": 5, "currency": "EUR", "account": WALLET})

    assert list(moved.postings) == [Posting(source, -5), Posting(target, 5)]
    assert moved.currency == "EUR"


def test_what_is_captured_less_than_was_held_leaves_the_rest_to_the_payer() -> None:
    """Whoever paid is asked for no more than it cost."""
    moved = hop(p.Captured(3), hold={"amount": 5, "currency": "EUR", "account": WALLET})

    assert list(moved.postings) == [Posting("hold:7", -5), Posting("revenue", 3), Posting(WALLET, 2)]


def test_a_debt_is_one_when_the_mail_has_arrived_and_not_before() -> None:
    """A top-up pays debts at once: one for mail that never arrives would be money for nothing."""
    hold = {"amount": 5, "currency": "EUR", "account": f"debt:{WALLET}"}
    arrived, lost = hop(p.Captured(5), hold=hold), hop(p.Returned(5, "no"), hold=hold)

    assert list(arrived.postings) == [
        Posting("hold:7", -5),
        Posting("revenue", 5),
        Posting("advances", 5),
        Posting(f"debt:{WALLET}", -5),
    ]
    assert list(lost.postings) == [Posting("hold:7", -5), Posting("advances", 5)]


def test_a_hold_goes_back_to_whoever_paid() -> None:
    """A sender who paid must not find the money in the recipient's wallet; older holds do not say, and are theirs."""
    hold = {"amount": 5, "currency": "EUR"}
    of_sender, older = [hop(p.Returned(5, "no"), hold=each) for each in ({**hold, "account": "wallet:sender:p"}, hold)]

    assert list(of_sender.postings) == [Posting("hold:7", -5), Posting("wallet:sender:p", 5)]
    assert list(older.postings) == [Posting("hold:7", -5), Posting(WALLET, 5)]


def test_a_free_notification_is_counted_and_costs_nothing() -> None:
    """The allowance is a wallet of its own, so that no two workers give the last one away twice."""
    moved = hop(p.Free("wallet:free:ab:2026-11"))

    assert list(moved.postings) == [Posting("wallet:free:ab:2026-11", -1), Posting("allowances", 1)]
    assert (moved.currency, moved.facts) == ("FREE", {"waiver": "allowance"})


@pytest.mark.parametrize(
    "outcome", [p.Waived("x"), p.Unbilled("x"), p.Returned(0, "no"), p.Captured(0), p.Unfunded(5, "EUR", 9.0, 99.0)]
)
def test_what_moves_no_money_posts_nothing(outcome: p.Outcome) -> None:
    """A transfer of nothing is refused as unbalanced, and the notification would be stuck."""
    assert not hop(outcome).postings


def test_only_payment_and_settlement_outcomes_post() -> None:
    """The broker would refuse it, but late."""
    held = {"amount": 5, "currency": "EUR", "account": WALLET}
    posting = {type(outcome) for outcome in EVERY if hop(outcome, hold=held).postings}

    assert posting == {p.Held, p.Free, p.Owed, p.Captured, p.Returned}


def test_an_analysis_carries_what_it_adds_to_the_history() -> None:
    """Learning from reactions depends on it."""
    analysed = hop(p.Urgent(PREDICTION, OBSERVATION))

    assert list(analysed.seen) == [Increment(b"k" * 32, 2, 17.5, 9)]
    assert list(analysed.reaction) == [Reaction(b"r" * 32, 9.0), Reaction(b"s" * 32, 99.0)]
    assert analysed.facts["prediction"]["score"] == 0.91


def test_what_is_discarded_prints_its_bound() -> None:
    """Promise 5: who looks at the decision sees score, threshold and bound, whatever model came later."""
    assert hop(p.Discarded("wish", 0.001, 0.002, 0.01)).facts == {
        "triage": {"outcome": "discarded", "rule": "wish", "score": 0.001, "threshold": 0.002, "bound": 0.01}
    }


def test_what_is_put_off_says_until_when() -> None:
    """Without a time it would wait for ever."""
    assert [
        hop(outcome).until
        for outcome in (p.Digested(9.0, "r"), p.Delayed(9.0, "r"), p.Unfunded(1, "EUR", 9.0, 99.0), p.Asked(8, 9.0))
    ] == [9.0] * 4


def test_what_nobody_pays_for_says_why() -> None:
    """The broker lets nothing enter delivery that has neither hold nor waiver."""
    waivers = [hop(outcome).facts["waiver"] for outcome in (p.FailedOpen("e"), p.Delayed(9.0, "r"), p.Waived("policy"))]

    assert waivers == ["failed_open", "delayed", "policy"]


def test_a_servers_long_words_are_cut_to_printable_ones() -> None:
    """An SMTP reply has no limit, facts have: refused, the mail would be sent again and again."""
    reply = "550 " + "é\x00\udcff" * 2000
    texts = [
        hop(p.Undeliverable(reply)).facts["undeliverable"],
        hop(p.Returned(0, reply)).facts["returned"]["reply"],
        hop(p.Sent(v.Receipt(250, reply, "<1@x>"))).facts["receipt"]["text"],
        hop(p.Sent(v.Receipt(250, "ok", reply))).facts["receipt"]["message_id"],
        hop(p.Unscored(reply)).facts["model_error"],
    ]

    assert all(text.startswith("550 ") and len(text) == 200 and text.isascii() and text.isprintable() for text in texts)


def test_an_envelope_keeps_its_form_and_its_reason() -> None:
    """Sealed, or open because a policy said so: the history tells which."""
    assert hop(p.Enclosed(SEALED)).envelope == b"octets"
    assert hop(p.Enclosed(SEALED)).facts == {"envelope": {"form": "sealed", "method": "openpgp"}}
    assert hop(p.EnclosedFree(v.OpenByPolicy(b"o", "sender"), "w")).facts == {
        "envelope": {"form": "open", "policy": "sender"},
        "waiver": "w",
    }


@pytest.mark.parametrize("is_open", [False, True])
def test_all_that_can_become_of_a_relayed_mail_together_fits_into_its_facts(is_open: bool) -> None:
    """What is refused as too large after the receiver's 250 would be sent again, eight times."""
    long = "x" * 1_000
    envelope = v.OpenByPolicy(b"octets", "recipient") if is_open else SEALED
    way: list[p.Outcome] = [
        p.Authenticated("dmarc", v.Results("spf=temperror dkim=temperror " * 4, bytes(452))),
        p.Unscored(long),
        p.Uncertain(v.Prediction("urgent", 0.123456789, 0.01, False, "v" * 40, 0.001, 0.95), OBSERVATION),
        p.Keyless("the certificate's encryption key is weaker than RSA with 2048 bits"),
        p.Told((2**62, 2**62), 1e9),
        p.Enclosed(envelope),
        p.Due(100_000, "EUR", 1e9),
        p.Asked(2**62, 1e9),
        p.Unfunded(100_000, "EUR", 1e9, 1e9),
        p.Held(v.Hold(100_000, "EUR", f"card:{RECIPIENT.hex()}", "pi_" + "x" * 30, 1e9)),
    ]
    facts: dict[str, Any] = {}
    for outcome in [*way, p.Sent(v.Receipt(250, long, f"<{long}>")), p.Captured(100_000)]:
        facts |= hop_of(outcome, 7, RECIPIENT, facts).facts
    noted = {"failing": {"since": 1e9}, "sending": {"attempt": 99, "at": 1e9}, "failed": ["delivery", 7]}

    assert len(json.dumps(facts | noted, separators=(",", ":"))) < MAX_FACTS
