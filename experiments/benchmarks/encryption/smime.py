"""S/MIME: ours, `cryptography`'s pkcs7 alone, and two processes of openssl, all with the same RSA-3072 keys."""

import subprocess
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from experiments.benchmarks.encryption.mails import GATEWAY, RECIPIENT
from experiments.benchmarks.encryption.peers import LIBRARY, OURS, OUTSIDE, Peer, Peers, run
from serving.encryption.smime import enclose
from serving.encryption.smime_signing import CERTIFICATE, SECRET, Signer, create_smime_signing_key
from serving.encryption.smime_signing import load_smime_signing_key as load
from serving.errors import ConfigurationError

OPENSSL = "openssl"


def peers(folder: Path) -> Peers:
    """Everybody, with new keys in the folder: the gateway's own, and a recipient's that openssl makes."""
    create_smime_signing_key(folder, GATEWAY, datetime.now(UTC))
    signer = load(folder)
    if signer is None:
        raise ConfigurationError("the S/MIME key that was just made is not there; is the folder writable?")
    _make(folder)
    recipient = x509.load_pem_x509_certificate((folder / "ann.pem").read_bytes())
    text = Peer(lambda mail: enclose(mail, OUTSIDE, recipient, signer), lambda mail: _opened(mail, folder, "SMIME"))
    return {
        OURS: text,
        LIBRARY: Peer(lambda payload: _alone(payload, recipient, signer), lambda der: _opened(der, folder, "DER")),
        OPENSSL: Peer(lambda payload: _piped(payload, folder), text.opened),
    }


def _make(folder: Path) -> None:
    named = ("-subj", "/CN=Ann", "-addext", f"subjectAltName=email:{RECIPIENT}", "-days", "30")
    kind = ("req", "-x509", "-nodes", "-newkey", "rsa:3072")
    run("openssl", *kind, *named, "-keyout", folder / "ann.key", "-out", folder / "ann.pem")


def _alone(payload: bytes, recipient: x509.Certificate, signer: Signer) -> bytes:
    """Signed, then enveloped, and nothing in between: DER in DER."""
    signing = pkcs7.PKCS7SignatureBuilder().set_data(payload)
    signing = signing.add_signer(signer.certificate, signer.key, hashes.SHA256())
    signed = signing.sign(Encoding.DER, [pkcs7.PKCS7Options.Binary, pkcs7.PKCS7Options.NoCapabilities])
    sealing = pkcs7.PKCS7EnvelopeBuilder().set_data(signed).add_recipient(recipient)
    return sealing.set_content_encryption_algorithm(AES256).encrypt(Encoding.DER, [pkcs7.PKCS7Options.Binary])


def _piped(payload: bytes, folder: Path) -> bytes:
    """`openssl cms -sign | openssl cms -encrypt`."""
    sign = ("openssl", "cms", "-sign", "-nodetach", "-binary", "-signer", folder / CERTIFICATE)
    with (
        subprocess.Popen((*sign, "-inkey", folder / SECRET), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as signing,
        subprocess.Popen(
            ("openssl", "cms", "-encrypt", "-aes-256-cbc", folder / "ann.pem"),
            stdin=signing.stdout,
            stdout=subprocess.PIPE,
        ) as sealing,
    ):
        if signing.stdin is None or sealing.stdout is None:
            raise SystemExit("openssl was started without pipes")
        signing.stdin.write(payload)
        signing.stdin.close()
        sealed = sealing.stdout.read()
    if signing.returncode or sealing.returncode:
        raise SystemExit("openssl cms failed")
    return sealed


def _opened(octets: bytes, folder: Path, form: str) -> bytes:
    """What openssl finds under the gateway's signature, once it has decrypted the envelope."""
    person = ("-recip", folder / "ann.pem", "-inkey", folder / "ann.key")
    signed = run("openssl", "cms", "-decrypt", "-inform", form, *person, stdin=octets)
    trusted = ("-CAfile", folder / CERTIFICATE, "-no-CApath", "-no-CAstore")
    return run("openssl", "cms", "-verify", "-binary", "-inform", form, *trusted, stdin=signed)
