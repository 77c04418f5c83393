"""How an event is signed: by the Standard Webhooks specification, under secrets that lie nowhere.

A secret is derived from the lookup key, the sender and a version; to rotate is to count. For a day after that both
sign, so that a receiver can change over without missing anything.
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from standardwebhooks.webhooks import Webhook

from serving.identifiers import format_id
from serving.sealing import LookupKey

OVERLAP = 86_400.0
"""Seconds for which the secret before a rotation signs as well."""


@dataclass(frozen=True, slots=True)
class Event:
    """What a sender is told: the body's octets, and an id that stays the same over all attempts."""

    id: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Signer:
    """A sender's secrets: of that version, and of the one before where it was replaced at `rotated_at`, seconds since
    the epoch."""

    key: LookupKey
    principal: str
    version: int
    rotated_at: float | None = None

    def fields(self, event: Event, now: float) -> dict[str, str]:
        """The header fields of an attempt at `now`."""
        at = datetime.fromtimestamp(int(now), UTC)
        overlaps = self.rotated_at is not None and now < self.rotated_at + OVERLAP
        versions = (self.version, self.version - 1) if overlaps else (self.version,)
        secrets = [secret(self.key, self.principal, version) for version in versions]
        signatures = [Webhook(each).sign(event.id, at, event.body.decode()) for each in secrets]
        return {
            "webhook-id": event.id,
            "webhook-timestamp": str(int(now)),
            "webhook-signature": " ".join(signatures),
        }


def secret(key: LookupKey, principal: str, version: int) -> str:
    """The secret of a sender's webhook, as its receiver needs it: `whsec_…`."""
    return f"whsec_{base64.b64encode(key.derive(f'webhook:{version}:{principal}')).decode()}"


def event_of(claimed: Mapping[str, Any]) -> Event:
    """An event as `claim_webhooks` gives it: what happened to which notification, and nothing of the mail."""
    data = {
        "id": _id(claimed["notification"]),
        "message_id": _id(claimed["message"]),
        "state": claimed["event"],
        "at": _utc(claimed["at"]),
        "reason": claimed["reason"] or None,
        "via": _id(claimed["via"]),
        "replays": _id(claimed["replays"]),
    }
    return made(_id(claimed["id"]) or "", f"notification.{claimed['event']}", claimed["at"], data)


def made(id_: str, kind: str, at: float, data: Mapping[str, Any]) -> Event:
    """The event of that moment, seconds since the epoch; what is None is left out."""
    stated = {name: value for name, value in data.items() if value is not None}
    body = json.dumps({"type": kind, "timestamp": _utc(at), "data": stated}, separators=(",", ":"))
    return Event(f"msg_{id_}", body.encode())


def _utc(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _id(number: str | None) -> str | None:
    return None if number is None else format_id(int(number))
