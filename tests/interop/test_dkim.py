"""Our DKIM verifies in a foreign verifier (Perl's Mail::DKIM, as SpamAssassin uses it), and theirs in ours."""

import socket
import subprocess
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import dns.flags
import dns.message
import dns.rrset
import pytest

from serving.authentication.mail_finding import Method, Result
from serving.delivery.signing import FILE, DkimKey, create_dkim_key
from serving.trace import Trace
from tests.unit.test_dkim_signing import GATE, MAIL
from tests.unit.test_smime import SHAPES, shape
from tests.unit.zones import judge, result

PROGRAM = Path(__file__).parent / "dkim.pl"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keys")


@pytest.fixture(scope="module")
def key(folder: Path) -> DkimKey:
    return create_dkim_key(folder, GATE, "s1")


@pytest.fixture(scope="module")
def port(key: DkimKey) -> Iterator[int]:
    """A name server for the one record, over UDP, on a free port."""
    name, text = key.record()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=_serve, args=(server, {name: text}), daemon=True)
        thread.start()
        place: tuple[str, int] = server.getsockname()
        yield place[1]
        server.sendto(b"", place)
        thread.join(5)


def _serve(server: socket.socket, records: Mapping[str, str]) -> None:
    """Until an empty datagram comes."""
    while True:
        octets, client = server.recvfrom(4096)
        if not octets:
            return
        query = dns.message.from_wire(octets)
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.AA | dns.flags.RA
        name = query.question[0].name
        text = records.get(name.to_text(omit_final_dot=True))
        if text is not None:
            strings = " ".join(f'"{text[start : start + 255]}"' for start in range(0, len(text), 255))
            answer.answer.append(dns.rrset.from_text(name, 60, "IN", "TXT", strings))
        server.sendto(answer.to_wire(max_size=4096), client)


def perl(mail: bytes, *arguments: str) -> str:
    ended = subprocess.run(["perl", str(PROGRAM), *arguments], input=mail, capture_output=True, timeout=30, check=True)
    return ended.stdout.decode().strip()


def ours(name: str) -> bytes:
    """A mail of each shape in our own name."""
    return MAIL if name == "utf-8" else b"From: Clarion <clarion@gate.example>\r\n" + shape(name).partition(b"\r\n")[2]


@pytest.mark.parametrize("name", [*SHAPES, "utf-8"])
def test_a_foreign_verifier_takes_our_signature_and_sees_every_change(key: DkimKey, port: int, name: str) -> None:
    """Otherwise our mail would be treated as a forgery of itself."""
    signed = key.sign(ours(name))

    assert perl(signed, "verify", str(port)) == "pass"
    assert perl(signed.replace(b"Subject:", b"Subject: Pay!", 1), "verify", str(port)).startswith("fail")
    assert perl(signed.replace(b"\r\n\r\n", b"\r\n\r\nPS\r\n", 1), "verify", str(port)).startswith("fail")


@pytest.mark.parametrize("name", [*SHAPES, "utf-8"])
async def test_we_take_a_foreign_signature_and_see_every_change(key: DkimKey, folder: Path, name: str) -> None:
    """What a relay hands on is proven by such signatures alone."""
    mail = ours(name)
    signed = perl(mail, "sign", "gate.example", "s1", str(folder / FILE)).encode() + b"\r\n" + mail
    record, text = key.record()
    zone = {record: {"TXT": [text]}}

    assert result(await judge(signed, Trace(), zone), Method.DKIM) is Result.PASS
    altered = signed.replace(b"\r\n\r\n", b"\r\n\r\nPS\r\n", 1)
    assert result(await judge(altered, Trace(), zone), Method.DKIM) is Result.FAIL
