"""The committed starter, as serving loads it: the model that every newcomer meets first."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data.history import FEATURES
from data.readers import read
from data.replay import History, replay
from data.schema import Message
from training.artefact import PEOPLE, STARTER, Artefact, ArtefactError, describe
from training.registry import RegistryError, champion, import_starter
from training.render import Example, render

SAMPLE = Path(__file__).parent.parent.parent / "data" / "sample" / "mailbox.mbox"


@pytest.fixture(scope="module")
def artefact() -> Artefact:
    return Artefact.load(STARTER)


@pytest.fixture(scope="module")
def examples() -> list[Example]:
    """Every pair of the sample mailbox with its history."""
    mails = sorted(read(SAMPLE, lambda bad: None), key=lambda mail: mail.date)  # noqa: ARG005
    return [render(mail, who, features) for mail, who, features in replay(mails, lambda mail: mail.recipients)]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The starter, to be spoiled."""
    return Path(shutil.copytree(STARTER, tmp_path / "starter"))


def _after_forty(mail: Message, who: str, *, is_answered: bool) -> Example:
    """The mail after forty others of its sender, a day apart; each time the recipient writes, to the sender or not."""
    history = History()
    for number in range(40):
        earlier = replace(
            mail, message_id=f"{number}.{mail.message_id}", date=mail.date - (40 - number) * 86_400.0,
            to=(who,), cc=(), in_reply_to=None,
        )  # fmt: skip
        history.observe(earlier)
        history.observe(
            replace(
                earlier, message_id=f"own.{earlier.message_id}", date=earlier.date + 1_800.0, sender=who,
                sender_id="somebody else", to=(mail.sender if is_answered else "nobody@x.example",),
                in_reply_to=earlier.message_id if is_answered else None,
            )
        )  # fmt: skip
    return render(mail, who, history.features(mail, who))


def test_a_score_does_not_depend_on_its_batch_mates(artefact: Artefact, examples: list[Example]) -> None:
    """Whether a mail is urgent must not depend on what else arrived in that second."""
    together = artefact.predict(examples[:20])
    alone = np.concatenate([artefact.predict([example]) for example in examples[:20]])
    backwards = artefact.predict(examples[:20][::-1])[::-1]

    assert np.array_equal(together, alone)
    assert np.array_equal(together, backwards)


def test_threads_do_not_disturb_each_other(artefact: Artefact, examples: list[Example]) -> None:
    """Serving scores in a pool of threads."""
    expected = artefact.predict(examples[:30])

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda example: artefact.predict([example])[0], examples[:30]))

    assert np.array_equal(expected, np.array(found))


def test_scores_are_probabilities_that_tell_pairs_apart(artefact: Artefact, examples: list[Example]) -> None:
    """A constant would pass every other test."""
    scores = artefact.predict(examples)

    assert scores.shape == (len(examples),)
    assert (scores > 0).all()
    assert (scores < 1).all()
    assert scores.std() > 0.01


def test_history_moves_the_score(artefact: Artefact) -> None:
    """The same words from somebody who was always answered are another mail than from somebody who never was."""
    mails = [mail for mail in read(SAMPLE, lambda bad: None) if mail.date > 1e9]  # noqa: ARG005
    pairs = [(mail, who) for mail in mails for who in mail.recipients]

    answered = artefact.predict([_after_forty(mail, who, is_answered=True) for mail, who in pairs])
    ignored = artefact.predict([_after_forty(mail, who, is_answered=False) for mail, who in pairs])

    assert (answered > ignored).mean() > 0.95
    assert np.median(answered) > 2 * np.median(ignored)


def test_a_second_look_may_read_further(artefact: Artefact, examples: list[Example]) -> None:
    """Reanalysis reads 256 tokens with the same graph."""
    long = [replace(example, text=example.text + " please answer today" * 100) for example in examples[:3]]

    assert np.isfinite(artefact.predict(long, max_length=256)).all()
    assert not np.array_equal(artefact.logits(long, max_length=256), artefact.logits(long))


def test_an_empty_text_and_no_examples_are_scored(artefact: Artefact) -> None:
    """A mail may have no words at all."""
    empty = Example("", np.zeros(len(FEATURES), dtype=np.float32))

    assert artefact.predict([]).shape == (0,)
    assert 0 < artefact.predict([empty])[0] < 1


def test_the_starter_is_small_and_says_what_it_is() -> None:
    """It is committed: a clone must stay quick, and a stranger must see what it was trained on."""
    description = describe(STARTER)

    assert sum(file.stat().st_size for file in STARTER.iterdir()) < 28_000_000  # 3 of them are trees and heads
    assert description.trained_until == 1_650_931_200.0
    assert description.thresholds.band[0] <= description.thresholds.urgent <= description.thresholds.band[1]
    assert len(description.dataset_digest) == 64
    assert len(description.mean) == len(description.scale) == len(FEATURES)


def test_the_starter_discards_people_s_mail_within_one_percent_and_no_machine_s() -> None:
    """Promise 5 holds by these numbers; whoever makes another starter must certify it again."""
    description = describe(STARTER)
    (found,) = description.certificates

    assert (found.slice, found.bound, found.confidence) == (PEOPLE, 0.01, 0.95)
    assert (description.thresholds.discard, description.bound) == (found.threshold, found.bound)
    assert found.urgent > 3_000
    assert found.lost / found.urgent < found.clustered < found.bound
    assert found.threshold < description.thresholds.band[0]


@pytest.mark.parametrize("name", ["graph.xml", "graph.bin", "tokenizer.json", "artefact.json"])
def test_a_missing_file_is_named(copy: Path, name: str) -> None:
    """Half a download must not serve."""
    (copy / name).unlink()

    with pytest.raises(ArtefactError, match=name):
        Artefact.load(copy)


@pytest.mark.parametrize("name", ["graph.xml", "tokenizer.json", "artefact.json"])
def test_a_damaged_file_is_one_line(copy: Path, name: str) -> None:
    """A traceback of a foreign library says nothing to the one on call."""
    (copy / name).write_bytes(b"\x00damaged")

    with pytest.raises(ArtefactError, match="export it again") as raised:
        Artefact.load(copy)
    assert "\n" not in str(raised.value)


def test_an_artefact_of_other_features_is_refused(copy: Path) -> None:
    """Numbers in another order would score without a sign of trouble."""
    stated = json.loads((copy / "artefact.json").read_text())
    stated["features"] = stated["features"][::-1]
    (copy / "artefact.json").write_text(json.dumps(stated))

    with pytest.raises(ArtefactError, match="other features"):
        Artefact.load(copy)


def test_the_starter_fills_an_empty_registry_once(tmp_path: Path) -> None:
    """`make demo` never trains, and never pushes a better champion aside."""
    tracking = f"sqlite:///{tmp_path / 'mlflow.db'}"
    with pytest.raises(RegistryError, match="import-starter"):
        champion(tracking)

    first, second = import_starter(tracking), import_starter(tracking)

    assert first == second == "1"
    assert Artefact.load(champion(tracking)).version == describe(STARTER).version


def test_a_folder_that_is_no_artefact_is_not_registered(tmp_path: Path) -> None:
    """A champion that cannot be loaded would stop all classification."""
    with pytest.raises(RegistryError, match="is missing"):
        import_starter(f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path)
