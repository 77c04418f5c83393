"""Rotating keys: whatever moment it is killed at, everything opens, nothing is overwritten, and it can be run again."""

import os
import resource
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from serving.errors import ConfigurationError, KeyNotHeld
from serving.keyring import check_keys, load_sealing, load_unsealing, private_keys
from serving.rotation import GRACE, kept_keys, retire, rotate
from serving.sealing import create_keys

ROOT = Path(__file__).parents[2]
MOST_STEPS = 40
KILLED = """
import os, signal, sys
from pathlib import Path
from serving.rotation import rotate

folder, left = Path(sys.argv[1]), int(sys.argv[2])

def before(event, arguments):
    # Every call that reads or changes a folder's entries or opens a file there; the last one is never made.
    global left
    if event in ("open", "os.link", "os.rename", "os.remove", "os.chmod", "os.chown", "os.scandir", "tempfile.mkstemp"):
        if str(folder) in str(arguments) or event in ("os.chmod", "os.chown"):
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(before)
rotate(folder, "content")
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    create_keys(tmp_path / "keys")
    return tmp_path / "keys"


def killed_at(folder: Path, step: int) -> bool:
    """Whether a rotation came to that step, where kill -9 ended it."""
    ended = subprocess.run([sys.executable, "-c", KILLED, str(folder), str(step)], cwd=ROOT, check=False)
    assert ended.returncode in (0, -signal.SIGKILL)
    return ended.returncode != 0


@pytest.mark.timeout(300)
def test_a_rotation_may_be_killed_at_any_step(tmp_path: Path) -> None:
    """Each time: old and new blobs open, no key is gone, a start finds the folder whole, and a second run ends it."""
    seen = set()
    for step in range(MOST_STEPS):
        folder = tmp_path / f"{step}" / "keys"
        create_keys(folder)
        rotate(folder, "content")
        before, held = load_sealing(folder, "content").seal(b"before"), set(private_keys(folder, "content"))
        was_killed = killed_at(folder, step)
        between = load_sealing(folder, "content").seal(b"between")
        check_keys(folder)
        keyring = load_unsealing(folder, "content")

        assert (keyring.unseal(before), keyring.unseal(between)) == (b"before", b"between")
        assert held <= set(private_keys(folder, "content"))
        was_done = before[:4] != between[:4]
        seen.add((len(private_keys(folder, "content")), was_done))
        if not was_killed:
            break
        done = rotate(folder, "content")
        check_keys(folder)
        again = load_unsealing(folder, "content")

        assert done.new == load_sealing(folder, "content").id != before[:4]
        assert (again.unseal(before), again.unseal(between)) == (b"before", b"between")
        assert len(private_keys(folder, "content")) == (4 if was_done else 3)  # what was begun is ended, not done anew
        assert [path.name for path in folder.iterdir() if path.name.startswith(".")] == []

    assert not was_killed
    assert step > 10
    assert seen == {(2, False), (3, False), (3, True)}  # nothing yet; made, but sealing under the old one; done


def test_two_at_once_are_two_rotations(folder: Path) -> None:
    """Without a lock one would overwrite the other's key, under which mail lies already."""
    sealing = load_sealing(folder, "content")
    blobs = [sealing.seal(b"mail")]
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda _: rotate(folder, "content"), range(8)))

    assert len({each.new for each in done}) == 8
    assert len(private_keys(folder, "content")) == 9
    assert load_unsealing(folder, "content").unseal(blobs[0]) == b"mail"


def test_a_key_is_listed_with_the_time_at_which_it_was_made(folder: Path) -> None:
    """Which one is overdue is what an operator asks."""
    began = time.time()
    os.utime(folder / "content.private", (1_000.0, 1_000.0))
    done = rotate(folder, "content")
    newest, old = kept_keys(folder, "content")

    assert (newest.id, newest.is_newest, newest.since >= began - 1) == (done.new, True, True)
    assert (old.id, old.is_newest, old.since) == (done.old, False, 1_000.0)


def test_an_old_key_is_gone_once_it_is_retired(folder: Path) -> None:
    """That is what rotation is for."""
    sealed = load_sealing(folder, "content").seal(b"mail")
    old = rotate(folder, "content").old
    retire(folder, "content", old, time.time() + GRACE + 1)

    assert list(private_keys(folder, "content")) == [load_sealing(folder, "content").id]
    with pytest.raises(KeyNotHeld):
        load_unsealing(folder, "content").unseal(sealed)


@pytest.mark.parametrize(
    ("which", "later", "words"),
    [
        ("newest", GRACE + 1, "is the newest content key"),
        ("old", 0.0, "less than an hour ago.*in 60 minutes"),
        ("other", GRACE + 1, "no old content key"),
    ],
)
def test_a_key_that_may_be_needed_is_not_retired(folder: Path, which: str, later: float, words: str) -> None:
    """The newest seals; what a process sealed a moment before the rotation may be on its way."""
    done = rotate(folder, "content")
    key_id = {"newest": done.new, "old": done.old, "other": b"\0" * 4}[which]
    moment = (folder / "content.public").stat().st_mtime + later
    with pytest.raises(ConfigurationError, match=words):
        retire(folder, "content", key_id, moment)

    assert len(private_keys(folder, "content")) == 2


def test_a_key_that_a_killed_rotation_left_unused_cannot_be_retired(folder: Path) -> None:
    """It seals as soon as the rotation is ended, and the one before it seals now."""
    public = (folder / "content.public").read_bytes()
    done = rotate(folder, "content")
    (folder / "content.public").write_bytes(public)

    for key_id in (done.old, done.new):
        with pytest.raises(ConfigurationError, match="newest"):
            retire(folder, "content", key_id, time.time() + 2 * GRACE)


def test_a_disk_that_takes_nothing_costs_no_key(folder: Path) -> None:
    """A full disk, or a folder of secrets that is mounted for reading: one line, and the same keys."""
    sealed, before = load_sealing(folder, "content").seal(b"mail"), set(private_keys(folder, "content"))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        with pytest.raises(ConfigurationError, match=r"cannot change the keys.*every key is still there"):
            rotate(folder, "content")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    between = set(private_keys(folder, "content"))
    rotate(folder, "content")

    assert between == before
    assert load_unsealing(folder, "content").unseal(sealed) == b"mail"


def test_no_folder_of_keys_is_said_in_one_line(tmp_path: Path) -> None:
    """The setting that names it is what the operator needs."""
    with pytest.raises(ConfigurationError, match="CLARION_KEY_FOLDER"):
        rotate(tmp_path / "nothing", "content")
