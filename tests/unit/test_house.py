"""What a reader of the repository may rely on, checked on the tree itself."""

import json
import os
import re
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest

from serving.diagram import drawn
from serving.pipeline import Stage

ROOT = Path(__file__).parents[2]
PACKAGES = ("data", "training", "serving")
LONGEST_FILE = 350
LONGER = {"serving/pipeline.py": 450}
"""DESIGN wants the whole sentence in one file: stages, outcomes and the table."""
UNFINISHED = re.compile("|".join(rf"\b{a}{b}\b" for a, b in (("TO", "DO"), ("FIX", "ME"), ("XX", "X"))))
TRAINING_LIBRARIES = ("torch", "transformers")
PROCESSES = ("serving.classification", "serving.intake.__main__", "serving.queue.broker", "serving.service")
MACHINE_PATH = re.compile(r"(?<![\w.-])/(?:root|work|home/\w+|Users)/\w")


@cache
def tracked() -> tuple[Path, ...]:
    """The files of the repository that are there: what git tracks, and what it would track."""
    command = ["/usr/bin/env", "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.check_output(command, cwd=ROOT)
    return tuple(path for name in names.decode().split("\0") if name and (path := ROOT / name).is_file())


@cache
def texts(*suffixes: str) -> dict[str, str]:
    """The repository's files with one of these suffixes, by their path from the root."""
    paths = [path for path in tracked() if path.suffix in suffixes or path.name in suffixes]
    return {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in paths}


def modules(*packages: str) -> list[str]:
    """The dotted names of the modules in the tree."""
    paths = [path.relative_to(ROOT).with_suffix("") for path in tracked() if path.suffix == ".py"]
    return sorted(".".join(path.parts).removesuffix(".__init__") for path in paths if path.parts[0] in packages)


def loaded_after(*names: str) -> set[str]:
    """The top-level names in sys.modules of a fresh process that has imported these modules."""
    importing = "import importlib, json, sys; [*map(importlib.import_module, json.load(sys.stdin))]"
    process = subprocess.run(
        [sys.executable, "-c", f"{importing}; print(json.dumps([*sys.modules]))"],
        input=json.dumps(names).encode(),
        capture_output=True,
        cwd=ROOT,
        env={**os.environ, "BENTOML_DO_NOT_TRACK": "True"},
        check=False,
    )
    assert process.returncode == 0, process.stderr.decode()
    return {name.partition(".")[0] for name in json.loads(process.stdout.splitlines()[-1])}


def make_targets() -> set[str]:
    """The targets that the Makefile lists with a line of help."""
    return set(re.findall(r"(?m)^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(encoding="utf-8")))


def test_package_init_files_are_empty() -> None:
    """Code in an `__init__` runs on every import of the package, and hides where a name comes from."""
    inits = [path for path in tracked() if path.name == "__init__.py"]

    assert inits
    assert [str(path) for path in inits if path.read_bytes().strip()] == []


def test_no_python_file_is_longer_than_a_concept() -> None:
    """A file is one concept; the limit is generous, so what is over it holds two."""
    lengths = {name: len(text.splitlines()) for name, text in texts(".py").items()}

    assert {name: length for name, length in lengths.items() if length > LONGER.get(name, LONGEST_FILE)} == {}


def test_nothing_is_marked_as_unfinished() -> None:
    """What is missing belongs into an issue, where somebody sees it."""
    sources = texts(".py", ".md", ".toml", ".sql", ".sh", ".xml", "Makefile", "run")

    assert [name for name, text in sources.items() if UNFINISHED.search(text)] == []


def test_no_file_names_a_path_of_somebody_s_machine() -> None:
    """A path that exists on one machine is a command that fails on all others."""
    sources = texts(".py", ".md", ".toml", ".sql", ".sh", ".txt", ".yaml", "Makefile", "run")

    assert {name: found for name, text in sources.items() if (found := MACHINE_PATH.findall(text))} == {}


@pytest.mark.parametrize("document", sorted(texts(".md")))
def test_every_make_command_in_the_documents_is_a_target(document: str) -> None:
    """The first thing that a newcomer does is to paste a command from the README."""
    text = texts(".md")[document]
    named = set(re.findall(r"(?:`|^ +|^\$ |&& )make ([a-z][a-z-]*)", text, re.MULTILINE))

    assert named - make_targets() == set()


@pytest.mark.parametrize("document", sorted(texts(".md")))
def test_every_module_that_the_documents_run_is_in_the_tree(document: str) -> None:
    """A module that was renamed leaves commands behind that nobody can run."""
    text = texts(".md")[document]
    named = set(re.findall(rf"python -m ((?:{'|'.join(PACKAGES)})[.\w]*)", text))

    assert named - set(modules(*PACKAGES)) == set()


def test_the_readme_shows_the_pipeline_that_runs() -> None:
    """A diagram that was true once is worse than none; `make diagram` draws it again."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")

    assert drawn(text) == text


@pytest.mark.parametrize("process", PROCESSES)
def test_a_serving_process_loads_no_training_library(process: str) -> None:
    """The serving extra has no torch; importing it would break the first contact and cost seconds and memory."""
    assert process in modules("serving")
    assert loaded_after(process) & set(TRAINING_LIBRARIES) == set()


def test_no_module_of_serving_loads_a_training_library_when_imported() -> None:
    """Whatever a process is made of later, it stays light; what trains is imported inside a command."""
    assert loaded_after(*modules("serving")) & set(TRAINING_LIBRARIES) == set()


def test_the_serving_lock_names_no_training_library() -> None:
    """`make demo` on a fresh machine must not fetch gigabytes."""
    lock = (ROOT / "requirements" / "serving.txt").read_text(encoding="utf-8")
    locked = set(re.findall(r"(?m)^([a-z0-9-]+)==", lock))

    assert locked
    assert locked & {*TRAINING_LIBRARIES, "accelerate", "sentence-transformers"} == set()


@pytest.mark.parametrize("extra", ["serving", "training", "dev"])
def test_the_locks_hold_every_declared_dependency(extra: str) -> None:
    """A dependency that pyproject.toml names and the lock does not is missing on every fresh machine."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = {_normal(entry) for entry in project["optional-dependencies"][extra]}
    lock = (ROOT / "requirements" / f"{extra}.txt").read_text(encoding="utf-8")

    assert declared - {_normal(line) for line in re.findall(r"(?m)^[\w.-]+", lock)} == set()


def test_every_stage_is_under_the_rule_that_stages_never_import_each_other() -> None:
    """The contract lists names; a stage that nobody listed would be free to import the others."""
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    contracts = {contract["name"]: contract for contract in tools["importlinter"]["contracts"]}
    stages = {f"serving.{stage}" for stage in Stage} & set(modules("serving"))

    assert stages
    assert stages - set(contracts["stages never import each other"]["modules"]) == set()


def _normal(requirement: str) -> str:
    """A distribution's name as package indexes compare it."""
    found = re.match(r"[\w.-]+", requirement)
    assert found is not None
    return re.sub(r"[-_.]+", "-", found.group()).lower()
