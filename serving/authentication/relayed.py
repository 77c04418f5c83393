"""Whether a mail that strangers relayed is of whom its From names: SPF, DKIM, DMARC and ARC, and one verdict.

The domain of From is the one that `sender_domain` finds. It is proven by DMARC, or where it asks for none by a DKIM or
SPF pass for the very same domain. Mail that fails is `failed` only where its domain asks to reject it and both SPF and
DKIM could be looked at. Else, and where it asks for quarantine, the mail stays `unknown`, which keeps it from being
urgent and still delivers it: forwarders and lists break honest mail, and nothing that was accepted may be lost.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import assert_never

from serving.authentication.dns_dmarc import Policy, Request, find_policy, is_aligned
from serving.authentication.mail_arc import Chain, check_arc
from serving.authentication.mail_body import Body
from serving.authentication.mail_dkim import check_dkim
from serving.authentication.mail_finding import Finding, Method, Result
from serving.authentication.mail_results import results_field
from serving.authentication.mail_sender import sender_domain
from serving.authentication.mail_spf import check_spf
from serving.authentication.resolver import Inquiry, Resolver
from serving.errors import Temporary
from serving.mail import Field, split
from serving.pipeline import Authenticated, Forged, Unverified
from serving.sealing import SealingKey
from serving.trace import Trace, stamped
from serving.values import Results

SILENCE = "the DNS does not answer"
PATIENCE = 20.0
"""Seconds for all questions to the DNS (RFC 7208 section 4.6.4); what the processor does beside is bounded by sizes."""

GIVE_UP_AFTER = 3600.0
"""Seconds for which a silent DNS is asked again; then nothing proves the sender, and the mail goes to the digest."""
AT_ONCE, SOON = 4, 2.0
"""Mails that wait for the DNS together, and seconds until another is looked at: fewer than a stage works on, so that a
stranger's slow name servers hold up no sender's own mail."""
LONGEST_FIELD = 400
"""Octets of Authentication-Results that a notification carries along; of a longer one only methods and results."""


class Standing(StrEnum):
    """What is known of the sender."""

    AUTHENTICATED = "authenticated"
    UNKNOWN = "unknown"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was decided and what was found. `is_temporary`: unknown only because the DNS did not answer.

    `reason` names the method (dmarc, dkim, spf, arc) where the sender is authenticated, and else says why not.
    """

    standing: Standing
    reason: str
    findings: tuple[Finding, ...]
    is_temporary: bool = False


async def authenticate(
    raw: bytes,
    trace: Trace,
    resolver: Resolver,
    *,
    now: float,
    trusted_sealers: Collection[str] = (),
    patience: float = PATIENCE,
) -> Verdict:
    """The verdict on a mail as it came; `now` (seconds since the epoch) is when it was accepted.

    A mail that fails DMARC is authenticated where each relay in its ARC chain is one of `trusted_sealers` (canonical
    domains) and the first of them saw DMARC pass.
    """
    inquiry = Inquiry(resolver, asyncio.get_running_loop().time() + patience)
    domain, fields, body = await asyncio.to_thread(_parts, raw)
    sender = domain if isinstance(domain, str) else None
    spf, signatures, chain, policy = await asyncio.gather(
        check_spf(trace, inquiry),
        check_dkim(fields, body, sender, inquiry, now),
        check_arc(fields, body, trusted_sealers, inquiry, now),
        _policy(sender, inquiry),
    )
    if isinstance(domain, Unverified):
        dmarc = Finding(Method.DMARC, Result.PERMERROR, domain.reason)
        return Verdict(Standing.UNKNOWN, domain.reason, (spf, *signatures, dmarc, chain.finding))
    verdict = await _judged(domain, policy, (spf, *signatures), chain, inquiry)
    if verdict.standing is Standing.FAILED and not trace.is_known:
        return replace(
            verdict, standing=Standing.UNKNOWN, reason="SPF might prove it, and how the mail came is not known"
        )
    return verdict


Learn = Callable[[bytes, float], Awaitable[None]]
"""Hears of a mail whose one Autocrypt field its From domain has signed: its octets, and when it was accepted."""


class RelayedMail:
    """The verdict on what a relay handed to us, with what was found for the recipient to read."""

    def __init__(
        self,
        resolver: Resolver,
        sealing: SealingKey,
        *,
        authserv_id: str,
        trusted_sealers: Collection[str] = (),
        clock: Callable[[], float],
        learn: Learn | None = None,
    ) -> None:
        """`authserv_id` is our own domain (RFC 8601 section 2.5); `learn` hears what a mail's sender has announced."""
        self._resolver = resolver
        self._sealing = sealing
        self._authserv_id = authserv_id
        self._trusted_sealers = trusted_sealers
        self._clock = clock
        self._learn = learn
        self._places = asyncio.Semaphore(AT_ONCE)

    async def __call__(self, mail: bytes, accepted_at: float) -> Authenticated | Unverified | Forged:
        """Of a mail with our stamp above it.

        Raises:
            Temporary: the DNS is silent, for `GIVE_UP_AFTER` at most; or `AT_ONCE` others are waiting for it.
        """
        if self._places.locked():
            raise Temporary("other mail waits for the DNS; it is looked at again", retry_after=SOON)
        async with self._places:
            verdict = await authenticate(
                mail, stamped(mail), self._resolver, now=accepted_at, trusted_sealers=self._trusted_sealers
            )
        if self._learn is not None and any(map(_signs_the_announcement, verdict.findings)):
            await self._learn(mail, accepted_at)
        outcome = settled(verdict, is_last=self._clock() - accepted_at > GIVE_UP_AFTER)
        words = " ".join(f"{finding.method}={finding.result}" for finding in verdict.findings)
        field = results_field(verdict.findings, self._authserv_id)
        if len(field) > LONGEST_FIELD:
            field = f"Authentication-Results: {self._authserv_id}; {words.replace(' ', '; ')}\r\n".encode()
        return replace(outcome, results=Results(words, self._sealing.seal(field)))


def _signs_the_announcement(finding: Finding) -> bool:
    """Whether the From domain itself vouches for an Autocrypt field: anybody can put one above what it signed."""
    return finding.result is Result.PASS and finding.is_aligned and b"autocrypt" in finding.signed


def settled(verdict: Verdict, *, is_last: bool = False) -> Authenticated | Unverified | Forged:
    """The verdict as the pipeline knows it.

    Raises:
        Temporary: the DNS did not answer and this is not the `is_last` attempt.
    """
    if verdict.is_temporary and not is_last:
        raise Temporary("the DNS does not answer for the sender; the mail is looked at again")
    match verdict.standing:
        case Standing.AUTHENTICATED:
            return Authenticated(verdict.reason)
        case Standing.UNKNOWN:
            return Unverified(verdict.reason)
        case Standing.FAILED:
            return Forged(verdict.reason)
        case _:
            assert_never(verdict.standing)


def _parts(raw: bytes) -> tuple[str | Unverified, Sequence[Field], Body]:
    """The From domain, the fields and the body; no fields where the header cannot be read: then nothing is signed."""
    mail = split(raw)
    fields, body = (mail.fields, mail.body) if mail else ((), b"")
    return sender_domain(raw), fields, Body(body)


async def _policy(sender: str | None, resolver: Resolver) -> Policy | None:
    """The policy of From; None where the DNS does not answer for it, or there is no From."""
    if sender is None:
        return None
    try:
        return await find_policy(sender, resolver)
    except Temporary:
        return None


async def _judged(
    domain: str, policy: Policy | None, proofs: Sequence[Finding], chain: Chain, resolver: Resolver
) -> Verdict:
    if policy is None:
        dmarc = Finding(Method.DMARC, Result.TEMPERROR, SILENCE, domain)
        return Verdict(Standing.UNKNOWN, SILENCE, (*proofs, dmarc, chain.finding), is_temporary=True)
    compared = [await _compared(proof, policy, resolver) for proof in proofs]
    aligned = [finding for finding in compared if finding.is_aligned]
    passed = [finding.method for finding in aligned if finding.result is Result.PASS]
    dmarc = _dmarc(policy, aligned)
    findings = (*compared, dmarc, chain.finding)
    if passed:
        method = max(passed, key=lambda each: each is Method.DKIM) if policy.request is None else Method.DMARC
        return Verdict(Standing.AUTHENTICATED, method.value, findings)
    if domain in chain.vouched:
        return Verdict(Standing.AUTHENTICATED, Method.ARC.value, findings)
    awaited = [*aligned, chain.finding] if chain.is_trusted else aligned
    if any(finding.result is Result.TEMPERROR for finding in awaited):
        return Verdict(Standing.UNKNOWN, SILENCE, findings, is_temporary=True)
    if any(finding.signed for finding in aligned):  # genuine: to reject it would lose its owner's own mail
        return Verdict(Standing.UNKNOWN, "its signature leaves out what a reader sees", findings)
    if policy.request is Request.REJECT:
        return Verdict(Standing.FAILED, "the From domain asks to reject what it did not send", findings)
    return Verdict(Standing.UNKNOWN, "nothing proves the From domain", findings)


async def _compared(proof: Finding, policy: Policy, resolver: Resolver) -> Finding:
    """The finding with whether its domain is aligned with From; `temperror` where that cannot be told and matters."""
    is_strict = policy.is_spf_strict if proof.method is Method.SPF else policy.is_dkim_strict
    if not proof.domain:
        return proof
    try:
        return replace(proof, is_aligned=await is_aligned(proof.domain, policy, resolver, is_strict=is_strict))
    except Temporary:
        if proof.result not in (Result.PASS, Result.TEMPERROR):
            return proof
        return replace(proof, result=Result.TEMPERROR, reason=SILENCE, is_aligned=True)


def _dmarc(policy: Policy, aligned: Sequence[Finding]) -> Finding:
    """DMARC's finding over the aligned ones (RFC 9989 section 5.3)."""
    if policy.request is None:
        return Finding(Method.DMARC, Result.NONE, "", policy.domain)
    results = {finding.result for finding in aligned}
    first = next((result for result in (Result.PASS, Result.TEMPERROR) if result in results), Result.FAIL)
    return Finding(Method.DMARC, first, f"p={policy.request.name.lower()}", policy.domain)
