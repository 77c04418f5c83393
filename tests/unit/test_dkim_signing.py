"""What leaves in our name is signed, so that nobody can add to it; what others wrote is not."""

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest
from nacl.public import PrivateKey

from serving.authentication.mail_finding import Method, Result
from serving.delivery.routes import Smarthost
from serving.delivery.signing import FILE, DkimKey, create_dkim_key, load_dkim_key
from serving.delivery.stage import Delivery
from serving.errors import ConfigurationError
from serving.pipeline import Sent
from serving.sealing import UnsealingKey
from serving.trace import Trace
from serving.values import Receipt
from tests.unit import works
from tests.unit.zones import judge, result

GATE = "clarion@gate.example"
MAIL = (
    b"From: Clarion <clarion@gate.example>\r\nTo: ann@home.example\r\nSubject: [...]\r\n"
    b"Date: Wed, 25 Nov 2026 15:00:00 +0000\r\nMessage-ID: <7@gate.example>\r\nMIME-Version: 1.0\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\n\r\nGr\xc3\xbc\xc3\x9fe.  \r\n.\r\n\r\n"
)


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> DkimKey:
    return create_dkim_key(tmp_path_factory.mktemp("keys"), GATE, "s1")


async def verdict(key: DkimKey, mail: bytes) -> Result:
    name, text = key.record()
    return result(await judge(mail, Trace(), {name: {"TXT": [text]}}), Method.DKIM)


async def test_a_signed_mail_verifies_and_is_otherwise_unchanged(key: DkimKey) -> None:
    """By our own judge of others' mail; tests/interop asks a foreign one."""
    signed = key.sign(MAIL)

    assert signed.endswith(MAIL)
    assert signed.startswith(b"DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=gate.example;")
    assert await verdict(key, signed) is Result.PASS


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"Subject: [...]", b"Subject: Pay here"),
        (b"Subject: [...]\r\n", b"Subject: Pay here\r\nSubject: [...]\r\n"),
        (b"From: Clarion", b"From: Bank <b@bank.example>\r\nFrom: Clarion"),
        (b"To: ann@home.example", b"To: eve@home.example"),
        (b"\xc3\xbc", b"\xc3\xa4"),
        (b"\r\n.\r\n\r\n", b"\r\n.\r\nPS: pay here\r\n"),
        (b"Content-Type: text/plain", b"Content-Type: text/html"),
    ],
)
async def test_whatever_is_changed_or_added_shows(key: DkimKey, old: bytes, new: bytes) -> None:
    """A second Subject above the signed one is the one that a reader sees."""
    signed = key.sign(MAIL)
    altered = signed.replace(old, new, 1) if old not in signed.partition(MAIL)[0] else signed
    assert altered != signed

    assert await verdict(key, altered) is not Result.PASS


@pytest.mark.parametrize(("is_ours", "signed"), [(True, True), (False, False), (None, False)])
async def test_only_our_own_mail_is_signed(
    key: DkimKey, monkeypatch: pytest.MonkeyPatch, is_ours: bool | None, signed: bool
) -> None:
    """A forger's mail in our name, relayed open to whom wants that, must not get our signature by its From."""
    sent: list[bytes] = []

    async def send(_: Any, parcel: Any, **__: Any) -> Receipt:
        sent.append(parcel.mail)
        return Receipt(250, "2.0.0 ok", "<7@gate.example>")

    monkeypatch.setattr("serving.delivery.stage.send", send)
    unsealing = UnsealingKey(bytes(PrivateKey.generate()))
    delivery = Delivery(
        unsealing, Smarthost("127.0.0.1", 9, "gate.example"), expiry=9.0, random=Random(1), dkim=key  # noqa: S311
    )  # fmt: skip
    head: dict[str, Any] = {"mail_from": GATE, "rcpt_to": "ann@home.example", "message_id": "<7@gate.example>"}
    head |= {} if is_ours is None else {"is_ours": is_ours}
    outcome = await delivery.handle(
        works.work(body=unsealing.sealing_key.seal(json.dumps(head).encode() + b"\n" + MAIL))
    )

    assert isinstance(outcome, Sent)
    assert (sent[0] != MAIL) is signed


def test_a_key_is_made_once_and_kept(tmp_path: Path) -> None:
    """A second one would make every signature fail until the DNS has forgotten the first."""
    assert load_dkim_key(tmp_path, GATE, "s1") is None
    made = create_dkim_key(tmp_path, GATE, "s1")

    assert load_dkim_key(tmp_path, GATE, "s1") == made
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600
    assert made.record()[0] == "s1._domainkey.gate.example"
    with pytest.raises(ConfigurationError, match="nothing was overwritten"):
        create_dkim_key(tmp_path, GATE, "s1")
    (tmp_path / FILE).write_bytes(b"damaged")
    with pytest.raises(ConfigurationError, match="restore it from a backup"):
        load_dkim_key(tmp_path, GATE, "s1")
