"""The policies folder, read whole: all files good, or every fault of every file."""

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path

from gateway.core.document import Document, Model, read_document
from gateway.core.errors import BadConfiguration
from gateway.core.values import Value
from gateway.policy.aliases import alias_faults
from gateway.policy.catalogue import Catalogue
from gateway.policy.compile import compile_policy
from gateway.policy.decide import Policy
from gateway.policy.ends import Ends
from gateway.policy.faults import Named, knowledge_faults, model_faults, rule_faults, tuning_faults
from gateway.policy.knowledge_file import KnowledgeFile
from gateway.policy.models_file import ModelsFile
from gateway.policy.registry_file import REGISTRY, RegistryFile, with_registry
from gateway.policy.routing_file import RoutingFile
from gateway.policy.salvage import Read, read_file
from gateway.policy.shutdowns_file import BUILT_IN as BUILT_IN_SHUTDOWNS
from gateway.policy.shutdowns_file import SHUTDOWNS, ShutdownsFile
from gateway.policy.signals_file import BUILT_IN, SignalsFile
from gateway.policy.teams_file import TeamsFile
from gateway.policy.tuning_file import TuningFile

FILES = (
    "routing.yaml",
    "models.yaml",
    "knowledge.yaml",
    "prices.yaml",
    "teams.yaml",
    "signals.yaml",
    "tuning.yaml",
    SHUTDOWNS,
)
NEEDED = frozenset({"routing.yaml", "models.yaml"})
_PLACE = re.compile(r"(.+?):(\d+):(\d+): ")


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
    """What the files mean, together. written_lines: those of models.yaml itself; `models` has the registry's too."""

    policy: Policy
    models: ModelsFile
    knowledge: KnowledgeFile
    teams: TeamsFile
    signals: SignalsFile
    tuning: TuningFile = TuningFile()
    written_lines: frozenset[str] = frozenset()


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
    for name, text in found.items():
        try:
            text.decode("utf-8")
        except UnicodeDecodeError as fault:
            line = text.count(b"\n", 0, fault.start) + 1
            faults.append(f"{folder / name}:{line}:1: not UTF-8; policies are kept as text, so that is what is taken.")
    if faults:
        raise BadConfiguration(faults)
    # Kept with the policy: a later gateway may bring other weights, and an old decision must stay what it was.
    found.setdefault("signals.yaml", BUILT_IN.read_bytes())
    found.setdefault(SHUTDOWNS, BUILT_IN_SHUTDOWNS.read_bytes())
    return Texts(str(folder), found)


def document_of(texts: Texts, name: str) -> Document:
    """One file of the folder, parsed; a missing optional file is an empty mapping."""
    return read_document(_text(texts, name), _name(texts, name))


def _text(texts: Texts, name: str) -> bytes:
    text = texts.files.get(name, b"")
    return BUILT_IN.read_bytes() if name == "signals.yaml" and not text.strip() else text


def _name(texts: Texts, name: str) -> str:
    return str(Path(texts.folder) / name)


def load(texts: Texts) -> Rulebook:
    """The compiled policy and its files. Raises BadConfiguration with all faults of all files."""
    models = _read(texts, "models.yaml", ModelsFile)
    knowledge = _read(texts, "knowledge.yaml", KnowledgeFile)
    teams = _read(texts, "teams.yaml", TeamsFile)
    signals = _read(texts, "signals.yaml", SignalsFile)
    routing = _read(texts, "routing.yaml", RoutingFile)
    tuning = _read(texts, "tuning.yaml", TuningFile)
    shutdowns = _read(texts, SHUTDOWNS, ShutdownsFile)
    files = (models, knowledge, teams, signals, routing, tuning, shutdowns)
    faults = [fault for file in files for fault in file.faults]
    registry = _read(texts, REGISTRY, RegistryFile)
    ends = Ends(registry.file.shutdowns, shutdowns.file)
    catalogue = Catalogue(with_registry(models.file, registry.file), knowledge.file, ends)
    named = Named(catalogue, models.doubt, knowledge.doubt)
    faults += model_faults(models.file, models.document, named)
    faults += alias_faults(models.file, models.document, named)
    faults += knowledge_faults(knowledge.file, knowledge.document, named)
    faults += tuning_faults(tuning.file, tuning.document, named)
    embedder = signals.file.embedder
    if embedder is not None and not named.embedder(embedder):
        faults.append(signals.document.fault(("embedder",), f"embedder {embedder!r} is not in knowledge.yaml."))
    if faults:
        # A policy is compiled only from good files; what can be said of the rules that are good is said all the same.
        faults += rule_faults(list(routing.numbered("rules")), routing.document, named)
        raise BadConfiguration(in_order(faults))
    weights = signals.file.weights()
    policy = compile_policy(routing.file, routing.document, catalogue, weights, texts.hash)
    return Rulebook(
        policy, catalogue.models, knowledge.file, teams.file, signals.file, tuning.file, frozenset(models.file.lines)
    )


def in_order(faults: Iterable[str]) -> list[str]:
    """Faults by file, in the order in which the files are first named, and by line."""
    files: dict[str, int] = {}
    placed = []
    for fault in faults:
        found = _PLACE.match(fault)
        name, line, column = (found[1], int(found[2]), int(found[3])) if found else ("", 0, 0)
        placed.append((files.setdefault(name, len(files)), line, column, fault))
    return [fault for *_, fault in sorted(placed, key=lambda one: one[:3])]


def _read(texts: Texts, name: str, model: type[Model]) -> Read[Model]:
    return read_file(_text(texts, name), _name(texts, name), model)
