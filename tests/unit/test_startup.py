"""What a start finds wrong, it says before anything runs."""

from pathlib import Path

import pytest

from serving.errors import ConfigurationError
from serving.keyring import check_keys
from serving.settings import Settings
from serving.startup import make_keys, prepare
from training.artefact import STARTER

FILES = ["content.private", "content.public", "delivery.private", "delivery.public", "lookup.key"]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A home of its own, and the starter's folder for a model."""
    return Settings(home=tmp_path / "home", artefact=STARTER)


async def test_a_first_start_makes_keys_and_a_second_keeps_them(settings: Settings) -> None:
    """New keys over old ones would make everything that is stored unreadable."""
    assert await prepare(settings) == STARTER
    before = {path.name: path.read_bytes() for path in settings.keys.iterdir()}
    await prepare(settings)

    assert {*FILES, "signing.private", "signing.public", "smime.private", "smime.public"} == set(before)
    assert {path.name: path.read_bytes() for path in settings.keys.iterdir()} == before
    assert settings.topology.exists()


@pytest.mark.parametrize(("mail_from", "made"), [("clarion@gate.example", True), ("größe@gate.example", False)])
async def test_keys_of_an_older_release_are_joined_by_the_one_for_smime(
    settings: Settings, mail_from: str, made: bool
) -> None:
    """Nobody has to make everything anew for it; an address beyond ASCII has no S/MIME and starts all the same."""
    make_keys(settings)
    for name in ("smime.private", "smime.public"):
        (settings.keys / name).unlink()
    await prepare(settings.model_copy(update={"mail_from": mail_from}))

    assert (settings.keys / "smime.private").exists() is made


@pytest.mark.parametrize("name", FILES)
async def test_a_key_file_that_is_gone_is_named_before_anything_starts(settings: Settings, name: str) -> None:
    """A worker that dies of it would be started again for minutes, and new keys would lose the mail."""
    make_keys(settings)
    (settings.keys / name).unlink()
    with pytest.raises(ConfigurationError, match=rf"no key file .*{name}; restore it from a backup"):
        await prepare(settings)

    assert not (settings.keys / name).exists()


def test_halves_of_two_pairs_are_refused(settings: Settings, tmp_path: Path) -> None:
    """What the gateway seals for another key, no stage opens."""
    other = Settings(home=tmp_path / "other")
    make_keys(settings)
    make_keys(other)
    (settings.keys / "delivery.public").write_bytes((other.keys / "delivery.public").read_bytes())

    with pytest.raises(ConfigurationError, match=r"delivery\.private and delivery\.public"):
        check_keys(settings.keys)


@pytest.mark.parametrize("damage", [b"", b"<xml", None])
async def test_a_model_that_does_not_load_is_said_in_one_line(
    settings: Settings, tmp_path: Path, damage: bytes | None
) -> None:
    """Workers that cannot load it would die and be started again for minutes."""
    folder = tmp_path / "model"
    folder.mkdir()
    for file in STARTER.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    if damage is None:
        (folder / "artefact.json").unlink()
    else:
        (folder / "graph.xml").write_bytes(damage)
    with pytest.raises(ConfigurationError) as refusal:
        await prepare(settings.model_copy(update={"artefact": folder}))

    assert str(folder) in str(refusal.value)
    assert "\n" not in str(refusal.value)


async def test_a_home_that_cannot_be_made_names_its_setting(tmp_path: Path) -> None:
    """A path below a file, or a folder of somebody else."""
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="set CLARION_HOME"):
        await prepare(Settings(home=tmp_path / "file" / "home", artefact=STARTER))
