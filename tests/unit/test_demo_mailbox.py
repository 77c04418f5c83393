"""Which mails of a real mailbox a demo plays."""

import tarfile
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path

import pytest

from data.readers import Aside
from serving.demo.mailbox import newest, sample_mail
from serving.errors import ConfigurationError

DAY = 86_400.0
NOW = 100 * DAY


def mail(day: int) -> bytes:
    date = format_datetime(datetime.fromtimestamp(day * DAY, UTC))
    return f"From: a@x.example\nTo: b@y.example\nDate: {date}\nSubject: day {day}\n\nhello\n".encode()


def mbox(path: Path, *days: int) -> Path:
    path.write_bytes(b"\n".join(b"From a@x.example Thu Jan  1 00:00:00 1970\n" + mail(day) for day in days))
    return path


@pytest.fixture
def aside(tmp_path: Path) -> Aside:
    return Aside(tmp_path / "aside")


def subjects(path: Path, aside: Aside, *, limit: int = 10, since: float = 0.0) -> list[str]:
    found = newest(path, limit, since, NOW, aside)
    return [each.message.subject for each in found if each.message is not None]


def test_the_newest_are_taken_and_played_oldest_first(tmp_path: Path, aside: Aside) -> None:
    """The history must grow in the order of time, whatever the order of the file."""
    assert subjects(mbox(tmp_path / "m", 3, 9, 1, 7, 5), aside, limit=3) == ["day 5", "day 7", "day 9"]


def test_what_the_champion_was_trained_on_and_the_future_are_left_out(tmp_path: Path, aside: Aside) -> None:
    """Predictions for training data would flatter; a forged date must not push real mail out."""
    assert subjects(mbox(tmp_path / "m", 49, 50, 51, 101), aside, since=50 * DAY) == ["day 51"]


def test_mails_of_one_second_keep_the_order_of_the_file(tmp_path: Path, aside: Aside) -> None:
    """Two mails of the same date are never compared by their content."""
    assert subjects(mbox(tmp_path / "m", 5, 5, 5), aside) == ["day 5"] * 3


@pytest.mark.parametrize("kind", ["folder", "maildir", "tar"])
def test_folders_maildirs_and_tars_are_read_alike(tmp_path: Path, aside: Aside, kind: str) -> None:
    """`make demo MAIL=` takes what people have."""
    folder = tmp_path / "box" / ("cur" if kind == "maildir" else "")
    folder.mkdir(parents=True)
    for day in (4, 2):
        (folder / f"{day}").write_bytes(mail(day))
    path = tmp_path / "box"
    if kind == "tar":
        path = tmp_path / "box.tar.xz"
        with tarfile.open(path, "w:xz") as archive:
            archive.add(folder, "box")

    assert subjects(path, aside) == ["day 2", "day 4"]


def test_a_damaged_file_is_kept_aside_and_the_rest_is_played(tmp_path: Path, aside: Aside) -> None:
    """One bad mail is counted and reported, never the end of the run."""
    (tmp_path / "box").mkdir()
    (tmp_path / "box" / "1").write_bytes(mail(5))
    (tmp_path / "box" / "2.gz").write_bytes(b"\x1f\x8bno gzip")

    assert subjects(tmp_path / "box", aside) == ["day 5"]
    assert len(aside.reasons) == 1


def test_a_mailbox_of_old_mail_says_so_and_where_the_line_is(tmp_path: Path, aside: Aside) -> None:
    """Its owner must learn that nothing is wrong with the mailbox."""
    with pytest.raises(ConfigurationError, match=r"no mail from after 1970-02-20, .* \(read: 2\); give MAIL a newer"):
        newest(mbox(tmp_path / "m", 3, 9), 5, 50 * DAY, NOW, aside)


@pytest.mark.parametrize("content", [None, b""])
def test_no_mailbox_and_an_empty_one_say_what_to_give(tmp_path: Path, aside: Aside, content: bytes | None) -> None:
    """A typo in MAIL is the most likely mistake."""
    path = tmp_path / "mailbox"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigurationError, match="give MAIL an mbox"):
        newest(path, 5, 0.0, NOW, aside)


def test_the_sample_plays_every_mail_the_unreadable_too() -> None:
    """The gateway has to bear what no parser likes."""
    assert len(sample_mail()) == 59
