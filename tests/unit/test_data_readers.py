"""Every container of mail, one mail at a time, and none the end of the run."""

import gzip
import io
import lzma
import subprocess
import tarfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from data.containers import MailboxError, RawMail, raw_mails
from data.readers import Aside, BadMail, read


def raw(number: int, body: str = "words") -> bytes:
    fields = f"From: ada@team.invalid\nTo: ben@team.invalid\nSubject: {number}\nMessage-ID: <{number}@t>"
    return f"{fields}\n\n{body}\n".encode()


def mbox(count: int) -> bytes:
    return b"".join(b"From ada@team.invalid Thu Oct  1 05:00:12 2026\n" + raw(n) + b"\n" for n in range(count))


def tarred(count: int) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for number in range(count):
            info = tarfile.TarInfo(f"box/{number}.")
            info.size = len(raw(number))
            archive.addfile(info, io.BytesIO(raw(number)))
    return file.getvalue()


def subjects(path: Path) -> list[str]:
    bad: list[BadMail] = []
    found = [message.subject for message in read(path, bad.append)]
    assert bad == []
    return found


@pytest.mark.parametrize("pack", [bytes, gzip.compress, lzma.compress], ids=["plain", "gz", "xz"])
@pytest.mark.parametrize("make", [mbox, tarred], ids=["mbox", "tar"])
def test_packed_mailboxes_are_read(
    tmp_path: Path, make: Callable[[int], bytes], pack: Callable[[bytes], bytes]
) -> None:
    """Archives come in every wrapping; the name of the file says nothing."""
    path = tmp_path / "mailbox"
    path.write_bytes(pack(make(3)))

    assert subjects(path) == ["0", "1", "2"]


def test_a_maildir_is_read_without_its_temporary_files(tmp_path: Path) -> None:
    """`tmp` holds mail that is still being written."""
    for folder in ("cur", "new", "tmp"):
        (tmp_path / folder).mkdir()
    (tmp_path / "cur" / "1:2,S").write_bytes(raw(1))
    (tmp_path / "new" / "2").write_bytes(raw(2))
    (tmp_path / "tmp" / "3").write_bytes(raw(3))

    assert subjects(tmp_path) == ["1", "2"]


def test_a_folder_of_folders_is_read(tmp_path: Path) -> None:
    """Some mailboxes are one file a mail, in folders."""
    (tmp_path / "inbox" / "deep").mkdir(parents=True)
    (tmp_path / "inbox" / "1.").write_bytes(raw(1))
    (tmp_path / "inbox" / "deep" / "2.").write_bytes(gzip.compress(raw(2)))

    assert subjects(tmp_path) == ["1", "2"]


@pytest.mark.parametrize("version", [1, 2])
def test_a_public_inbox_repository_is_read_oldest_first(tmp_path: Path, version: int) -> None:
    """Kernel lists are published as git repositories; the commit is kept so that a row can be traced."""
    home = tmp_path / "git" / "0.git" if version == 2 else tmp_path

    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=t", "-c", "user.email=t@t.invalid"]
        subprocess.run(["git", "-C", str(home), *identity, *arguments], check=True, capture_output=True)

    home.mkdir(parents=True, exist_ok=True)
    git("init", "-q")
    for number in range(3):
        file = home / ("m" if version == 2 else f"{number:02}/mail")
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(raw(number))
        git("add", "-A")
        git("commit", "-q", "-m", str(number))
    if version == 2:
        for entry in (home / ".git").iterdir():
            entry.rename(home / entry.name)

    messages = list(read(tmp_path, lambda bad: pytest.fail(bad.reason)))

    assert [message.subject for message in messages] == ["0", "1", "2"]
    assert all(len(message.commit) == 12 for message in messages)


def test_from_lines_inside_a_mail_do_not_split_it(tmp_path: Path) -> None:
    """mboxrd quotes them; a reader that splits there invents mails."""
    path = tmp_path / "mbox"
    path.write_bytes(
        b"From a@b Thu Oct  1 05:00:12 2026\n" + raw(1, "\n>From here\n>>From there\nFrom me to you") + b"\n"
    )

    (message,) = read(path, lambda bad: pytest.fail(bad.reason))

    assert message.body == "\nFrom here\n>From there\nFrom me to you\n"


def test_a_bad_mail_is_kept_aside_and_the_rest_is_read(tmp_path: Path) -> None:
    """One mail that nobody can parse must not cost the ten thousand behind it."""
    path = tmp_path / "mbox"
    path.write_bytes(mbox(2) + b"From ada@team.invalid Thu Oct  1 05:00:12 2026\n\n\n" + mbox(1))
    aside = Aside(tmp_path / "aside")

    found = [message.subject for message in read(path, aside)]

    assert found == ["0", "1", "0"]
    assert len(aside.reasons) == 1
    assert (tmp_path / "aside" / "000001.eml").exists()
    assert "mbox#3" in (tmp_path / "aside" / "reasons.txt").read_text()


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress], ids=["gz", "xz"])
def test_a_truncated_archive_gives_what_it_has(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    """Downloads break off; what arrived is still mail."""
    path = tmp_path / "mbox.packed"
    path.write_bytes(pack(mbox(20_000))[:-4_000])
    bad: list[BadMail] = []

    found = list(read(path, bad.append))

    assert len(found) > 100
    assert "reading stopped" in bad[-1].reason


def test_memory_does_not_grow_with_the_mailbox(tmp_path: Path) -> None:
    """A mailbox of years is larger than the machine."""
    small, large = tmp_path / "small.xz", tmp_path / "large.xz"
    small.write_bytes(lzma.compress(mbox(500)))
    large.write_bytes(lzma.compress(mbox(10_000)))

    def peak(path: Path) -> int:
        tracemalloc.start()
        count = sum(1 for _ in raw_mails(path))
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert count >= 500
        return used

    peak(small)
    assert peak(large) < peak(small) + 200_000


def test_a_path_that_holds_nothing_is_said_in_one_line(tmp_path: Path) -> None:
    """The command line prints it as it is."""
    with pytest.raises(MailboxError, match="no such file or folder"):
        list(raw_mails(tmp_path / "absent"))


@pytest.mark.real_mail
def test_real_archives_are_read_whole(real_mail: Path) -> None:
    """Full headers, attachments and every encoding that twenty years of mail programs thought of."""
    bad: list[BadMail] = []

    enron = [
        bool(message.sender and message.date)
        for message in read(real_mail / "mail" / "enron-maildir.tar.xz", bad.append)
    ]

    assert (len(enron), sum(enron)) == (4_107, 4_104)
    assert sum(isinstance(found, RawMail) for found in raw_mails(real_mail / "mail" / "linux-next.mbox.xz")) == 5_999
    assert bad == []
