"""What each outcome changes: facts, envelope, money and history, as one hop of the queue."""

from base64 import b64encode
from collections.abc import Mapping
from typing import Any, assert_never

from serving import money
from serving import pipeline as p
from serving import values as v
from serving.queue.lease import Hop

_LONGEST = 200


def hop_of(outcome: p.Outcome, id_: int, recipient: bytes, facts: Mapping[str, Any]) -> Hop:  # noqa: C901 - one flat match
    """The hop that `complete` applies in one transaction. `facts` are the notification's so far."""
    match outcome:
        case p.Authenticated(method, results):
            return _authenticated({"outcome": "authenticated", "method": method}, results)
        case p.Unverified(reason, results):
            return _authenticated({"outcome": "unknown", "reason": reason}, results)
        case p.Forged(reason, results):
            return _authenticated({"outcome": "failed", "reason": reason}, results)
        case p.Urgent() | p.Postponed() | p.NotUrgent() | p.Uncertain():
            return _analysed(outcome)
        case p.Unscored(error):
            return Hop({"model_error": _words(error)})
        case p.FailedOpen(error):
            return Hop({"model_error": _words(error), "waiver": "failed_open"})
        case p.Discarded() | p.Digested() | p.Delayed():
            return _triaged(outcome)
        case p.Bundled(via):
            return Hop({"via": str(via)})
        case p.Enclosed(envelope, watch):
            return Hop(_enclosed(envelope, facts, watch), envelope.body)
        case p.EnclosedFree(envelope, waiver, watch):
            return Hop({**_enclosed(envelope, facts, watch), "waiver": waiver}, envelope.body)
        case p.Keyless(reason) | p.KeyMissing(reason):
            return Hop({"held": reason})
        case p.Told(notices, until):
            return Hop({"told": [str(notice) for notice in notices]}, until=until)
        case p.Held() | p.Waived() | p.Free() | p.Owed():
            return _paid(outcome, id_)
        case p.Due() | p.Unfunded() | p.Lapsed() | p.Asked() | p.Expired():
            return _unpaid(outcome)
        case p.PassedOn(notice):
            return Hop({"passed_on": str(notice)})
        case p.NotPassedOn(reason, told):
            return Hop({"not_passed_on": reason, "told": None if told is None else str(told)})
        case p.Captured() | p.Unbilled() | p.Returned():
            return _settled(outcome, id_, recipient, facts)
        case p.Sent(receipt):
            words = {"text": _words(receipt.text), "message_id": _words(receipt.message_id)}
            return Hop({"receipt": {**v.flat(receipt), **words}})
        case p.Undeliverable(reply):
            return Hop({"undeliverable": _words(reply)})
        case p.Watching() | p.Escalated() | p.Acknowledged() | p.Exhausted() | p.Unwatched():
            return _watched(outcome)
        case _:
            assert_never(outcome)


def _authenticated(said: dict[str, str], results: v.Results | None) -> Hop:
    if results is None:
        return Hop({"authentication": said})
    return Hop({"authentication": {**said, "found": results.words}, "results": b64encode(results.field).decode()})


def _analysed(outcome: p.Urgent | p.Postponed | p.NotUrgent | p.Uncertain) -> Hop:
    facts: dict[str, Any] = {"prediction": v.flat(outcome.prediction)}
    until: float | None = None
    match outcome:
        case p.Postponed():
            until = outcome.until
            facts["quiet"] = {"until": until, "rule": "the recipient's quiet hours, which what is urgent waits for"}
        case p.NotUrgent() if outcome.match is not None:
            facts["match"] = v.flat(outcome.match)
        case _:
            pass
    if outcome.observation is None:
        return Hop(facts, until=until)
    return Hop(facts, seen=outcome.observation.seen, reaction=outcome.observation.reaction, until=until)


def _triaged(outcome: p.Discarded | p.Digested | p.Delayed) -> Hop:
    triage: dict[str, Any] = {"outcome": p.kind(type(outcome)), "rule": outcome.rule}
    match outcome:
        case p.Discarded(score=score, threshold=threshold, bound=bound):
            return Hop({"triage": {**triage, "score": score, "threshold": threshold, "bound": bound}})
        case p.Digested(until):
            return Hop({"triage": {**triage, "until": until}}, until=until)
        case p.Delayed(until):
            return Hop({"triage": {**triage, "until": until}, "waiver": "delayed"}, until=until)
        case _:
            assert_never(outcome)


def _paid(outcome: p.Held | p.Waived | p.Free | p.Owed, id_: int) -> Hop:
    match outcome:
        case p.Held(hold) | p.Owed(hold):
            postings = money.hold(id_, hold.account, hold.amount)
            return Hop({"hold": v.flat(hold)}, postings=postings, currency=hold.currency)
        case p.Waived(reason):
            return Hop({"waiver": reason})
        case p.Free(account):
            return Hop({"waiver": "allowance"}, postings=money.use_allowance(account), currency=money.UNITS)
        case _:
            assert_never(outcome)


def _unpaid(outcome: p.Due | p.Unfunded | p.Lapsed | p.Asked | p.Expired) -> Hop:
    match outcome:
        case p.Due(amount, currency, until):
            return Hop({"due": {"amount": amount, "currency": currency, "until": until}})
        case p.Unfunded(amount, currency, until, deadline):
            facts = {"amount": amount, "currency": currency, "until": until, "deadline": deadline}
            return Hop({"unfunded": facts}, until=until)
        case p.Lapsed(amount, currency, account):
            return Hop({"lapsed": {"amount": amount, "currency": currency, "account": account}})
        case p.Asked(notice, until):
            return Hop({"asked": None if notice is None else str(notice), "lapsed": None}, until=until)
        case p.Expired(notice):
            return Hop({"expired": None if notice is None else str(notice)})
        case _:
            assert_never(outcome)


def _settled(
    outcome: p.Captured | p.Unbilled | p.Returned, id_: int, recipient: bytes, facts: Mapping[str, Any]
) -> Hop:
    hold = facts.get("hold", {})
    source = hold.get("account") or money.wallet_of(recipient)  # older holds do not say
    held, currency = hold.get("amount", 0), hold.get("currency", "")
    match outcome:
        case p.Captured(amount):
            postings = money.capture(id_, source, amount, held)
            return Hop({"captured": amount}, postings=postings, currency=currency)
        case p.Unbilled(waiver):
            return Hop({"unbilled": waiver})
        case p.Returned(amount, reply):
            returned = {"amount": amount, "reply": _words(reply)}
            return Hop({"returned": returned}, postings=money.void(id_, source, amount), currency=currency)
        case _:
            assert_never(outcome)


def _watched(outcome: p.Watching | p.Escalated | p.Acknowledged | p.Exhausted | p.Unwatched) -> Hop:
    """What stands under the outcome's own name is what the sender reads in the history of what is watched."""
    match outcome:
        case p.Watching(until):
            return Hop(until=until)
        case p.Escalated(round_, step, channel, at, until, notice, is_lost):
            told = {"round": round_, "step": step, "channel": channel, **({"failed": True} if is_lost else {})}
            sent = None if notice is None else str(notice)
            taken = {"taken": [round_, step, at], "sent": sent, "lost": is_lost, "push": None}
            return Hop({"escalated": told, **taken}, until=until)
        case p.Acknowledged(at, round_, step):
            return Hop({"acknowledged": {"at": at, "round": round_, "step": step}})
        case p.Exhausted(rounds):
            return Hop({"exhausted": {"rounds": rounds}})
        case p.Unwatched(reason):
            return Hop({"unwatched": {"reason": reason}})
        case _:
            assert_never(outcome)


def _words(text: str) -> str:
    """What another server or library said, as short printable ASCII: facts are limited, and such texts are not."""
    return "".join(character if " " <= character <= "~" else "?" for character in text[:_LONGEST])


def _enclosed(envelope: v.Envelope, facts: Mapping[str, Any], watch: int | None) -> dict[str, Any]:
    """What was found of the sender stands in the envelope now; a fact of that size would leave no room for others."""
    watched = {} if watch is None else {"watched": str(watch)}
    return {"envelope": _form(envelope), **watched, **({"results": None} if facts.get("results") else {})}


def _form(envelope: v.Envelope) -> dict[str, str]:
    match envelope:
        case v.Sealed(method=method):
            return {"form": "sealed", "method": method}
        case v.OpenByPolicy(policy=policy):
            return {"form": "open", "policy": policy}
        case _:
            assert_never(envelope)
