"""The sandbox provider's memory: what was answered is there again, what was cut short never happened."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.errors import ConfigurationError
from serving.payment.journal import Journal
from serving.payment.provider import Order, Verb

CHARGE = Order("top-up:1", Verb.CHARGE, "aa", 100, "EUR")
RELEASE = Order("7:capture", Verb.RELEASE, "aa", 30, "EUR")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.jsonl"


@pytest.fixture
def journal(path: Path) -> Iterator[Journal]:
    journal = Journal(path, clock=lambda: 1.5)
    yield journal
    journal.close()


def test_what_was_committed_is_there_after_a_restart(journal: Journal, path: Path) -> None:
    """The provider is asked after a crash; it must remember."""
    journal.append(CHARGE)
    released = journal.append(RELEASE)
    journal.close()

    again = Journal(path, clock=lambda: 9.0)

    assert again.find("7:capture") == released
    assert again.kept("aa", "EUR") == 70


def test_a_last_line_that_was_cut_short_is_cut_off_and_the_next_one_is_whole(journal: Journal, path: Path) -> None:
    """A crash within a write leaves half a line; glued to the next it would damage both."""
    journal.append(CHARGE)
    journal.close()
    path.write_bytes(path.read_bytes() + b'{"seq":2,"at":1.5,"key":"7:cap')

    again = Journal(path, clock=lambda: 2.0)
    again.append(RELEASE)
    again.close()

    assert len(Journal(path, clock=lambda: 3.0)) == 2


def test_a_damaged_line_in_the_middle_is_named_and_nothing_is_served(journal: Journal, path: Path) -> None:
    """A provider that forgot an operation would commit it again."""
    journal.append(CHARGE)
    journal.append(RELEASE)
    journal.close()
    path.write_bytes(path.read_bytes().replace(b'"seq":1', b'"seq":x'))

    with pytest.raises(ConfigurationError, match="line 1"):
        Journal(path, clock=lambda: 2.0)


def test_one_file_has_one_writer(journal: Journal, path: Path) -> None:
    """Two providers on one file would each commit the same key."""
    journal.append(CHARGE)

    with pytest.raises(ConfigurationError, match="in use"):
        Journal(path, clock=lambda: 2.0)
