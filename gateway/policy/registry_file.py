"""Tuned models and lines that are kept in the database, as the policy takes them over: a file that nobody writes."""

from datetime import date
from typing import Annotated

from pydantic import Field

from gateway.core.document import Written
from gateway.policy.models_file import LineEntry, ModelEntry, ModelsFile, Name

REGISTRY = "registry.yaml"
# Where a gateway keeps it, in its data folder, and the training files of lines that it names by their ids here.
KEPT, LINE_FILES = "registry.json", "line_files"
OUR_FILES = "file-"


class RegistryFile(Written):
    """models: that jobs made here, by id. lines: whose versions and aliases are kept here.

    shutdowns: of each upstream, what its own list said of when its models end.
    """

    models: dict[str, ModelEntry] = {}
    lines: Annotated[dict[Name, LineEntry], Field()] = {}
    shutdowns: dict[str, dict[str, date]] = {}


def with_registry(models: ModelsFile, registry: RegistryFile) -> ModelsFile:
    """models.yaml with what is kept in the database.

    A name that stands in both is the file's, but for lines: a line that was taken over into the database has its
    versions and aliases there, and its successor where the file says it. What is served by an upstream that is not
    there any more is left out: it must not make every call fail.
    """
    known = models.upstreams
    tuned = {name: entry for name, entry in registry.models.items() if entry.upstream in known}
    lines = {
        name: entry.model_copy(update=_of_the_file(models.lines.get(name)))
        for name, entry in registry.lines.items()
        if all(version.upstream in known for version in entry.versions) and not is_taken(name, models)
    }
    return models.model_copy(update={"models": {**tuned, **models.models}, "lines": {**models.lines, **lines}})


def is_taken(name: str, models: ModelsFile) -> bool:
    """Whether a line cannot have this name, because models.yaml has a model or an alias of it."""
    return name in models.models or name in models.aliases


def _of_the_file(line: LineEntry | None) -> dict[str, object]:
    return {"successor": line.successor} if line is not None and line.successor is not None else {}
