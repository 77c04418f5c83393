"""The classifier before invented twins: what is measured is measured right, and the starter reaches the aim."""

import hashlib
import json
import re
import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data.history import FEATURES, SOCIAL
from training.artefact import STARTER, Artefact
from training.invented import BadTwins, Twins, load_twins
from training.render import Example
from training.twins import ROLES, Scored, report_of, score

ROOT = Path(__file__).parents[2]
FOLDER = Path(__file__).parent / "twins"
FROZEN = "1f43a125424e93b8348371b306e3045ca1757c7b7fde3e2dcd652ff9590bee25"  # of SHA256SUMS, commit "Freeze the twins"
RESERVED = re.compile(r"(^|\.)(example|test|invalid)$")
HOST = re.compile(r"(?:@|://)([\w-]+(?:\.[\w-]+)+)", re.ASCII)
SHARE = 0.95


@cache
def twins() -> tuple[Twins, ...]:
    """Every pair."""
    return load_twins(FOLDER)


@cache
def starter() -> Artefact:
    """The committed model."""
    return Artefact.load(STARTER)


@cache
def scored() -> tuple[Scored, ...]:
    """Every pair with the starter's scores."""
    return tuple(score(starter(), twins()))


def report(pairs: tuple[Scored, ...]) -> dict[str, Any]:
    """What the command would count."""
    return report_of(pairs, starter().thresholds.urgent, starter().thresholds.discard)


def swapped(pairs: tuple[Scored, ...]) -> tuple[Scored, ...]:
    """The same pairs as a model would see them that gets everything the wrong way round."""
    return tuple(replace(pair, urgent=pair.trivial, trivial=pair.urgent) for pair in pairs)


def _social(example: Example) -> Any:
    """The features that the mail's own form has no part in."""
    return example.features[: len(SOCIAL)]


def write(folder: Path, history: str, at: str = "2026-11-10T02:14:09Z") -> Path:
    """A folder with one pair whose sender has this history."""
    (folder / "one.toml").write_text(
        f'kind = "k"\n[[pair]]\nname = "n"\nat = {at}\nfrom = "A <a@x.example>"\nto = ["b@x.example"]\n'
        f'history = ["{history}"]\nurgent = {{subject = "u", body = "u"}}\ntrivial = {{subject = "t", body = "t"}}\n',
        encoding="utf-8",
    )
    return folder


def test_the_twins_are_the_ones_that_were_frozen() -> None:
    """A set that is changed after a model was measured on it follows the model."""
    sums = (FOLDER / "SHA256SUMS").read_bytes()
    stated = dict(line.split("  ")[::-1] for line in sums.decode().splitlines())
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in FOLDER.glob("*.toml")}

    assert hashlib.sha256(sums).hexdigest() == FROZEN
    assert found == stated


def test_there_are_twenty_kinds_of_ten_pairs_and_twenty_of_roles_half_of_them_with_history() -> None:
    """The share is of 200 pairs; a kind that is lost or doubled would weigh it."""
    words = [pair for pair in twins() if pair.kind != ROLES]
    kinds = {pair.kind: [other.name for other in words if other.kind == pair.kind] for pair in words}

    assert len(kinds) == 20
    assert {len(set(names)) for names in kinds.values()} == {10}
    assert len(twins()) - len(words) == 20
    assert sum(pair.known for pair in words) == 100


def test_twins_of_words_share_their_history_and_twins_of_roles_their_words() -> None:
    """Otherwise a pair would be decided by something else than what it is there for."""
    other_history = [
        pair.name
        for pair in twins()
        if pair.kind != ROLES and not np.array_equal(_social(pair.urgent), _social(pair.trivial))
    ]
    words = [[side.text for side in (p.urgent, p.trivial)] for p in twins() if p.kind == ROLES]

    assert other_history == []
    assert all(urgent == trivial for urgent, trivial in words)


def test_a_twin_is_about_as_long_as_the_other() -> None:
    """Length alone must not tell them apart: whoever calls the shorter one urgent is right in 119 of 200."""
    words = [pair for pair in twins() if pair.kind != ROLES]
    lengths = [(len(pair.urgent.text), len(pair.trivial.text)) for pair in words]

    assert all(0.7 < urgent / trivial < 1.4 for urgent, trivial in lengths)
    assert sum(urgent < trivial for urgent, trivial in lengths) == 119
    assert sum(urgent > trivial for urgent, trivial in lengths) == 71


def test_nothing_in_the_twins_could_reach_anybody() -> None:
    """Invented mail must not name a real domain."""
    texts = [path.read_text(encoding="utf-8") for path in FOLDER.glob("*.toml")]
    hosts = {host for text in texts for host in HOST.findall(text)}

    assert len(hosts) > 100
    assert [host for host in hosts if not RESERVED.search(host)] == []


def test_an_invented_history_is_folded_like_any_other(tmp_path: Path) -> None:
    """A history that the features do not show would make half of the pairs say nothing."""
    (pair,) = load_twins(write(tmp_path, "3d, reacted 2h"))
    shown = dict(zip(FEATURES, pair.urgent.features, strict=True))

    assert (shown["pair_received"], shown["pair_acted"], shown["pair_acted_hours"]) == (1, 1, 70)
    assert pair.known


@pytest.mark.parametrize("history", ["1h, reacted 2h", "1h, reacted 1h", "yesterday", "3 d", ""])
def test_a_history_that_was_not_known_or_cannot_be_read_is_refused(tmp_path: Path, history: str) -> None:
    """A reaction from after the mail would be knowledge of the future."""
    with pytest.raises(BadTwins, match=r"one\.toml: history"):
        load_twins(write(tmp_path, history))


def test_a_folder_without_pairs_and_a_file_with_holes_are_said_in_a_line(tmp_path: Path) -> None:
    """Zero of zero pairs must not pass for a figure."""
    with pytest.raises(BadTwins, match="no pair in it"):
        load_twins(tmp_path)
    with pytest.raises(BadTwins, match="give date, time and zone"):
        load_twins(write(tmp_path, "3d", at="2026-11-10T02:14:09"))
    (tmp_path / "one.toml").write_text('kind = "k"\n[[pair]]\nname = "n"\n', encoding="utf-8")
    with pytest.raises(BadTwins, match="'urgent' is missing"):
        load_twins(tmp_path)


def test_every_pair_is_scored_and_again_alike() -> None:
    """A figure that changes from run to run cannot be compared."""
    again = score(starter(), twins()[:40])

    assert [(pair.kind, pair.name) for pair in scored()] == [(pair.kind, pair.name) for pair in twins()]
    assert again == list(scored()[:40])
    assert all(0 < pair.urgent < 1 and 0 < pair.trivial < 1 for pair in scored())


def test_the_counts_of_a_report_add_up() -> None:
    """Kinds, history and total are counted from the same pairs, and roles from none of them."""
    counted = report(scored())
    history = (counted["with_history"], counted["without_history"])
    words = [pair for pair in counted["pairs"] if pair["kind"] != ROLES]

    assert counted["right"] == sum(kind["right"] for kind in counted["kinds"].values())
    assert counted["right"] == sum(part["right"] for part in history) == sum(pair["right"] for pair in words)
    assert counted["n"] == sum(part["n"] for part in history) == len(words) == 200
    assert counted["roles"]["n"] == 20
    assert counted["share"] == counted["right"] / 200


def test_swapping_the_twins_turns_the_count_round() -> None:
    """A count that does not mind which twin is urgent would measure nothing."""
    counted, turned = report(scored()), report(swapped(scored()))

    assert counted["right"] != turned["right"]
    assert turned["right"] == 200 - counted["right"] - counted["tied"]


def test_a_tie_is_wrong() -> None:
    """A model that gives everything the same score has understood nothing, and would else be right always."""
    level = report(tuple(replace(pair, urgent=0.5, trivial=0.5) for pair in scored()))

    assert (level["right"], level["tied"], level["roles"]["right"]) == (0, 200, 0)


def test_the_command_writes_what_it_prints(tmp_path: Path) -> None:
    """The command is what the documents name; its figures must be the tested ones."""
    command = [sys.executable, "-m", "training.twins", "--model", STARTER, "--report", tmp_path / "out.json", "--json"]
    printed = json.loads(subprocess.check_output([*map(str, command)], cwd=ROOT, stderr=subprocess.DEVNULL))
    counted = report(scored())

    assert printed == json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert {name: printed[name] for name in counted} == counted
    assert printed["model"] == starter().version


@pytest.mark.parametrize(("option", "value"), [("--model", "nowhere"), ("--data", "experiments")])
def test_the_command_says_in_one_line_what_it_cannot_use(option: str, value: str) -> None:
    """A traceback tells a user nothing."""
    arguments = {"--model": str(STARTER), option: value}
    command = [sys.executable, "-m", "training.twins", *(word for pair in arguments.items() for word in pair)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert ended.returncode == 2
    assert len(ended.stderr.strip().splitlines()) == 1


def test_the_urgent_twin_scores_higher_in_95_of_100_pairs() -> None:
    """Whoever makes another starter must see that it still understands what it reads."""
    counted = report(scored())

    assert counted["share"] >= SHARE, {kind: figures["right"] for kind, figures in counted["kinds"].items()}
