"""The sample mailbox is invented, frozen, and shows every kind of mail that the project is about."""

import csv
import hashlib
import mailbox
import re
import tomllib
from collections import Counter
from email.utils import getaddresses
from functools import cache
from pathlib import Path
from typing import Any

SAMPLE = Path(__file__).parents[2] / "data" / "sample"
KINDS = {
    *("incident", "recovery", "expiry", "build", "invoice", "dunning", "payroll", "statement", "calendar"),
    *("lab_critical", "lab_normal", "appointment", "fraud_alert", "newsletter", "promotion", "social"),
    *("question", "answer", "phishing", "stranger", "broken"),
}
RESERVED = re.compile(r"(^|\.)(example|test|invalid|localhost)$")
HOST = re.compile(r"(?:@|://)([\w-]+(?:\.[\w-]+)+)", re.ASCII)
PUBLIC = re.compile(r"\b[a-z0-9-]+\.(?:com|org|net|edu|gov|info|io|de|uk|eu|co)\b(?!\.\w)", re.IGNORECASE | re.ASCII)


@cache
def mails() -> tuple[mailbox.mboxMessage, ...]:
    """Every mail of the sample, as the standard library's mbox reader gives it."""
    return tuple(mailbox.mbox(SAMPLE / "mailbox.mbox", create=False))


@cache
def labels() -> tuple[dict[str, str], ...]:
    """The rows of labels.csv."""
    with (SAMPLE / "labels.csv").open(encoding="utf-8", newline="") as file:
        return tuple(csv.DictReader(file))


@cache
def cast() -> dict[str, Any]:
    """The people and systems."""
    return tomllib.loads((SAMPLE / "cast.toml").read_text(encoding="utf-8"))


def ids() -> list[str]:
    """The Message-IDs that the mails carry, without angle brackets."""
    return [str(mail["Message-ID"]).strip("<> \n") for mail in mails() if mail["Message-ID"]]


def text(mail: mailbox.mboxMessage) -> str:
    """The headers and every decoded part of a mail, as one string."""
    parts = [part.get_payload(decode=True) for part in mail.walk() if not part.is_multipart()]
    decoded = [part.decode("utf-8", "replace") for part in parts if isinstance(part, bytes)]
    return "\n".join([*(str(value) for value in mail.values()), *decoded])


def addressed(mail: mailbox.mboxMessage) -> set[str]:
    """The bare addresses in To and Cc that are addresses at all."""
    found = getaddresses([*mail.get_all("To", []), *mail.get_all("Cc", [])])
    return {address for _, address in found if re.fullmatch(r"[^@\s]+@[\w.-]+", address)}


def test_the_mailbox_holds_at_least_fifty_mails_with_distinct_ids() -> None:
    """A demo of a handful of mails shows nothing, and a repeated id would be taken for a duplicate."""
    assert len(mails()) >= 50
    assert [identifier for identifier, count in Counter(ids()).items() if count > 1] == []


def test_only_reserved_domains_appear_in_headers_and_decoded_bodies() -> None:
    """An invented mail must not name, link to or be deliverable to anybody real."""
    everything = "\n".join([*(text(mail) for mail in mails()), (SAMPLE / "cast.toml").read_text(encoding="utf-8")])
    hosts = {host.rstrip(".").lower() for host in HOST.findall(everything)}

    assert hosts
    assert sorted(host for host in hosts if not RESERVED.search(host)) == []
    assert PUBLIC.findall(everything) == []


def test_every_labelled_id_exists_and_addresses_that_recipient() -> None:
    """A behaviour test that reads labels must find its mail, else it silently tests less."""
    by_id = {str(mail["Message-ID"]).strip("<> \n"): mail for mail in mails() if mail["Message-ID"]}
    lost = [row for row in labels() if row["recipient"] not in addressed(by_id[row["message_id"]])]

    assert lost == []
    assert {row["message_id"] for row in labels()} == set(by_id)


def test_every_kind_of_mail_is_there_and_both_judgements() -> None:
    """Each kind stands for a claim in the README; none may be dropped unnoticed."""
    assert {row["kind"] for row in labels()} == KINDS
    assert {row["urgent"] for row in labels()} == {"yes", "no"}


def test_phishing_and_strangers_are_never_urgent() -> None:
    """What fails authentication is not urgent by its words, so no label may say so."""
    wrong = [row for row in labels() if row["kind"] in {"phishing", "stranger"} and row["urgent"] == "yes"]

    assert wrong == []


def test_every_recipient_is_cast_and_exactly_the_unknown_one_is_not_enrolled() -> None:
    """The demo enrols the cast; anybody else would be refused by surprise instead of on purpose."""
    enrolled = {person["address"] for person in cast()["recipients"]}
    seen = set().union(*(addressed(mail) for mail in mails()))

    assert seen - enrolled == set(cast()["unknown"])
    assert enrolled <= seen


def test_the_cast_lacks_keys_funds_and_secrecy_where_the_demo_needs_it() -> None:
    """No key, no funds and open by policy are each a path of the pipeline that the demo has to show."""
    people = cast()["recipients"]

    assert any(not person["key"] and not person["policy"]["open"] for person in people)
    assert any(person["balance"] == 0 and person["policy"]["pays"] for person in people)
    assert len([person for person in people if person["policy"]["open"]]) == 1
    assert len(cast()["unknown"]) == 1


def test_forged_mail_is_relayed_from_a_domain_that_another_principal_owns() -> None:
    """Otherwise the phishing would come in under the bank's own key and pass as genuine."""
    relay = next(sender for sender in cast()["senders"] if sender["id"] == cast()["relay"])
    owned = {domain for sender in cast()["senders"] for domain in sender["domains"]} - set(relay["domains"])

    assert set(relay["relays"]) <= {row["message_id"] for row in labels() if row["kind"] == "phishing"}
    assert all(identifier.rpartition("@")[2] in owned for identifier in relay["relays"])


def test_one_mail_is_beyond_any_parser() -> None:
    """A reader that dies on one bad mail must die here first, not on a user's mailbox."""
    broken = [mail for mail in mails() if not mail["From"] and not mail["To"]]

    assert len(broken) == 1
    assert b"\x00" in (SAMPLE / "mailbox.mbox").read_bytes()


def test_mailbox_and_labels_are_the_ones_that_the_dataset_card_names() -> None:
    """The sample is frozen: changing it after a model was trained would let the test follow the model."""
    card = (SAMPLE.parent / "README.md").read_text(encoding="utf-8")
    digests = {
        name: hashlib.sha256((SAMPLE / name).read_bytes()).hexdigest() for name in ("mailbox.mbox", "labels.csv")
    }

    assert [name for name, digest in digests.items() if f"| `{digest}` |" not in card] == []
