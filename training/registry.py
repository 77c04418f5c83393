"""The model registry (MLflow): who is champion, and where its artefact lies.

`python -m training.registry import-starter|champion|register|list` says what it did in one line.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from training.artefact import Artefact, ArtefactError, describe
from training.tracking import connect

NAME, ALIAS = "clarion", "champion"
REGISTERED = "models:"  # how an address in the registry begins; anything else is a folder
STARTER = Path(__file__).parent / "starter"
TRACKING = "sqlite:///var/mlflow/mlflow.db"
EXAMPLE = "example.json"  # beside the artefact's own files: one invented pair, from data/sample


class RegistryError(Exception):
    """The registry cannot answer; the message says what to do."""


def champion(tracking_uri: str, uri: str = f"models:/{NAME}@{ALIAS}") -> Path:
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
            f"{uri}: {_line(error).rstrip('.')}; name a model that is there (CLARION_MODEL), or "
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
    return _aliased(tracking_uri, ALIAS) or register(tracking_uri, folder)


def register(tracking_uri: str, folder: Path, *, alias: str = ALIAS) -> str:
    """Registers an artefact's folder as the next version, gives it the alias, and returns the version.

    Inside an MLflow run it belongs to that run. Raises RegistryError.
    """
    try:
        description = describe(folder)
    except ArtefactError as error:
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
    client.set_registered_model_alias(NAME, alias, version)
    return version


def main() -> None:
    """Answers one question about the registry; exit status 0, or 1 with one line on standard error."""
    parser = argparse.ArgumentParser(prog="training.registry", description=__doc__)
    parser.add_argument("--tracking", default=TRACKING, help="MLflow's tracking URI (default: %(default)s)")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("import-starter", help="make the committed starter champion where there is none").add_argument(
        "--folder", type=Path, default=STARTER
    )
    asked = commands.add_parser("champion", help="print the folder of the champion's artefact")
    asked.add_argument("--uri", default=f"models:/{NAME}@{ALIAS}")
    asked.add_argument("--or-starter", action="store_true", help="import the starter first where there is no champion")
    asked.add_argument("--load", action="store_true", help="see first that the artefact loads on this machine")
    commands.add_parser("register", help="register an artefact's folder as champion").add_argument("folder", type=Path)
    try:
        print(_answer(parser.parse_args()))
    except (RegistryError, ArtefactError, OSError) as error:
        sys.exit(_line(error))


def _answer(arguments: argparse.Namespace) -> str:
    if arguments.command == "champion":
        return str(_champion(arguments))
    if arguments.command == "register":
        return f"version {register(arguments.tracking, arguments.folder)} is champion"
    return f"version {import_starter(arguments.tracking, arguments.folder)} is champion"


def _champion(arguments: argparse.Namespace) -> Path:
    if arguments.or_starter and arguments.uri.startswith(REGISTERED):
        import_starter(arguments.tracking)
    folder = champion(arguments.tracking, arguments.uri)
    if arguments.load:
        Artefact.load(folder)
    return folder


def _aliased(tracking_uri: str, alias: str) -> str | None:
    """The version that has the alias, None where nobody has."""
    from mlflow.exceptions import MlflowException

    try:
        return str(connect(tracking_uri).get_model_version_by_alias(NAME, alias).version)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise RegistryError(f"{tracking_uri}: {_line(error)}") from None


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


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


if __name__ == "__main__":
    main()
