"""axe-core, the judge of accessibility, run inside a page of the browser."""

import hashlib
import shutil
import subprocess
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from playwright.sync_api import Page

VERSION = "4.14.1"
SHA256 = "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c"
FILE = "axe.min.js"


def script(cache: Path) -> str:
    """The judge itself, fetched by npm once and then kept in the folder."""
    kept = cache / f"axe-{VERSION}.min.js"
    if not kept.exists():
        kept.write_bytes(_fetched())
    content = kept.read_bytes()
    assert hashlib.sha256(content).hexdigest() == SHA256, f"{kept} is not axe-core {VERSION}; delete it and try again"
    return content.decode()


def violations(page: Page, script: str) -> list[str]:
    """What axe-core finds wrong with the page as it is shown now: rule, selector and reason of each."""
    page.evaluate(script)
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    assert found["passes"], "axe-core judged nothing"
    return [
        f"{rule['id']} at {node['target']}: {node['failureSummary']}"
        for rule in found["violations"]
        for node in rule["nodes"]
    ]


def _fetched() -> bytes:
    npm = shutil.which("npm")
    if npm is None:
        pytest.fail("no npm, which fetches axe-core; see tests/interop/packages.txt")
    with TemporaryDirectory() as folder:
        command = [npm, "pack", f"axe-core@{VERSION}", "--silent", "--pack-destination", folder]
        packed = subprocess.run(command, capture_output=True, text=True, timeout=100, cwd=folder)
        assert packed.returncode == 0, f"npm cannot fetch axe-core {VERSION}: {packed.stderr}"
        with tarfile.open(Path(folder) / f"axe-core-{VERSION}.tgz") as package:
            member = package.extractfile(f"package/{FILE}")
            assert member is not None
            return member.read()
