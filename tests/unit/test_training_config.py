"""An experiment file states only what it changes, and every mistake in it is said before anything runs."""

from pathlib import Path

import pytest

from training.config import Config, ConfigError, load

EXPERIMENTS = Path(__file__).parent.parent.parent / "experiments"


def written(folder: Path, text: str) -> Path:
    path = folder / "007-try.toml"
    path.write_text(text)
    return path


def test_what_is_not_stated_is_the_default(tmp_path: Path) -> None:
    """An experiment must be readable as its difference."""
    config = load(written(tmp_path, "max_length = 256\nepochs = 2\n"))

    assert config == Config("007-try", max_length=256, epochs=2)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("max_lenght = 256", "no setting 'max_lenght'"),
        ("max_length = 'long'", "max_length = 'long' must be int"),
        ("bf16 = 1", "bf16 = 1 must be bool"),
        ("seed = 1.5", "must be int"),
        ("band = 0.2", "at most 0.1"),
        ("urgent_recall = 1.0", "between 0 and 1"),
        ("history = 'forest'", "give one of trees, heads, nothing"),
        ("freeze = 'lora'", "all but adapters"),
        ("text = 'all'", "give one of words"),
        ("taught_by_trees = 2.0", "share from 0 to 1"),
        ("urgent_weight = 0.0", "above 0"),
        ("test_from = 'soon'", "no date"),
        ("validation_from = '2025-01-01'", "must lie before"),
        ("= 3", "not TOML"),
    ],
)
def test_a_mistake_is_one_line(tmp_path: Path, text: str, said: str) -> None:
    """Half an hour of training with an ignored setting is half an hour lost."""
    with pytest.raises(ConfigError, match=said) as raised:
        load(written(tmp_path, text))
    assert "\n" not in str(raised.value)


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    """The usual mistake is the working directory."""
    with pytest.raises(ConfigError, match="no such experiment file"):
        load(tmp_path / "absent.toml")


def test_an_experiment_may_be_like_another(tmp_path: Path) -> None:
    """An ablation is its difference from what it is measured against, name and all."""
    (tmp_path / "006-base.toml").write_text("epochs = 2.0\nseed = 3\n")

    config = load(written(tmp_path, "like = '006-base'\nseed = 4\n"))

    assert config == Config("007-try", epochs=2.0, seed=4)


def test_an_experiment_is_not_like_itself(tmp_path: Path) -> None:
    """A circle of names would never end."""
    (tmp_path / "006-base.toml").write_text("like = '007-try'\n")

    with pytest.raises(ConfigError, match="is like itself, by way of 007-try, 006-base"):
        load(written(tmp_path, "like = '006-base'\n"))


@pytest.mark.parametrize("path", sorted(EXPERIMENTS.glob("*.toml")), ids=lambda path: path.stem)
def test_every_committed_experiment_loads(path: Path) -> None:
    """The log refers to them; they must still run."""
    assert load(path).name == path.stem


def test_the_cut_is_the_benchmarks() -> None:
    """Moving it by a day would make every figure incomparable."""
    assert Config("any").cuts == (1_650_931_200.0, 1_706_572_800.0)
