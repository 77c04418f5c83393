"""The stage that makes every mail ready to travel: sealed to its recipient, or open where a written policy says so."""

import asyncio
import json
from base64 import b64decode
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

from cryptography import x509
from pysequoia import Tsk

from serving.encryption import sealed, smime
from serving.encryption.bundle import METHODS, choose
from serving.encryption.certificates import Unusable
from serving.encryption.outside import Outside
from serving.encryption.relayed import relay
from serving.encryption.smime_signing import Signer
from serving.envelope import without_envelope
from serving.identifiers import format_id
from serving.mail import split
from serving.pipeline import Enclosed, EnclosedFree, Keyless, KeyMissing
from serving.sealing import SealingKey, UnsealingKey
from serving.stage import Work
from serving.trace import without_forged
from serving.values import Method, OpenByPolicy, Sealed

DIGEST = "digest"
SMALL = 64 << 10
"""Octets of a mail that is made ready sooner than a thread takes over."""


class Reader(Protocol):
    """What encryption asks of the broker."""

    async def query(self, name: str, /, **parameters: Any) -> list[dict[str, Any]]: ...


class Encryption:
    """Makes the one envelope of a notification; `mail_from` is the gateway's own address."""

    def __init__(
        self,
        client: Reader,
        content: UnsealingKey,
        delivery: SealingKey,
        mail_from: str,
        clock: Callable[[], float],
        *,
        signer: Tsk | None = None,
        smime_signer: Signer | None = None,
    ) -> None:
        """Without `smime_signer` nothing is sealed with S/MIME, which proves nothing unless it is signed."""
        self._client = client
        self._content = content
        self._delivery = delivery
        self._mail_from = mail_from
        self._clock = clock
        self._signer = signer
        self._smime_signer = smime_signer

    async def handle(self, work: Work) -> Enclosed | EnclosedFree | Keyless | KeyMissing:
        """Enclosed, EnclosedFree where the facts hold a waiver; Keyless, or KeyMissing where everybody knows already,
        where it must be sealed and cannot be.

        Raises:
            Unsealable: body, address or certificate is sealed for another key or was altered.
        """
        rows = await self._client.query("recipient", lookup=work.recipient.hex())
        recipient = rows[0] if rows else {}
        envelope = await self._open(work, recipient) or await self._sealed(work, recipient)
        if isinstance(envelope, Unusable) and "notice" in work.facts and work.facts.get("open") is True:
            envelope = OpenByPolicy(await self._relayed(work), "notice")
        if isinstance(envelope, Unusable):
            is_known = "told" in work.facts or "notice" in work.facts
            return KeyMissing(envelope.reason) if is_known else Keyless(envelope.reason)
        waiver = work.facts.get("waiver")
        return Enclosed(envelope) if waiver is None else EnclosedFree(envelope, str(waiver))

    async def _open(self, work: Work, recipient: Mapping[str, Any]) -> OpenByPolicy | None:
        """The open mail where a policy allows it. A digest's parents have many senders, so none of theirs counts."""
        if _allows(recipient):
            return OpenByPolicy(await self._relayed(work), "recipient")
        if work.facts.get("waiver") == DIGEST:
            return None
        rows = await self._client.query("sender_policy", principal=work.principal)
        return OpenByPolicy(await self._relayed(work), "sender") if any(map(_allows, rows)) else None

    async def _sealed(self, work: Work, recipient: Mapping[str, Any]) -> Sealed | Unusable:
        if not recipient:
            return Unusable("the recipient is not enrolled")
        if recipient["certificate"] is None:
            return Unusable("the recipient has no certificate")
        wish = recipient.get("policy", {}).get("sealing")
        methods = sorted(METHODS, key=lambda method: method != wish)
        return await asyncio.to_thread(self._enclose, work, bytes.fromhex(recipient["certificate"]), methods)

    async def _relayed(self, work: Work) -> bytes:
        return self._relay(work) if len(work.body) <= SMALL else await asyncio.to_thread(self._relay, work)

    def _relay(self, work: Work) -> bytes:
        outside = self._outside(work)
        mail = relay(self._mail(work, outside), outside)
        relayed = split(mail)
        message_id = relayed.first("message-id").decode(errors="replace") if relayed else outside.message_id
        is_ours = "notice" in work.facts or work.facts.get("waiver") == DIGEST
        return self._envelope(outside.rcpt_to, message_id, mail, is_ours=is_ours)

    def _enclose(self, work: Work, certificates: bytes, methods: Sequence[Method]) -> Sealed | Unusable:
        outside = self._outside(work)
        now = datetime.fromtimestamp(self._clock(), UTC)
        certificate = choose(self._content.unseal(certificates), outside.rcpt_to, now, methods)
        if isinstance(certificate, Unusable):
            return certificate
        raw = self._mail(work, outside)
        if not isinstance(certificate, x509.Certificate):
            mail = sealed.enclose(raw, outside, certificate, self._signer)
            return Sealed(self._envelope(outside.rcpt_to, outside.message_id, mail, is_ours=True), "openpgp")
        if self._smime_signer is None:
            return Unusable("the gateway has no key for S/MIME")
        mail = smime.enclose(raw, outside, certificate, self._smime_signer)
        return Sealed(self._envelope(outside.rcpt_to, outside.message_id, mail, is_ours=True), "smime")

    def _mail(self, work: Work, outside: Outside) -> bytes:
        """The mail as it came, without what the intake noted above it, and without Authentication-Results in our name
        but those that we have written."""
        raw, results = without_envelope(self._content.unseal(work.body)), work.facts.get("results")
        mail = without_forged(raw, outside.domain)
        return self._content.unseal(b64decode(results)) + mail if results else mail

    def _outside(self, work: Work) -> Outside:
        address = self._content.unseal(work.address).decode()
        return Outside(format_id(work.id), self._mail_from, address, datetime.fromtimestamp(work.accepted_at, UTC))

    def _envelope(self, rcpt_to: str, message_id: str, mail: bytes, *, is_ours: bool) -> bytes:
        """`is_ours`: our own name stands in From, and nobody else's words outside."""
        head = {"mail_from": self._mail_from, "rcpt_to": rcpt_to, "message_id": message_id, "is_ours": is_ours}
        return self._delivery.seal(json.dumps(head).encode() + b"\n" + mail)


def _allows(row: Mapping[str, Any]) -> bool:
    return row.get("policy", {}).get("open") is True
