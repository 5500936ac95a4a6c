"""The policies folder, read whole: all files good, or every fault of every file."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from gateway.core.document import Document, Model, read_document, validate
from gateway.core.errors import BadConfiguration
from gateway.core.values import Value
from gateway.policy.catalogue import Catalogue
from gateway.policy.compile import compile_policy
from gateway.policy.decide import Policy
from gateway.policy.knowledge_file import KnowledgeFile
from gateway.policy.models_file import ModelsFile, SuccessorEntry
from gateway.policy.routing_file import RoutingFile
from gateway.policy.teams_file import TeamsFile

FILES = ("routing.yaml", "models.yaml", "knowledge.yaml", "prices.yaml", "teams.yaml")
NEEDED = frozenset({"routing.yaml", "models.yaml"})


class Texts(Value, frozen=True):
    """The bytes of the folder's files at one moment. hash: SHA-256 over names and bytes, 16 hex digits."""

    folder: str
    files: dict[str, bytes]

    @property
    def hash(self) -> str:
        """Names this reading; the same bytes give the same hash on every machine."""
        digest = hashlib.sha256()
        for name in sorted(self.files):
            digest.update(name.encode() + b"\0" + self.files[name] + b"\0")
        return digest.hexdigest()[:16]


class Rulebook(Value, frozen=True):
    """What the files mean, together."""

    policy: Policy
    models: ModelsFile
    knowledge: KnowledgeFile
    teams: TeamsFile


def read_texts(folder: Path) -> Texts:
    """The files as they stand now. Raises BadConfiguration when the folder or a needed file is missing."""
    faults = []
    found = {}
    if not folder.is_dir():
        raise BadConfiguration([f"{folder}: no such folder; GATEWAY_POLICIES names the folder of policy files."])
    for name in FILES:
        try:
            found[name] = (folder / name).read_bytes()
        except FileNotFoundError:
            if name in NEEDED:
                faults.append(f"{folder / name}: this file is missing.")
        except OSError as fault:
            faults.append(f"{folder / name}: {fault.strerror}.")
    if faults:
        raise BadConfiguration(faults)
    return Texts(str(folder), found)


def document_of(texts: Texts, name: str) -> Document:
    """One file of the folder, parsed; a missing optional file is an empty mapping."""
    return read_document(texts.files.get(name, b""), str(Path(texts.folder) / name))


def load(texts: Texts) -> Rulebook:
    """The compiled policy and its files. Raises BadConfiguration with all faults of all files."""
    faults: list[str] = []

    def read(name: str, model: type[Model]) -> tuple[Document, Model] | None:
        try:
            document = document_of(texts, name)
            return document, validate(document, model)
        except BadConfiguration as bad:
            faults.extend(bad.faults)
            return None

    models = read("models.yaml", ModelsFile)
    knowledge = read("knowledge.yaml", KnowledgeFile)
    teams = read("teams.yaml", TeamsFile)
    routing = read("routing.yaml", RoutingFile)
    if models is None or knowledge is None or teams is None or routing is None:
        raise BadConfiguration(faults)
    catalogue = Catalogue(models[1], knowledge[1])
    faults.extend(_cross_faults(models, knowledge, catalogue))
    try:
        policy = compile_policy(routing[1], routing[0], catalogue, texts.hash)
    except BadConfiguration as bad:
        faults.extend(bad.faults)
    if faults:
        raise BadConfiguration(faults)
    return Rulebook(policy, models[1], knowledge[1], teams[1])


def _cross_faults(
    models: tuple[Document, ModelsFile], knowledge: tuple[Document, KnowledgeFile], catalogue: Catalogue
) -> Iterator[str]:
    """What one file says of another: upstreams, collections and lines that are named must exist."""
    document, file = models
    for name, entry in file.models.items():
        if entry.upstream not in file.upstreams:
            yield document.fault(("models", name, "upstream"), f"upstream {entry.upstream!r} is not defined above.")
    for name, line in file.lines.items():
        for index, version in enumerate(line.versions):
            if version.upstream not in file.upstreams:
                place = ("lines", name, "versions", index, "upstream")
                yield document.fault(place, f"upstream {version.upstream!r} is not defined above.")
        if line.successor is not None:
            yield from _successor_faults(name, line.successor, document, catalogue)
    yield from _knowledge_faults(*knowledge, file, catalogue)


def _successor_faults(name: str, successor: SuccessorEntry, document: Document, catalogue: Catalogue) -> Iterator[str]:
    here = ("lines", name, "successor")
    if successor.line and not catalogue.knows_line(successor.line):
        yield document.fault((*here, "line"), f"{successor.line!r} is no line, or no version of one.")
    if successor.model and not catalogue.knows_model(successor.model):
        yield document.fault((*here, "model"), f"model {successor.model!r} is not defined above.")
    for collection in successor.collections:
        if collection not in catalogue.knowledge.collections:
            yield document.fault((*here, "collections"), f"collection {collection!r} is not in knowledge.yaml.")


def _knowledge_faults(
    document: Document, settings: KnowledgeFile, file: ModelsFile, catalogue: Catalogue
) -> Iterator[str]:
    for name, entry in settings.collections.items():
        if entry.model and not catalogue.knows_model(entry.model):
            place = ("collections", name, "model")
            yield document.fault(place, f"model {entry.model!r} is not in models.yaml, and there is no '*'.")
        if entry.embedder and entry.embedder not in settings.embedders:
            place = ("collections", name, "embedder")
            yield document.fault(place, f"embedder {entry.embedder!r} is not defined under embedders.")
    for name, embedder in settings.embedders.items():
        if embedder.upstream not in file.upstreams:
            place = ("embedders", name, "upstream")
            yield document.fault(place, f"upstream {embedder.upstream!r} is not in models.yaml.")
