"""Several keys of a purpose: the newest seals, all open, and changes of the folder need no restart."""

import os
import threading
from pathlib import Path

import pytest

from serving.errors import ConfigurationError, KeyNotHeld, Temporary, Unsealable
from serving.keyring import Keyring, check_keys, load_sealing, load_unsealing, private_keys
from serving.rotation import rotate
from serving.sealing import OVERHEAD, UnsealingKey, create_keys

STRANGER = UnsealingKey(b"\x77" * 32)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    create_keys(tmp_path / "keys")
    return tmp_path / "keys"


def test_whatever_was_sealed_before_a_rotation_opens_after_it(folder: Path) -> None:
    """A rotation that loses the backlog loses mail."""
    sealing, blobs = load_sealing(folder, "content"), []
    for number in range(4):
        blobs.append(sealing.seal(b"%d" % number))
        rotate(folder, "content")
    opened = [load_unsealing(folder, "content").unseal(blob) for blob in blobs]

    assert opened == [b"0", b"1", b"2", b"3"]
    assert len({blob[:4] for blob in blobs}) == 4
    check_keys(folder)


def test_a_process_that_runs_seals_under_the_new_key_at_once(folder: Path) -> None:
    """The gateway holds its key for weeks; the old one could never be let go of otherwise."""
    sealing, keyring = load_sealing(folder, "content"), load_unsealing(folder, "content")
    before = (sealing.id, keyring.sealing_key.id)
    new = rotate(folder, "content").new

    assert before != (new, new)
    assert (sealing.seal(b"")[:4], sealing.id, keyring.sealing_key.id) == (new, new, new)


def test_a_stage_that_meets_an_unknown_key_looks_into_the_folder_once_more(folder: Path) -> None:
    """It started before the rotation; mail that comes after it is no failure."""
    keyring = load_unsealing(folder, "delivery")
    rotate(folder, "delivery")
    sealed = load_sealing(folder, "delivery").seal(b"envelope")

    assert keyring.unseal(sealed) == b"envelope"


def test_a_key_that_is_not_there_is_waited_for_and_named(folder: Path) -> None:
    """Eight failures would end the mail; a key file that an operator restores brings it back."""
    keyring = Keyring(folder, "content")
    with pytest.raises(KeyNotHeld, match=f"no content key {STRANGER.sealing_key.id.hex()} .*restore") as missing:
        keyring.unseal(STRANGER.sealing_key.seal(b"mail"))

    assert isinstance(missing.value, Temporary)
    assert isinstance(missing.value, Unsealable)
    assert (missing.value.is_outage, missing.value.retry_after) == (True, 60.0)


@pytest.mark.parametrize("keep", [0, 3, 4, OVERHEAD - 1, OVERHEAD])
def test_what_is_cut_short_under_a_known_key_is_not_waited_for(folder: Path, keep: int) -> None:
    """No key will ever open it, and a forgotten body is empty."""
    keyring = Keyring(folder, "content")
    with pytest.raises(Unsealable) as refusal:
        keyring.unseal(keyring.sealing_key.seal(b"mail")[:keep])

    assert not isinstance(refusal.value, Temporary)


@pytest.mark.parametrize("damage", [b"", b"\xff", None])
def test_a_public_file_that_goes_bad_while_a_process_runs_stops_nobody(folder: Path, damage: bytes | None) -> None:
    """What is sealed under the key that is held opens: its private half is kept. A start would refuse it."""
    sealing, path = load_sealing(folder, "content"), folder / "content.public"
    path.unlink()
    if damage is not None:
        path.write_bytes(damage)

    assert load_unsealing(folder, "content").unseal(sealing.seal(b"mail")) == b"mail"
    with pytest.raises(ConfigurationError, match=r"content\.public"):
        check_keys(folder)


def test_a_kept_key_under_another_ones_name_is_refused(folder: Path) -> None:
    """A copy that was mixed up would be retired in the wrong one's place."""
    old = rotate(folder, "content").old
    path = folder / f"content.{old.hex()}.private"
    path.rename(folder / "content.00000000.private")

    with pytest.raises(ConfigurationError, match="holds another key"):
        private_keys(folder, "content")


@pytest.mark.parametrize("damage", [b"", b"\xff", b"clarion-1 content.private AAAA\n"])
def test_a_damaged_old_key_is_named_before_anything_starts(folder: Path, damage: bytes) -> None:
    """Found out later, it is mail that waits for a key which seems to be there."""
    path = folder / f"content.{rotate(folder, 'content').old.hex()}.private"
    path.write_bytes(damage)

    with pytest.raises(ConfigurationError, match=rf"{path.name} .*restore it from a backup"):
        check_keys(folder)


def test_nothing_is_sealed_half_under_one_key_and_half_under_another(folder: Path) -> None:
    """Many threads seal while the file changes: an id that does not fit its ciphertext opens nowhere."""
    sealing, sealed, stop = load_sealing(folder, "content"), [], threading.Event()

    def seal() -> None:
        while not stop.is_set():
            sealed.append(sealing.seal(b"mail"))

    threads = [threading.Thread(target=seal) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(20):
        rotate(folder, "content")
    stop.set()
    for thread in threads:
        thread.join()
    keyring = load_unsealing(folder, "content")

    assert {keyring.unseal(blob) for blob in sealed} == {b"mail"}
    assert len({blob[:4] for blob in sealed}) > 1


def test_whoever_could_read_a_key_can_read_the_new_one(folder: Path) -> None:
    """Root rotates; the stages run under another user."""
    path, owner = folder / "content.public", (4242, 4243) if os.getuid() == 0 else (os.getuid(), os.getgid())
    os.chown(path, *owner)
    path.chmod(0o640)
    rotate(folder, "content")
    found = path.stat()

    assert (found.st_uid, found.st_gid, found.st_mode & 0o777) == (*owner, 0o640)
