"""The registry's versions of the model: which is champion, which was it before, and which challenges."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from training.tracking import connect

NAME, ALIAS, CHALLENGER, PREVIOUS = "clarion", "champion", "challenger", "previous"
REGISTERED = "models:"  # how an address in the registry begins; anything else is a folder
CHAMPION = f"{REGISTERED}/{NAME}@{ALIAS}"


class RegistryError(Exception):
    """The registry cannot answer; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Version:
    """A registered version; `created` is ISO 8601 (UTC), `artefact` and `dataset_digest` are None before cards."""

    version: str
    aliases: tuple[str, ...]
    artefact: str | None
    dataset_digest: str | None
    created: str


def address(version: str) -> str:
    """Where MLflow finds the version."""
    return f"{REGISTERED}/{NAME}/{version}"


def aliased(tracking_uri: str, alias: str) -> str | None:
    """The version that has the alias, None where nobody has. Raises RegistryError."""
    from mlflow.exceptions import MlflowException

    try:
        return str(connect(tracking_uri).get_model_version_by_alias(NAME, alias).version)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise RegistryError(f"{tracking_uri}: {first_line(error)}") from None


def version_of(tracking_uri: str, model: str) -> str | None:
    """The version behind `champion`, `challenger`, `previous` or `models:/clarion…`; None for a folder, or for another
    model. Raises RegistryError where nobody has the alias."""
    if model in (ALIAS, CHALLENGER, PREVIOUS):
        model = f"{REGISTERED}/{NAME}@{model}"
    named = re.fullmatch(rf"{REGISTERED}/{NAME}(?:@(?P<alias>[^/@]+)|/(?P<version>\d+))", model)
    if named is None or named["version"]:
        return named and named["version"]
    version = aliased(tracking_uri, named["alias"])
    if version is None:
        raise RegistryError(f"no version is {named['alias']}; see `python -m training.registry list`")
    return version


def appoint(tracking_uri: str, version: str) -> None:
    """Makes the version champion, and who was champion `previous`. Raises RegistryError."""
    client, before = connect(tracking_uri), aliased(tracking_uri, ALIAS)
    if before == version:
        return
    if before is not None:
        client.set_registered_model_alias(NAME, PREVIOUS, before)
    client.set_registered_model_alias(NAME, ALIAS, version)


def versions(tracking_uri: str) -> list[Version]:
    """Every version, the newest first."""
    client = connect(tracking_uri)
    found = list(client.search_model_versions(f"name = '{NAME}'"))
    named = client.get_registered_model(NAME).aliases if found else {}
    rows = [
        Version(
            version=str(each.version),
            aliases=tuple(sorted(alias for alias, of in named.items() if str(of) == str(each.version))),
            artefact=each.tags.get("artefact_version"),
            dataset_digest=each.tags.get("dataset_digest"),
            created=datetime.fromtimestamp(each.creation_timestamp // 1_000, UTC).isoformat(),
        )
        for each in found
    ]
    return sorted(rows, key=lambda row: -int(row.version))


def table(rows: list[Version]) -> str:
    """The versions for people, a line each; a digest's first 12 digits."""
    titles = ("version", "aliases", "artefact", "dataset", "created")
    cells = [
        (row.version, ", ".join(row.aliases), row.artefact or "", (row.dataset_digest or "")[:12], row.created)
        for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(titles, *cells, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (titles, *cells)
    )


def first_line(error: Exception) -> str:
    """What an error of MLflow says, without the rest of its page."""
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
