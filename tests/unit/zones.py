"""A DNS that is a dictionary, mail signed by dkimpy, and a verdict on it: for the tests of relayed mail."""

import asyncio
import base64
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import dkim  # type: ignore[import-untyped]
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from serving.authentication.mail_finding import Method, Result
from serving.authentication.relayed import Verdict, authenticate
from serving.authentication.resolver import RecordKind
from serving.errors import Temporary
from serving.trace import Trace

NOW = 1_800_000_000.0
MAIL = b"""\
From: Ops <ops@example.com>
To: ann@home.example
Subject: Disk full
Date: Fri, 15 Jan 2027 08:00:00 +0000
Message-ID: <1@example.com>

The disk of db1 is full.

Ops
""".replace(b"\n", b"\r\n")


Names = Mapping[str, Mapping[str, Collection[str]]]


@dataclass
class Zones:
    """Answers from `names`; `failing` names answer SERVFAIL, `silent` ones never do; `asked` is what was asked."""

    names: Names
    failing: Collection[str] = ()
    silent: Collection[str] = ()
    asked: list[tuple[str, RecordKind]] = field(default_factory=list)

    async def records(self, name: str, kind: RecordKind, /) -> tuple[str, ...]:
        self.asked.append((name, kind))
        if name in self.silent:
            await asyncio.Event().wait()
        if name in self.failing:
            raise Temporary("the DNS does not answer")
        return tuple(self.names.get(name, {}).get(kind.value, ()))


@dataclass(frozen=True)
class Signer:
    """A domain's key pair: the private key as dkimpy takes it, and the record that publishes the other."""

    algorithm: bytes
    private: bytes
    record: str

    def sign(self, mail: bytes, domain: str, *, selector: str = "s1", length: bool = False, **options: object) -> bytes:
        """The mail with a DKIM-Signature on top."""
        signer = dkim.DKIM(mail, signature_algorithm=self.algorithm)
        options.setdefault("canonicalize", (b"relaxed", b"relaxed"))
        header = signer.sign(selector.encode(), domain.encode(), self.private, length=length, **options)
        return bytes(header) + mail

    def seal(self, mail: bytes, domain: str, *, selector: str = "s1") -> bytes:
        """The mail with the ARC set of a relay, whose results are those of its Authentication-Results field."""
        fields = dkim.arc_sign(mail, selector.encode(), domain.encode(), self.private, domain.encode())
        return b"".join(fields) + mail

    def key(self, domain: str, selector: str = "s1") -> dict[str, dict[str, list[str]]]:
        """The zone that publishes the key."""
        return {f"{selector}._domainkey.{domain}": {"TXT": [self.record]}}


def rsa_signer(bits: int = 2048) -> Signer:
    """A new RSA key pair."""
    key = rsa.generate_private_key(65_537, bits)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return Signer(b"rsa-sha256", private, f"v=DKIM1; k=rsa; p={base64.b64encode(public).decode()}")


def ed25519_signer() -> Signer:
    """A new Ed25519 key pair (RFC 8463)."""
    key = Ed25519PrivateKey.generate()
    public = base64.b64encode(key.public_key().public_bytes_raw()).decode()
    return Signer(b"ed25519-sha256", base64.b64encode(key.private_bytes_raw()), f"v=DKIM1; k=ed25519; p={public}")


RSA, ED25519 = rsa_signer(), ed25519_signer()


CLIENT = "192.0.2.1"
ALL_KEYS: Names = {
    name: {"TXT": [RSA.record]}
    for domain in ("example.com", "child.example.com", "example.net", "deep.child.example.com", "bank.co.example")
    for name in (f"s1._domainkey.{domain}",)
}
ALL_SPF: Names = {
    domain: {"TXT": [f"v=spf1 ip4:{CLIENT} -all"], "A": ["192.0.2.80"]}
    for domain in ("example.com", "child.example.com", "example.net")
}
REJECT: Names = {"_dmarc.example.com": {"TXT": ["v=DMARC1; p=reject"]}}
RELAY = "relay.example"


def mail_from(domain: str) -> bytes:
    """MAIL with another From domain."""
    return MAIL.replace(b"ops@example.com", f"ops@{domain}".encode())


def trace(domain: str = "example.net", client: str = CLIENT) -> Trace:
    """How a mail came: allowed by SPF for MAIL FROM's domain where that is one of ALL_SPF."""
    return Trace(client, "mx.example.net", f"bounce@{domain}")


async def judge(raw: bytes, came: Trace, *names: Names, failing: Collection[str] = (), **options: float) -> Verdict:
    """The verdict where every domain above has a key and an SPF record, and `names` are there too."""
    zones = Zones({name: zone for each in (ALL_KEYS, ALL_SPF, *names) for name, zone in each.items()}, failing=failing)
    return await authenticate(raw, came, zones, now=NOW, trusted_sealers=[RELAY], **options)


def result(verdict: Verdict, method: Method) -> Result:
    """The first result of that method."""
    return next(finding.result for finding in verdict.findings if finding.method is method)
