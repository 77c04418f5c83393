"""The payments' torture, small: the promises hold, and the audit is not blind."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.torture.payments.audit import judge
from tests.torture.payments.bank import NEW_KEY
from tests.torture.payments.books import Arrivals, Entry, Journal, Ledger
from tests.torture.payments.cast import Cast, Person
from tests.torture.payments.world import PRICE

SEED = 20261122
MUST_BE_ZERO = ("double_charged", "charged_undelivered", "delivered_uncaptured", "drift", "open_holds", "lost")


def command(report: Path, *options: str) -> list[str]:
    """A run of half a minute, with a kill each second."""
    small = ("--n", "60", "--rate", "8", "--every", "1", "--seed", str(SEED))
    return [sys.executable, "-m", "tests.torture.payments", *small, "--report", str(report), *options]


def run(report: Path, *options: str) -> tuple[int, dict[str, Any]]:
    """The exit status and the report."""
    done = subprocess.run(command(report, *options), capture_output=True, text=True, timeout=170, check=False)
    assert report.exists(), done.stderr[-2000:]
    return done.returncode, json.loads(report.read_text())


def ada_and_nobody() -> Cast:
    """Two recipients who have paid for one notification each; one of them does not exist at the receiver."""
    return Cast((Person("ada@x.invalid", PRICE, False), Person("nobody@x.invalid", PRICE, False)), (0, 1))


def good_books(cast: Cast) -> tuple[Arrivals, Journal, Ledger]:
    """Ada's notification, 1, was delivered and captured; that of nobody, 2, was refused and given back."""
    ada, nobody = (person.payer for person in cast.people)
    journal = Journal(Counter({ada: PRICE, nobody: PRICE}), Counter({nobody: PRICE}), Counter({1: 1}), PRICE, 3)
    entries = [Entry(1, 0, "delivered", True, 1, 0), Entry(2, 1, "dead", False, 0, 0)]
    return (
        Arrivals(Counter({1: 1}), Counter({1: 1})),
        journal,
        Ledger(entries, [0, PRICE], -2 * PRICE, PRICE, True, None),
    )


def found(cast: Cast, arrivals: Arrivals, journal: Journal, ledger: Ledger) -> set[str]:
    """What is not 0 and must be."""
    counts = judge(cast, arrivals, journal, ledger)
    return {name for name in MUST_BE_ZERO if counts[name]}


def test_books_that_agree_are_found_to_agree() -> None:
    """A lost 250 and a mail that came twice because of it are no fault."""
    arrivals, journal, ledger = good_books(ada_and_nobody())
    arrivals.taken[1] = 2

    counts = judge(ada_and_nobody(), arrivals, journal, ledger)

    assert {counts[name] for name in MUST_BE_ZERO} == {0}
    assert (counts["delivered"], counts["dead"], counts["duplicates_of_lost_250"]) == (1, 1, 1)


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (Entry(1, 0, "delivered", True, 2, 0), {"double_charged"}),
        (Entry(1, 0, "delivered", False, 1, 0), {"charged_undelivered", "lost"}),
        (Entry(1, 0, "delivered", True, 0, 0), {"delivered_uncaptured"}),
        (Entry(1, 0, "queued", True, 1, 0), {"lost"}),
        (Entry(1, 0, "delivered", True, 1, PRICE), {"open_holds", "drift"}),
        (Entry(1, 0, "dead", False, 0, 0), {"charged_undelivered", "lost"}),
    ],
)
def test_each_fault_of_our_ledger_is_found(entry: Entry, expected: set[str]) -> None:
    """An audit that says 0 to everything is worth nothing."""
    arrivals, journal, ledger = good_books(ada_and_nobody())
    ledger.entries[0] = entry

    faults = found(ada_and_nobody(), arrivals, journal, ledger)

    assert faults == expected


def test_each_fault_in_the_provider_s_book_is_found() -> None:
    """Money that left twice, money that never left, and a payer who was charged twice for one payment."""
    cast = ada_and_nobody()
    payer = cast.people[0].payer
    arrivals, twice, ledger = good_books(cast)
    twice.releases[1], twice.released, twice.kept[payer] = 2, 2 * PRICE, -PRICE
    _, never, _ = good_books(cast)
    never.releases[1], never.released, never.kept[payer] = 0, 0, PRICE
    _, charged, richer = good_books(cast)
    charged.charged[payer], charged.kept[payer], richer.clearing, richer.wallets[0] = (
        2 * PRICE,
        PRICE,
        -3 * PRICE,
        PRICE,
    )

    faults = [found(cast, arrivals, twice, ledger), found(cast, arrivals, never, ledger)]
    faults.append(found(cast, arrivals, charged, richer))

    assert faults == [{"double_charged", "drift"}, {"delivered_uncaptured", "drift"}, {"drift"}]


def test_a_mail_that_the_receiver_never_took_or_never_answered_was_charged_for_nothing() -> None:
    """Our own word that we read a 250 is no evidence: nobody can have read one that was never given."""
    _, journal, ledger = good_books(ada_and_nobody())

    never_taken = found(ada_and_nobody(), Arrivals(), journal, ledger)
    never_answered = found(ada_and_nobody(), Arrivals(Counter({1: 1})), journal, ledger)

    assert never_taken == {"lost", "charged_undelivered"}
    assert never_answered == {"charged_undelivered"}


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_nobody_is_charged_twice_or_for_nothing_while_everything_fails_and_is_killed(tmp_path: Path) -> None:
    """The third promise: three books agree, whatever is killed and whoever does not answer."""
    status, report = run(tmp_path / "report.json")

    assert {name: report[name] for name in MUST_BE_ZERO} == dict.fromkeys(MUST_BE_ZERO, 0)
    assert (status, report["ledger"], report["crashed"]) == (0, "intact", {})
    assert report["delivered"] + report["dead"] == 60
    assert report["dead"] > 0
    assert sum(report["kills"].values()) >= 5
    assert report["provider_answers"]["perform: Unknown"] > 0
    assert min(report["webhooks"].values()) > 0


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_paying_again_under_a_new_key_after_an_unknown_answer_is_found(tmp_path: Path) -> None:
    """The test of the test: with the mistake that this is all about, the same run fails."""
    status, report = run(tmp_path / "report.json", "--bug", NEW_KEY, "--limit", "30")

    assert status == 1
    assert report["double_charged"] > 0
    assert report["drift"] > 0


@pytest.mark.slow
def test_an_interrupted_run_says_so_and_leaves_nothing_behind(tmp_path: Path) -> None:
    """Ctrl-C after an hour must not lose the hour, nor leave nine processes on the machine."""
    process = subprocess.Popen(
        command(tmp_path / "report.json", "--keep", str(tmp_path / "kept")), stderr=subprocess.PIPE
    )
    deadline = time.monotonic() + 60
    while not (tmp_path / "kept" / "arrivals.jsonl").exists() or not mails(tmp_path / "kept"):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    report = json.loads((tmp_path / "report.json").read_text())

    assert process.returncode == 130
    assert (report["interrupted"], report["double_charged"], report["lost"]) == (True, 0, None)
    assert report["accepted"] > 0
    assert processes_that_name(str(tmp_path / "kept")) == []


def mails(folder: Path) -> int:
    """How many the receiver has taken."""
    return len((folder / "arrivals.jsonl").read_bytes().splitlines())


def processes_that_name(text: str) -> list[int]:
    """Whose command line holds the text."""
    found: list[int] = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if text.encode() in (process / "cmdline").read_bytes():
                found.append(int(process.name))
        except OSError:
            continue
    return [process_id for process_id in found if process_id != os.getpid()]
