"""What is sealed opens only whole and only for its key; key files are never overwritten."""

import stat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.errors import ConfigurationError, Unsealable
from serving.keyring import load_sealing, load_unsealing
from serving.sealing import (
    ID_SIZE,
    OVERHEAD,
    LookupKey,
    UnsealingKey,
    create_keys,
    have_keys,
    load_lookup,
    write_new,
)

UNSEALING = UnsealingKey(b"\x11" * 32)
OTHER = UnsealingKey(b"\x22" * 32)
LOOKUP = LookupKey(b"\x33" * 32)


@settings(deadline=None)
@given(st.binary(max_size=4096))
def test_whatever_is_sealed_unseals_to_the_same_octets(plaintext: bytes) -> None:
    """A body that changes at rest is a lost mail."""
    sealed = UNSEALING.sealing_key.seal(plaintext)

    assert UNSEALING.unseal(sealed) == plaintext
    assert len(sealed) == len(plaintext) + OVERHEAD


@settings(max_examples=300, deadline=None)
@given(st.binary(min_size=1, max_size=200), st.data())
def test_one_altered_bit_anywhere_never_opens(plaintext: bytes, data: st.DataObject) -> None:
    """Ciphertext that opens after tampering lets the store's keeper write mail."""
    sealed = bytearray(UNSEALING.sealing_key.seal(plaintext))
    bit = data.draw(st.integers(0, len(sealed) * 8 - 1))
    sealed[bit // 8] ^= 1 << bit % 8

    with pytest.raises(Unsealable):
        UNSEALING.unseal(bytes(sealed))


@settings(deadline=None)
@given(st.binary(max_size=100), st.integers(0, 150))
def test_a_blob_cut_short_never_opens(plaintext: bytes, keep: int) -> None:
    """A torn write must be noticed, not read as a shorter mail."""
    sealed = UNSEALING.sealing_key.seal(plaintext)

    with pytest.raises(Unsealable):
        UNSEALING.unseal(sealed[: min(keep, len(sealed) - 1)])


def test_another_key_is_told_apart_from_damage() -> None:
    """After a rotation the operator must learn which key is missing, not that the data is broken."""
    sealed = OTHER.sealing_key.seal(b"to the other")

    with pytest.raises(Unsealable, match=f"this process holds {UNSEALING.sealing_key.id.hex()}"):
        UNSEALING.unseal(sealed)
    with pytest.raises(Unsealable, match="altered"):
        UNSEALING.unseal(UNSEALING.sealing_key.id + sealed[ID_SIZE:])


def test_sealing_twice_gives_different_octets_and_hides_the_text() -> None:
    """Equal blobs would tell the store's keeper that two mails are equal."""
    seal = UNSEALING.sealing_key.seal

    assert seal(b"disk full") != seal(b"disk full")
    assert b"disk full" not in seal(b"disk full")


@pytest.mark.parametrize(
    "spelling", [" Ann@Example.ORG ", "ann@example.org.", "ann@EXAMPLE.org"], ids=["spaces", "trailing dot", "case"]
)
def test_every_spelling_of_one_address_looks_up_the_same_row(spelling: str) -> None:
    """A recipient enrolled in one spelling and written to in another would seem unknown."""
    assert LOOKUP.address(spelling) == LOOKUP.address("ann@example.org")


def test_unicode_and_punycode_domains_look_up_the_same_row() -> None:
    """Mail programs write either form of one domain."""
    assert LOOKUP.address("ann@bücher.example") == LOOKUP.address("ann@xn--bcher-kva.example")


@settings(deadline=None)
@given(st.text(max_size=80))
def test_a_counter_and_an_address_never_share_a_digest(text: str) -> None:
    """Shared digests would let a history row be read as a recipient's."""
    digests = {LOOKUP.address(text), LOOKUP.counter(text), LookupKey(b"\x44" * 32).address(text)}

    assert len(digests) == 3
    assert all(len(digest) == 32 for digest in digests)


def test_created_keys_open_what_their_public_half_sealed(tmp_path: Path) -> None:
    """The gateway holds only the public file; the stages must be able to read what it wrote."""
    folder = tmp_path / "home" / "keys"
    create_keys(folder)
    sealed = load_sealing(folder, "content").seal(b"body")

    assert load_unsealing(folder, "content").unseal(sealed) == b"body"
    assert len(load_lookup(folder).address("a@b.example")) == 32
    with pytest.raises(Unsealable):
        load_unsealing(folder, "delivery").unseal(sealed)


def test_key_files_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    """A key that other users can read seals nothing."""
    create_keys(tmp_path / "keys")
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "keys").iterdir()}

    assert set(modes.values()) == {0o600}
    assert set(modes) == {"content.public", "content.private", "delivery.public", "delivery.private", "lookup.key"}
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700


def test_keys_are_never_overwritten(tmp_path: Path) -> None:
    """Overwriting the content key loses every mail at rest."""
    folder = tmp_path / "keys"
    create_keys(folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    with pytest.raises(ConfigurationError, match="nothing was overwritten"):
        create_keys(folder)
    with pytest.raises(FileExistsError):
        write_new(folder / "lookup.key", b"new")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["keys"]


def test_a_missing_key_file_names_itself_and_the_way_out(tmp_path: Path) -> None:
    """Whoever starts a stage without keys must read in one line what to do."""
    with pytest.raises(ConfigurationError, match=r"content\.private; restore it .* run `clarion keys create`"):
        load_unsealing(tmp_path, "content")
    assert not have_keys(tmp_path)


def test_a_private_key_in_the_place_of_a_public_one_is_refused(tmp_path: Path) -> None:
    """A mixed-up copy would seal mail for a key that nobody holds."""
    folder = tmp_path / "keys"
    create_keys(folder)
    (folder / "content.public").write_bytes((folder / "content.private").read_bytes())

    with pytest.raises(ConfigurationError, match="another key"):
        load_sealing(folder, "content")


def test_a_damaged_key_file_is_no_traceback(tmp_path: Path) -> None:
    """The one line that names the file is what the operator needs."""
    folder = tmp_path / "keys"
    create_keys(folder)
    (folder / "lookup.key").write_bytes(b"\xff\xfe")

    with pytest.raises(ConfigurationError, match="damaged"):
        load_lookup(folder)
