"""Evidence that the canaries flew: a search that finds nothing says nothing where nothing was there to be found."""

from collections.abc import Mapping
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any

from pysequoia import Tsk, decrypt

from serving.pipeline import End, Stage
from tests.torture.canary.letters import Letter

MANY = 200
"""Canaries from which on every stage and every resting place must have seen some."""
ALWAYS = {Stage.ENCRYPTION, Stage.DELIVERY}
RARE = {Stage.REANALYSIS}
"""Works only where the model fails or doubts."""
PLACES = {"parked", "deferred", End.DELIVERED, End.DEAD}


def opened(maildir: Path, secrets: Mapping[str, str]) -> dict[str, str]:
    """What the recipients read: subject and text by the public id of the notification; nothing for what is not sealed
    to the one whom it was delivered to."""
    texts: dict[str, str] = {}
    for path in sorted((maildir / "new").iterdir()):
        mail = message_from_bytes(path.read_bytes(), policy=default)
        secret = secrets.get(str(mail["X-Envelope-To"]))
        if secret is not None and mail.get_content_type() == "multipart/encrypted":
            texts[str(mail["Clarion-Notification"])] = _text(_decrypted(mail, secret))
    return texts


def faults(
    letters: Mapping[int, Letter], found: Mapping[int, Mapping[str, Any] | None], texts: Mapping[str, str]
) -> list[str]:
    """What contradicts that all canaries went through the whole system."""
    answers = [answer for answer in found.values() if answer is not None]
    silent = sum(1 for answer in found.values() if answer is None or not answer["history"])
    stages = {event["stage"] for answer in answers for event in answer["history"]}
    states = {answer["state"] for answer in answers}
    are_many = len(letters) >= MANY
    unseen = ({*Stage} - RARE if are_many else ALWAYS) - stages
    empty = (PLACES if are_many else {End.DELIVERED}) - states
    missing = [number for number, answer in found.items() if not _has_arrived(letters[number], answer, texts)]
    said = [f"{silent} have no history"] * bool(silent)
    said += [f"none passed {stage}" for stage in sorted(unseen)]
    said += [f"none is {state}" for state in sorted(empty)]
    said += [f"{len(missing)} are said to be delivered, and their recipients cannot read them"] * bool(missing)
    return said


def _has_arrived(letter: Letter, answer: Mapping[str, Any] | None, texts: Mapping[str, str]) -> bool:
    """True for what is not said to be delivered, and for what a digest carried."""
    if (
        answer is None
        or answer["state"] != End.DELIVERED
        or any("via" in event["detail"] for event in answer["history"])
    ):
        return True
    text = texts.get(answer["id"], "")
    return letter.subject in text and letter.body in text


def _decrypted(mail: EmailMessage, secret: str) -> bytes:
    """The OpenPGP message is the second part (RFC 3156 section 4)."""
    _, data = mail.iter_parts()
    armour = data.get_content()
    plaintext = decrypt(armour, Tsk.from_bytes(secret.encode()).decryptor()).bytes
    return plaintext or b""


def _text(mail: bytes) -> str:
    message = message_from_bytes(mail, policy=default)
    payloads = (part.get_payload(decode=True) for part in message.walk())
    texts = (payload.decode("utf-8", "replace") for payload in payloads if isinstance(payload, bytes))
    return "\n".join([str(message["Subject"]), *texts])
