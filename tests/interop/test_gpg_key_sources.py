"""GnuPG says where its keys would be published, until when they last, and exports what a mail would announce."""

import base64

from pysequoia import Cert

from serving.encryption.autocrypt import learned
from serving.encryption.bundle import blocks
from serving.encryption.certificates import read_certificate
from serving.encryption.expiry import usable_until
from serving.encryption.wkd import hashed_local_part
from tests.interop.test_gpg_certificates import ADDRESS, NOW, Keyring, keyring

__all__ = ["keyring"]


def test_gpg_publishes_a_key_where_we_look_for_it(keyring: Keyring) -> None:
    """The draft's first implementation, and a local part of every kind of character."""
    for local in ("ann", "Joe.Doe", "ann+alerts", "änn"):
        keyring.run(
            "--batch", "--quick-generate-key", f"Ann <{local}@home.example>", "future-default", "default", "never"
        )
    listed = keyring.run("--batch", "--with-wkd-hash", "--list-keys").decode()

    for local in ("ann", "Joe.Doe", "ann+alerts", "änn"):
        assert f"{hashed_local_part(local)}@home.example" in listed


def test_a_certificate_lasts_as_long_as_gpg_says(keyring: Keyring) -> None:
    """Two encryption keys, of which the later one ends before the certificate does."""
    fingerprint = keyring.generate("ed25519", usage="sign", expires="3y")
    for algorithm, expires in (("cv25519", "1y"), ("cv25519", "2y")):
        keyring.run("--batch", "--quick-add-key", fingerprint, algorithm, "encr", expires)
    listed = keyring.run("--batch", "--with-colons", "--list-keys").decode().splitlines()
    ends = [int(line.split(":")[6]) for line in listed if line.startswith("sub:")]
    certificate = read_certificate(keyring.certificate(), ADDRESS, NOW)

    assert isinstance(certificate, Cert)
    until = usable_until(certificate)
    assert until is not None
    assert len(ends) == 2
    assert until.timestamp() == max(ends)


def test_what_gpg_exports_for_autocrypt_is_learned(keyring: Keyring) -> None:
    """Mail programs announce such minimal exports."""
    keyring.generate("future-default")
    key = keyring.run("--batch", "--export-options", "export-minimal,no-export-attributes", "--export", ADDRESS)
    text = learned("", b"addr=" + ADDRESS.encode() + b"; keydata=" + base64.b64encode(key), ADDRESS, NOW)

    assert text is not None
    (block,) = blocks(text.encode())
    assert isinstance(block.read(ADDRESS, NOW), Cert)
    assert keyring.fingerprints()[0].lower() == Cert.from_bytes(block.octets).fingerprint
