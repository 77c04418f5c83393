"""The command that certifies an artefact's discard threshold, on a mailbox of its own."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from data.interactions import interactions
from data.schema import Message
from data.table import write_interactions, write_messages
from tests.integration.tiny import make_artefact
from training.artefact import Artefact, ArtefactError, describe
from training.calibration import main

DAY = 86_400.0
FIRST = 1_652_000_000.0  # May 2022: inside the benchmark's validation span
CERTAIN = 0.9525741268224333  # what the tiny artefact says of "urgent"


def mailbox(sender: str = "ada@x.invalid") -> list[Message]:
    """120 mails that Ben answers, a tenth of them without the word, and 120 that he does not."""
    mails: list[Message] = []
    for number in range(240):
        at, is_answered = FIRST + number * DAY, number % 2 == 0
        words = "urgent" if is_answered and number % 20 else "news"
        mails.append(mail(f"m{number}", sender, "ben@x.invalid", at, words))
        if is_answered:
            mails.append(mail(f"r{number}", "ben@x.invalid", sender, at + 600, "done", f"m{number}"))
    return mails


def mail(message_id: str, sender: str, to: str, date: float, words: str, parent: str | None = None) -> Message:
    return Message(
        "team", message_id, date, sender, sender, (to,), (), words, parent, words, len(words), sender_id=sender,
        is_automated=sender.startswith("nagios"),
    )  # fmt: skip


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder with an artefact."""
    make_artefact(tmp_path / "artefact")
    return tmp_path


def certify(home: Path, monkeypatch: pytest.MonkeyPatch, mails: list[Message], alpha: float = 0.25) -> dict[str, Any]:
    """The command's report."""
    write_messages(mails, home / "m.parquet")
    people = (each for each in interactions(mails, posts=2) if each.recipient == "ben@x.invalid")
    write_interactions(people, home / "i.parquet")
    options = {
        "model": home / "artefact",
        "messages": home / "m.parquet",
        "interactions": home / "i.parquet",
        "alpha": alpha,
        "cache": home / "cache",
        "report": home / "report.json",
    }
    arguments = [str(word) for name, value in options.items() for word in (f"--{name}", value)]
    monkeypatch.setattr(sys, "argv", ["training.calibration", *arguments])
    main()
    report: dict[str, Any] = json.loads((home / "report.json").read_text())
    return report


def test_the_artefact_carries_what_was_certified(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Serving discards by this file alone: bound, threshold and what they rest on travel together."""
    before = describe(home / "artefact")
    report = certify(home, monkeypatch, mailbox())
    after = Artefact.load(home / "artefact")
    found = after.certificate(is_automated=False)

    assert found is not None
    assert (found.bound, found.confidence, found.urgent, found.lost) == (0.25, 0.95, 120, 12)
    assert found.threshold < CERTAIN
    assert (after.thresholds.discard, after.bound) == (found.threshold, 0.25)
    assert (after.thresholds.urgent, after.thresholds.band) == (before.thresholds.urgent, before.thresholds.band)
    assert report["certificates"][0]["urgent_share_lost"] == 0.1
    assert report["certificates"][0]["nonurgent_share_discarded"] == 1.0


def test_mail_of_machines_is_certified_apart(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was learned from one sort of sender must not discard the other's."""
    certify(home, monkeypatch, mailbox("nagios@x.invalid"))
    artefact = Artefact.load(home / "artefact")

    assert artefact.certificate(is_automated=True) is not None
    assert artefact.certificate(is_automated=False) is None
    assert (artefact.thresholds.discard, artefact.bound) == (None, None)


def test_what_cannot_be_certified_any_more_is_taken_back(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A certificate that stayed from an earlier run would be about other mail."""
    certify(home, monkeypatch, mailbox())
    report = certify(home, monkeypatch, mailbox(), alpha=0.01)

    assert report["certificates"] == []
    assert describe(home / "artefact").certificates == ()
    assert describe(home / "artefact").bound is None


def test_a_killed_run_goes_on_where_it_was(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scoring takes minutes; half a number at the end of what was kept must not shift all that follows."""
    first = certify(home, monkeypatch, mailbox())
    (kept,) = (home / "cache").iterdir()
    whole = kept.read_bytes()
    kept.write_bytes(whole[: 8 * 100 + 3])
    again = certify(home, monkeypatch, mailbox())

    assert kept.read_bytes() == whole
    assert again["certificates"] == first["certificates"]


def test_a_description_that_discards_without_a_certificate_is_refused(home: Path) -> None:
    """An edited file, or one of another tool, must not make serving discard."""
    file = home / "artefact" / "artefact.json"
    stated = json.loads(file.read_text())
    file.write_text(json.dumps(stated | {"bound": 0.01, "thresholds": stated["thresholds"] | {"discard": 0.3}}))

    with pytest.raises(ArtefactError, match="without a certificate"):
        describe(home / "artefact")


def test_tables_that_certify_nothing_are_told_in_one_line(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A mailbox from another time has no validation span; a traceback would not say so."""
    late = [mail("a", "ada@x.invalid", "ben@x.invalid", 1.9e9, "news")]
    late += [mail(f"b{number}", "ben@x.invalid", "ada@x.invalid", 1.9e9 + number, "news") for number in range(3)]
    with pytest.raises(SystemExit) as ended:
        certify(home, monkeypatch, late)

    assert ended.value.code == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
