"""The canary, small: nothing at rest is plaintext, and the search is not blind."""

import base64
import json
import os
import quopri
import subprocess
import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import pytest

from tests.torture.canary.cast import PEOPLE
from tests.torture.canary.letters import Letter
from tests.torture.canary.places import Found, search_unlinked
from tests.torture.canary.proof import faults
from tests.torture.canary.search import BLOCK, Hit, Search
from tests.torture.canary.tokens import Tokens

ROOT = Path(__file__).parents[2]


def run(report: Path, *options: str) -> tuple[int, str, dict[str, Any]]:
    """The exit status, the last line and the report of a run with few canaries."""
    command = [sys.executable, "-m", "tests.torture.canary", "--n", "20", "--every", "3", "--report", str(report)]
    done = subprocess.run([*command, *options], cwd=ROOT, capture_output=True, text=True, timeout=580, check=False)
    assert report.exists(), done.stderr[-2000:]
    return done.returncode, done.stdout.splitlines()[-1], json.loads(report.read_text())


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_no_canary_lies_in_any_file_after_a_crash_and_after_the_end(tmp_path: Path) -> None:
    """The fourth promise, judged from outside; and no process could have written its memory down."""
    status, last, report = run(tmp_path / "report.json")

    assert (status, report["hits"], report["faults"]) == (0, [], [])
    assert last == f"canaries 20, files {report['files']}, hits 0"
    assert report["read"] > 0
    assert report["files"] > 50


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_canary_that_was_written_on_purpose_is_found_and_named(tmp_path: Path) -> None:
    """The test of the test: in the store, in a log and in a temporary file that an orderly stop would have removed."""
    status, last, report = run(tmp_path / "report.json", "--leak", "store", "--leak", "log", "--leak", "scratch")
    found = {hit["owner"]: Path(hit["file"]).name for hit in report["hits"]}

    assert status == 1
    assert last == f"canaries 20, files {report['files']}, hits {len(report['hits'])}"
    assert found.pop("leak into the store").startswith("clarion.sqlite3")
    assert found == {"leak into the log": "gateway.log", "leak into the scratch": "upload"}


def test_what_cannot_run_says_so(tmp_path: Path) -> None:
    """A run that never was must not look like one that found nothing."""
    command = [sys.executable, "-m", "tests.torture.canary", "--keep", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)

    assert (done.returncode, done.stdout) == (2, "")
    assert "name a new folder" in done.stderr


def hits_in(tokens: Tokens, octets: bytes) -> list[Hit]:
    """What a search finds in a file of these octets."""
    return Search(tokens).stream(BytesIO(octets), "file", lambda _: None)


WRITTEN: dict[str, Callable[[bytes], bytes]] = {
    "as it is": bytes,
    "in upper case": bytes.upper,
    "quoted-printable, folded": lambda text: quopri.encodestring(b"=" * 20 + text),
    "base64, 0 octets in": base64.b64encode,
    "base64, 1 octet in": lambda text: base64.b64encode(b"." + text),
    "base64, 2 octets in": lambda text: base64.b64encode(b".." + text),
    "base64 in lines": lambda text: base64.encodebytes(b"." * 40 + text),
    "base64 of UTF-16": lambda text: base64.b64encode(text.decode().encode("utf-16")),
    "UTF-16, little endian": lambda text: text.decode().encode("utf-16-le"),
    "UTF-16, big endian": lambda text: text.decode().encode("utf-16-be"),
    "hexadecimal": lambda text: text.hex().encode(),
    "the octets themselves": lambda text: bytes.fromhex(text.decode()),
    "percent-encoded": lambda text: b"".join(b"%%%02x" % octet for octet in text),
}


@pytest.mark.parametrize("write", WRITTEN.values(), ids=WRITTEN.keys())
@pytest.mark.parametrize("before", [0, 1, BLOCK - 30], ids=["at the beginning", "later", "across two blocks"])
def test_a_token_is_found_in_every_form_wherever_it_lies(write: Callable[[bytes], bytes], before: int) -> None:
    """A search that knows only plain text misses what a library has encoded before it wrote it down."""
    tokens = Tokens()
    tokens.new("another")
    token = tokens.new("mine").encode()

    hits = hits_in(tokens, os.urandom(before) + write(token) + os.urandom(100))

    assert {hit.owner for hit in hits} == {"mine"}
    assert abs(hits[0].offset - before) < 100


def test_a_token_that_was_cut_off_is_found_too() -> None:
    """Whoever keeps the first hundred characters keeps plaintext all the same."""
    tokens = Tokens()
    token = tokens.new("mine")

    assert [hit.owner for hit in hits_in(tokens, token[:30].encode())] == ["a token that was cut off"]
    assert hits_in(tokens, os.urandom(1 << 20)) == []


def test_a_file_without_a_name_is_searched_while_it_is_open() -> None:
    """A multipart parser spools to files that no walk through folders ever sees."""
    tokens, found = Tokens(), Found()
    with TemporaryFile() as spooled:
        spooled.write(tokens.new("spooled").encode())
        spooled.flush()
        search_unlinked({os.getpid(): "me"}, Search(tokens), found)

    assert [hit.owner for hit in found.hits.values()] == ["spooled"]


def letter(number: int) -> Letter:
    """A letter that was sent."""
    return Letter(number, PEOPLE[0], "", b"", f"subject {number}", f"body {number}")


def answer(number: int, state: str = "delivered", *stages: str) -> dict[str, Any]:
    """What the API says of it."""
    history = [{"stage": stage, "detail": {}} for stage in stages or ("encryption", "delivery")]
    return {"id": f"id{number}", "state": state, "history": history}


def test_canaries_that_did_not_fly_are_told() -> None:
    """Nothing found where nothing was sent proves nothing."""
    letters = {0: letter(0), 1: letter(1)}
    read = {"id0": "subject 0 body 0", "id1": "subject 1 body 1"}

    assert faults(letters, {0: answer(0), 1: answer(1)}, read) == []
    assert faults(letters, {0: answer(0), 1: None}, read) == ["1 have no history"]
    assert "none passed delivery" in faults(letters, {0: answer(0, "parked", "encryption")}, read)
    assert "none is delivered" in faults(letters, {0: answer(0, "parked")}, read)
    assert faults(letters, {0: answer(0)}, {"id0": "subject 0"}) == [
        "1 are said to be delivered, and their recipients cannot read them"
    ]
