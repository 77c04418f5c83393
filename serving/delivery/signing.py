"""DKIM for what leaves in our own name (RFC 6376): a receiver can tell our mail from a forgery of it.

Mail of others that travels open by policy has its own signatures, or none; ours would vouch for what we did not write.
"""

from base64 import b64encode
from dataclasses import dataclass, field
from pathlib import Path

import dkim  # type: ignore[import-untyped]
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from serving.addresses import own_domain
from serving.errors import ConfigurationError
from serving.sealing import write_new

FILE = "dkim.private"
KEY_SIZE = 2048
"""Bits of RSA, which every receiver verifies (RFC 8301 section 3.2); Ed25519 (RFC 8463) few do."""

_SIGNED = (b"from", b"to", b"subject", b"date", b"message-id", b"mime-version", b"content-type", b"in-reply-to")
_UNSUBSCRIBING = (b"list-unsubscribe", b"list-unsubscribe-post")
"""What a receiver acts upon only where the signature covers it (RFC 8058 section 4)."""
_ONCE = tuple(name for name in _SIGNED if name != b"in-reply-to")


@dataclass(frozen=True, slots=True)
class DkimKey:
    """A selector's key for the domain of our address, `mail_from`."""

    mail_from: str
    selector: str
    private: bytes = field(repr=False)

    @property
    def domain(self) -> str:
        """The domain that signs, as the DNS has it."""
        return own_domain(self.mail_from)

    def sign(self, mail: bytes) -> bytes:
        """The mail with a DKIM-Signature above it.

        From and the other fields are signed once more than they are there, so that no second one can be added
        (RFC 6376 section 8.15).
        """
        signer = dkim.DKIM(mail)
        header = signer.sign(
            self.selector.encode(),
            self.domain.encode(),
            self.private,
            canonicalize=(b"relaxed", b"relaxed"),
            include_headers=[*_SIGNED, *_ONCE, *_UNSUBSCRIBING, *_UNSUBSCRIBING],
        )
        return bytes(header) + mail

    def record(self) -> tuple[str, str]:
        """The name and the text of the TXT record that publishes the key (RFC 6376 section 3.6.2)."""
        key = load_pem_private_key(self.private, None)
        public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        text = b64encode(public).decode()
        return f"{self.selector}._domainkey.{self.domain}", f"v=DKIM1; k=rsa; p={text}"


def create_dkim_key(folder: Path, mail_from: str, selector: str) -> DkimKey:
    """Write a new key, mode 0600. Raises ConfigurationError where there is one; keys are never overwritten."""
    key = rsa.generate_private_key(65_537, KEY_SIZE)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    try:
        write_new(folder / FILE, private)
    except FileExistsError:
        raise ConfigurationError(f"{folder} holds a DKIM key already; nothing was overwritten") from None
    return DkimKey(mail_from, selector, private)


def load_dkim_key(folder: Path, mail_from: str, selector: str) -> DkimKey | None:
    """The key, None where there is none and so nothing is signed. Raises ConfigurationError where it is damaged."""
    path = folder / FILE
    try:
        private = path.read_bytes()
        if not isinstance(load_pem_private_key(private, None), rsa.RSAPrivateKey):
            raise ValueError("another kind of key")
    except FileNotFoundError:
        return None
    except Exception:  # whatever the parser says about a secret file; nothing of it may reach a log
        raise ConfigurationError(f"key file {path} is damaged or not readable; restore it from a backup") from None
    return DkimKey(mail_from, selector, private)
