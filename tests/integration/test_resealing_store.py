"""What the store does for resealing: counts by key, hands out small pages, and replaces what still stands."""

import json
import re
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from serving import resealing as client_side
from serving.errors import Refused
from serving.queue.store import commands, directory, hops, intake, operators, resealing, resealing_facts, retention
from serving.queue.store.database import HERE
from serving.queue.store.hops import LeaseName
from serving.queue.store.intake import NewMessage
from tests.integration.peers import LOOKUP, OWNER, TO_PAYMENT, Store, refusal

OLD, NEW = b"\x01\x02\x03\x04", b"\x0a\x0b\x0c\x0d"
NOT_SEALED = {
    "notification.recipient", "notification.reaction", "idempotency.digest", "recipient.lookup", "counter.key",
    "growth.key", "personal_offset.recipient", "transfer.hash", "escalation.lookup", "suppression.lookup",
}  # fmt: skip
"""Keyed hashes, and the ledger's chain."""
EVERYTHING = {"body", "address", "recipient", "certificate", "envelope", "escalation"}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "store")
    yield store
    store.close()


def blob(key: bytes, number: int, size: int = 80) -> bytes:
    """Sealed octets as the broker sees them: a key's id, then what is like nothing else."""
    return key + number.to_bytes(32, "big") + bytes(size - 36)


def ask(store: Store, name: str, **parameters: Any) -> list[dict[str, Any]]:
    return store.do(lambda transaction: directory.answer(transaction, name, parameters))


def accept(store: Store, body: bytes, address: bytes) -> int:
    new = NewMessage("sender", body, [(LOOKUP, address)], None, b"", {}, hops.NORMAL)
    return store.do(lambda transaction: intake.accept(transaction, new)).notifications[0]


def enrol(store: Store, lookup: bytes, address: bytes, certificate: bytes | None) -> None:
    sealed = None if certificate is None else certificate.hex()
    store.do(lambda t: commands.enroll_recipient(t, lookup.hex(), address.hex(), sealed, {}, {}))


def wish(store: Store, lookup: bytes, wishes: Any) -> None:
    store.do(lambda t: commands.enroll_recipient(t, lookup.hex(), "", None, wishes, {}))


def replacing(id_: str, old: bytes, new: bytes) -> list[dict[str, str]]:
    return [{"id": id_, "head": old[:36].hex(), "sealed": new.hex()}]


class TestResealing:
    def test_blobs_are_counted_by_kind_and_key(self, store: Store) -> None:
        """Whether an old key may go is decided by it."""
        accept(store, blob(OLD, 1), blob(OLD, 2))
        accept(store, blob(OLD, 3), blob(NEW, 4))
        enrol(store, LOOKUP, blob(NEW, 5), None)
        enrol(store, bytes(32), blob(NEW, 6), blob(OLD, 7))
        name = store.walk(*TO_PAYMENT)
        store.sql("UPDATE envelope SET body = :body WHERE notification = :id", body=blob(NEW, 8), id=name.id)
        counts = {(row["what"], bytes.fromhex(row["key"])): row["count"] for row in ask(store, "sealed_counts")}

        assert counts == {
            ("body", OLD): 2, ("address", OLD): 1, ("address", NEW): 1, ("recipient", NEW): 2, ("certificate", OLD): 1,
            ("envelope", NEW): 1,
        }  # fmt: skip

    def test_a_forgotten_body_needs_no_key(self, store: Store) -> None:
        """It would hold its key back for ever."""
        id_ = accept(store, blob(OLD, 1), blob(NEW, 2))
        store.do(lambda t: operators.kill(t, str(id_), "over"))
        store.now += 10
        store.do(lambda t: retention.forget(t, 5.0))

        assert [row["what"] for row in ask(store, "sealed_counts")] == ["address"]
        assert ask(store, "sealed_page", what="body", current=NEW.hex()) == []

    def test_pages_hold_what_is_under_other_keys_each_once_and_in_order(self, store: Store) -> None:
        """A run goes through the rows once, however many there are."""
        bodies = [blob(NEW if number % 3 == 0 else OLD, number) for number in range(10)]
        for number, body in enumerate(bodies):
            accept(store, body, blob(OLD, 100 + number))
        after, pages = "", []
        while page := ask(store, "sealed_page", what="body", current=NEW.hex(), after=after, count=4):
            pages.append(page)
            after = page[-1]["id"]

        assert [len(page) for page in pages] == [4, 2]
        assert [bytes.fromhex(row["sealed"]) for page in pages for row in page] == [
            body for body in bodies if body[:4] == OLD
        ]

    @pytest.mark.parametrize(("octets", "found"), [(1, 1), (100, 1), (101, 2), (200, 2), (201, 3), (10**9, 5)])
    def test_a_page_ends_once_it_has_its_octets(self, store: Store, octets: int, found: int) -> None:
        """Two hundred bodies of 25 MiB in one answer would be the broker's end; one alone always comes."""
        for number in range(5):
            accept(store, blob(OLD, number, size=100), b"")

        page = ask(store, "sealed_page", what="body", current=NEW.hex(), octets=octets)
        assert len(page) == found

    @pytest.mark.parametrize("what", sorted(EVERYTHING))
    def test_what_still_stands_is_replaced_and_nothing_else(self, store: Store, what: str) -> None:
        """One row of each kind, beside another that stays."""
        name = self._filled(store)
        (row,) = ask(store, "sealed_page", what=what, current=NEW.hex())
        old, new = bytes.fromhex(row["sealed"]), blob(NEW, 1_000)
        before = store.dump()
        answers = [ask(store, "reseal", what=what, rows=replacing(row["id"], old, new))[0] for _ in range(2)]
        changed = [(was, now) for was, now in zip(before, store.dump(), strict=True) if was != now]

        assert answers == [{"replaced": 1}, {"replaced": 0}]
        assert [was.replace(repr(old), repr(new)) for was, _ in changed] == [now for _, now in changed]
        assert len(changed) == 1
        assert ask(store, "sealed_page", what=what, current=NEW.hex()) == []
        assert store.row(name.id)["stage"] == "payment"

    def test_a_row_that_was_written_anew_meanwhile_is_left_alone(self, store: Store) -> None:
        """A certificate that its owner has just replaced must not come back."""
        enrol(store, LOOKUP, blob(OLD, 1), blob(OLD, 2))
        (row,) = ask(store, "sealed_page", what="certificate", current=NEW.hex())
        enrol(store, LOOKUP, blob(OLD, 3), blob(OLD, 4))
        rows = replacing(row["id"], bytes.fromhex(row["sealed"]), blob(NEW, 5))

        assert ask(store, "reseal", what="certificate", rows=rows) == [{"replaced": 0}]
        assert bytes(store.sql("SELECT certificate FROM recipient")[0]["certificate"]) == blob(OLD, 4)

    def test_what_is_being_worked_on_goes_on(self, store: Store) -> None:
        """The stage has the old blob already; its lease must not end of this."""
        id_ = accept(store, blob(OLD, 1), blob(OLD, 2))
        (claimed,) = store.claim("authentication")
        ask(store, "reseal", what="address", rows=replacing(str(id_), blob(OLD, 2), blob(NEW, 3)))
        store.complete(LeaseName(id_, claimed.row["fence"], OWNER), "authenticated")

        assert bytes(claimed.row["address"]) == blob(OLD, 2)
        assert (bytes(store.row(id_)["address"]), store.row(id_)["stage"]) == (blob(NEW, 3), "classification")

    @pytest.mark.parametrize("new", [blob(NEW, 2, size=79), blob(NEW, 2, size=81)])
    def test_a_blob_of_another_length_replaces_nothing(self, store: Store, new: bytes) -> None:
        """Sealing adds as much under every key: another length is another mail."""
        id_ = accept(store, blob(OLD, 1), blob(OLD, 2))
        message = store.row(id_)["message"]

        assert ask(store, "reseal", what="body", rows=replacing(str(message), blob(OLD, 1), new)) == [{"replaced": 0}]

    @pytest.mark.parametrize(
        ("what", "row"),
        [
            ("message; DROP TABLE message", {}),
            ("body", {"id": "1", "head": "", "sealed": ""}),
            ("body", {"id": "1", "head": "00" * 36, "sealed": "00" * 35}),
            ("body", {"id": "no number", "head": "00" * 36, "sealed": "00" * 80}),
            ("body", {"id": "1", "head": "zz", "sealed": "00" * 80}),
        ],
    )
    def test_what_is_no_blob_is_refused(self, store: Store, what: str, row: dict[str, str]) -> None:
        """A mistake here would overwrite mail."""
        accept(store, blob(OLD, 1), blob(OLD, 2))
        before = store.dump()
        with pytest.raises((Refused, ValueError)):  # the broker makes a refusal of either
            ask(store, "reseal", what=what, rows=[row])

        assert store.dump() == before

    def test_what_was_found_of_a_relayed_mail_is_resealed_until_it_has_ended(self, store: Store) -> None:
        """It is a fact among others, which stay; once the mail has ended nobody opens it again."""
        blobs = [blob(OLD, number, size=90) for number in (1, 2)] + [blob(NEW, 3, size=90)]
        ids = [accept(store, blob(NEW, 10 + number), blob(NEW, 20 + number)) for number in range(4)]
        for sealed in blobs:
            facts = {"authentication": {"outcome": "authenticated\0"}, "results": b64encode(sealed).decode()}
            store.complete(store.lease("authentication"), "authenticated", facts=facts)
        store.do(lambda t: operators.kill(t, str(ids[1]), "over"))
        before = json.loads(store.row(ids[0])["facts"])
        counts = {row["key"]: row["count"] for row in ask(store, "sealed_counts") if row["what"] == "results"}
        page = ask(store, "sealed_page", what="results", current=NEW.hex())
        rows = [replacing(str(ids[0]), blobs[0], blob(NEW, 9, size=size)) for size in (91, 90, 90)]
        answers = [ask(store, "reseal", what="results", rows=row)[0]["replaced"] for row in rows]
        after = json.loads(store.row(ids[0])["facts"])

        assert counts == {OLD.hex(): 1, NEW.hex(): 1}
        assert page == [{"id": str(ids[0]), "sealed": blobs[0].hex()}]
        assert answers == [0, 1, 0]
        assert after == before | {"results": b64encode(blob(NEW, 9, size=90)).decode()}
        assert ask(store, "reseal", what="results", rows=replacing(str(ids[1]), blobs[1], blobs[1])) == [
            {"replaced": 0}
        ]
        assert ask(store, "reseal", what="results", rows=replacing(str(ids[3]), blobs[1], blobs[1])) == [
            {"replaced": 0}
        ]
        assert ask(store, "sealed_page", what="results", current=NEW.hex()) == []

    def test_the_lists_among_the_wishes_are_resealed_and_the_other_wishes_stay(self, store: Store) -> None:
        """They are one wish among others, which change meanwhile."""
        people = {bytes([number]) * 32: blob(key, number, size=90) for number, key in ((1, OLD), (2, NEW), (3, OLD))}
        for lookup, sealed in people.items():
            zone = "CET" if lookup[0] == 3 else "UTC"
            wish(store, lookup, {"not_urgent": "delay", "lists": sealed.hex(), "zone": zone})
        older = """UPDATE recipient SET wishes = replace(wishes, '":"', '": "') WHERE wishes LIKE :zone"""
        store.sql(older, zone='%"CET"%')  # as it was written once
        for number, held in enumerate(({}, {"lists": "no blob"}, {"lists": 7}, {"lists": None})):
            wish(store, bytes([9, number]) * 16, held)
        first, _, third = people
        counts = {row["key"]: row["count"] for row in ask(store, "sealed_counts") if row["what"] == "lists"}
        page = ask(store, "sealed_page", what="lists", current=NEW.hex())
        rest = ask(store, "sealed_page", what="lists", current=NEW.hex(), after=first.hex(), count=1)
        rows = [replacing(first.hex(), people[first], blob(NEW, 9, size=size)) for size in (91, 90, 90)]
        answers = [ask(store, "reseal", what="lists", rows=row)[0]["replaced"] for row in rows]
        (after,) = ask(store, "recipient", lookup=first.hex())

        assert counts == {OLD.hex(): 2, NEW.hex(): 1}
        assert [row["id"] for row in page] == [first.hex(), third.hex()]
        assert rest == [{"id": third.hex(), "sealed": people[third].hex()}]
        assert answers == [0, 1, 0]
        assert after["wishes"] == {"not_urgent": "delay", "lists": blob(NEW, 9, size=90).hex(), "zone": "UTC"}
        assert ask(store, "reseal", what="lists", rows=replacing("00" * 32, people[first], people[first])) == [
            {"replaced": 0}
        ]

    def test_an_unknown_kind_has_no_page(self, store: Store) -> None:
        """Its name becomes a statement's."""
        assert refusal(store, lambda: ask(store, "sealed_page", what="../claim", current="")) == ("malformed", True)

    def _filled(self, store: Store) -> LeaseName:
        """One row of each kind under the old key, and one under the new."""
        for number, key in ((10, OLD), (20, NEW)):
            accept(store, blob(key, number), blob(key, number + 1))
            enrol(store, bytes([number]) * 32, blob(key, number + 2), blob(key, number + 3))
            chain = {"lookup": (bytes([number]) * 32).hex(), "chain": blob(key, number + 5).hex()}
            ask(store, "set_escalation", **chain)
        name = store.walk(*TO_PAYMENT)
        store.sql("UPDATE envelope SET body = :body WHERE notification = :id", body=blob(OLD, 14), id=name.id)
        return name


def test_every_column_of_octets_is_resealed_or_known_not_to_be_sealed() -> None:
    """A sealed column that resealing forgets is unreadable as soon as the old key is gone."""
    script = (HERE / "schema" / "sqlite.sql").read_text(encoding="utf-8")
    tables = re.findall(r"CREATE TABLE (\w+) \((.*?)\n\) STRICT", script, re.DOTALL)
    octets = {f"{table}.{column}" for table, body in tables for column in re.findall(r"(?m)^    (\w+) +BLOB\b", body)}
    statements = [(HERE / "sql" / f"reseal_{what}.sql").read_text(encoding="utf-8") for what in resealing.SEALED]
    resealed = {".".join(re.findall(r"UPDATE (\w+) SET (\w+) = :sealed", text)[0]) for text in statements}

    assert octets == resealed | NOT_SEALED
    assert resealed & NOT_SEALED == set()


def test_every_place_that_seals_is_one_that_resealing_knows() -> None:
    """What is sealed need not lie in a column of octets: whoever adds a name here says where its blobs are resealed."""
    root = HERE.parents[1]
    sources = {str(path.relative_to(root)): path.read_text(encoding="utf-8") for path in root.rglob("*.py")}

    sealing = {name for name, text in sources.items() if re.search(r"(?<!un)\bseal\(|\.seal\b", text)}
    assert sealing - {"authentication/mail_arc.py"} == {  # in ARC a seal is a signature
        "authentication/relayed.py", "certificates_cli.py", "digest/stage.py", "encryption/stage.py", "enrolment.py",
        "escalation/stage.py", "escalation_cli.py", "expiry_notice.py", "gateway/api.py", "intake/acceptance.py",
        "intake/answers.py", "keyring.py", "learning.py", "notice/stage.py", "reports.py", "resealing.py",
        "sealing.py", "wishes_cli.py",
    }  # fmt: skip


def test_both_sides_speak_of_the_same_blobs() -> None:
    """The broker knows no keys, and whoever holds them does not open the store."""
    assert {*client_side.PURPOSE_OF} == {*resealing.KINDS} == EVERYTHING | {resealing.RESULTS, resealing.LISTS}
    assert client_side.HEAD == resealing_facts.HEAD
