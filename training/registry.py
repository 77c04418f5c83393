"""The model registry (MLflow): who is champion, who was it before, who challenges, and where each artefact lies.

`python -m training.registry import-starter|champion|register|list|check|back` says what it did in one line. Every fit
is a challenger; `promote` (the same as `python -m training.promotion`) alone makes a champion of it, and `back` makes
the champion before the present one champion again.
"""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from training.artefact import STARTER, Artefact, ArtefactError, describe
from training.card import CARD, CardError, checked, tags
from training.tracking import connect
from training.versions import ALIAS as ALIAS
from training.versions import (
    CHALLENGER,
    CHAMPION,
    NAME,
    PREVIOUS,
    REGISTERED,
    address,
    aliased,
    appoint,
    first_line,
    table,
    version_of,
    versions,
)
from training.versions import RegistryError as RegistryError

TRACKING = "sqlite:///var/mlflow/mlflow.db"
EXAMPLE = "example.json"  # beside the artefact's own files: one invented pair, from data/sample


def champion(tracking_uri: str, uri: str = CHAMPION) -> Path:
    """The folder of the artefact behind `uri` (an alias, a version, or a plain folder). Raises RegistryError."""
    if not uri.startswith(REGISTERED):
        return Path(uri)
    import mlflow
    from mlflow.exceptions import MlflowException

    connect(tracking_uri)
    try:
        return _artefact(Path(mlflow.artifacts.download_artifacts(uri)))
    except MlflowException as error:
        raise RegistryError(
            f"{uri}: {first_line(error).rstrip('.')}; name a model that is there (CLARION_MODEL), or "
            "run `python -m training.registry import-starter` for the starter"
        ) from None


def locate(model: str, tracking_uri: str) -> Path:
    """Where a model lies: `champion` (the starter where there is none yet), `models:/…`, or a folder. Raises
    RegistryError."""
    if model != ALIAS:
        return champion(tracking_uri, model)
    import_starter(tracking_uri)
    return champion(tracking_uri)


def import_starter(tracking_uri: str, folder: Path = STARTER) -> str:
    """Registers the committed starter where there is no champion yet; the champion's version. Raises RegistryError."""
    return aliased(tracking_uri, ALIAS) or register(tracking_uri, folder, alias=ALIAS)


def register(tracking_uri: str, folder: Path, *, alias: str = CHALLENGER) -> str:
    """Registers an artefact's folder as the next version, with its card and tags, gives it the alias, and returns the
    version.

    Inside an MLflow run it belongs to that run. Raises RegistryError, also where the folder's card is out of date.
    """
    try:
        description, text = describe(folder), checked(folder)
    except (ArtefactError, CardError) as error:
        raise RegistryError(str(error)) from None
    import mlflow

    client = connect(tracking_uri)
    logged = mlflow.pyfunc.log_model(
        name=NAME,
        python_model=str(Path(__file__).with_name("scorer.py")),
        artifacts={"artefact": str(folder)},
        registered_model_name=NAME,
        pip_requirements=["clarion[serving]"],
        metadata={"version": description.version, "dataset_digest": description.dataset_digest},
        **_signature(folder),
    )
    version = str(logged.registered_model_version)
    client.update_model_version(NAME, version, text)
    for name, value in tags(description).items():
        client.set_model_version_tag(NAME, version, name, value)
    if mlflow.active_run():
        mlflow.log_text(text, CARD)
    if alias == ALIAS:
        appoint(tracking_uri, version)
    else:
        client.set_registered_model_alias(NAME, alias, version)
    return version


def back(tracking_uri: str) -> str:
    """Makes the previous champion champion again, the present one `previous`; the version that is champion now.

    Raises RegistryError where nobody was champion before, and ArtefactError where this code cannot run that one.
    """
    version = aliased(tracking_uri, PREVIOUS)
    if version is None or version == aliased(tracking_uri, ALIAS):
        raise RegistryError("no other version was champion before; see `python -m training.registry list`")
    describe(champion(tracking_uri, address(version)))
    appoint(tracking_uri, version)
    return version


def check(tracking_uri: str, uri: str = CHAMPION) -> str:
    """The version behind `uri`, whose description and tags say what the artefact in it says. Raises RegistryError where
    they do not, and ArtefactError or CardError where nothing can be compared."""
    version = version_of(tracking_uri, uri)
    if version is None:
        raise RegistryError(f"{uri}: names no version of {NAME}; write it like models:/{NAME}@{CHALLENGER}")
    folder = champion(tracking_uri, address(version))
    said = connect(tracking_uri).get_model_version(NAME, version)
    stated = {"description": checked(folder), **tags(describe(folder))}
    found = {**said.tags, "description": said.description}
    wrong = [name for name, value in stated.items() if found.get(name) != value]
    if wrong:
        raise RegistryError(
            f"version {version}: {', '.join(wrong)} in the registry is not what its artefact says; register it again"
        )
    return version


def main() -> None:
    """Answers one question about the registry; exit status 0, or 1 with one line on standard error."""
    parser = _parser()
    arguments, rest = parser.parse_known_args()
    if arguments.command == "promote":
        from training.promotion import main as promote

        promote(["--tracking", arguments.tracking, *rest])
    if rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    try:
        print(_answer(arguments))
    except (RegistryError, ArtefactError, CardError, OSError) as error:
        sys.exit(first_line(error))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="training.registry", description=__doc__)
    parser.add_argument("--tracking", default=TRACKING, help="MLflow's tracking URI (default: %(default)s)")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("import-starter", help="make the committed starter champion where there is none").add_argument(
        "--folder", type=Path, default=STARTER
    )
    asked = commands.add_parser("champion", help="print the folder of the champion's artefact")
    asked.add_argument("--uri", default=CHAMPION)
    asked.add_argument("--or-starter", action="store_true", help="import the starter first where there is no champion")
    asked.add_argument("--load", action="store_true", help="see first that the artefact loads on this machine")
    commands.add_parser("register", help="register an artefact's folder as challenger").add_argument(
        "folder", type=Path
    )
    listed = commands.add_parser("list", help="every version, the newest first")
    listed.add_argument("--json", action="store_true", help="for programs")
    checks = commands.add_parser("check", help="see that card and tags of a version say what its artefact says")
    checks.add_argument("--uri", default=CHAMPION)
    commands.add_parser("back", help="make the previous champion champion again")
    commands.add_parser("promote", help="judge the challenger, see training.promotion --help", add_help=False)
    return parser


def _answer(arguments: argparse.Namespace) -> str:
    tracking = arguments.tracking
    match arguments.command:
        case "champion":
            return str(_champion(arguments))
        case "register":
            return f"version {register(tracking, arguments.folder)} is {CHALLENGER}"
        case "list":
            rows = versions(tracking)
            return json.dumps([asdict(row) for row in rows], indent=2) if arguments.json else table(rows)
        case "check":
            return f"version {check(tracking, arguments.uri)}: card and registry agree"
        case "back":
            return f"version {back(tracking)} is {ALIAS} again, version {aliased(tracking, PREVIOUS)} is {PREVIOUS}"
    return f"version {import_starter(tracking, arguments.folder)} is {ALIAS}"


def _champion(arguments: argparse.Namespace) -> Path:
    if arguments.or_starter and arguments.uri.startswith(REGISTERED):
        import_starter(arguments.tracking)
    folder = champion(arguments.tracking, arguments.uri)
    if arguments.load:
        Artefact.load(folder)
    return folder


def _artefact(model: Path) -> Path:
    """The artefact inside a downloaded MLflow model."""
    found = next(model.glob("artifacts/**/artefact.json"), None)
    if found is None:
        raise RegistryError(
            f"{model}: this model holds no artefact; register one with `python -m training.registry register`"
        )
    return found.parent


def _signature(folder: Path) -> dict[str, Any]:
    """Input example and signature for the registry, where the artefact carries an example."""
    import pandas
    from mlflow.models import infer_signature

    example = pandas.read_json(folder / EXAMPLE) if (folder / EXAMPLE).exists() else None
    return (
        {}
        if example is None
        else {"input_example": example, "signature": infer_signature(example, [0.5] * len(example))}
    )


if __name__ == "__main__":
    main()
