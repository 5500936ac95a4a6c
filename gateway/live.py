"""What is live: the files under policies/ as they stood when they were last all good."""

import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from pathlib import Path

from gateway.core.clock import utc_day
from gateway.core.document import validate
from gateway.core.errors import BadConfiguration
from gateway.core.settings import secret
from gateway.core.values import Value
from gateway.knowledge.embedders.onnx_directory import OnnxEmbedder
from gateway.knowledge.embedders.openai_api import OpenAiEmbedder, PostJson
from gateway.knowledge.embedders.remembered import Remembered
from gateway.knowledge.settings import CollectionSettings, EmbedderSettings, OnnxSettings, SourceSettings
from gateway.policy.explain import failing_tests
from gateway.policy.knowledge_file import OnnxEmbedderEntry, UpstreamEmbedderEntry
from gateway.policy.load import FILES, Rulebook, Texts, document_of, in_order, load, read_texts
from gateway.policy.routing_file import RoutingFile
from gateway.policy.warnings import Files, Known, Warned, warnings_of
from gateway.pricing.overlay import PriceOverlay
from gateway.pricing.table import PriceTable, table_from
from gateway.tuning.examples import Examples, read_examples
from gateway.tuning.tasks import Tasks

log = logging.getLogger("gateway.policy")


class Loaded(Value, frozen=True):
    """Everything that one reading of the folder means."""

    texts: Texts
    rulebook: Rulebook
    prices: PriceTable


def load_all(folder: Path, environment: Mapping[str, str] | None = None) -> Loaded:
    """The folder's files, checked together and against their own tests.

    environment: where secrets are looked for; without it nobody looks. Raises BadConfiguration with every fault of
    every file.
    """
    texts = read_texts(folder)
    faults: list[str] = []
    prices: PriceTable | None = None
    rulebook: Rulebook | None = None
    try:
        rulebook = load(texts)
        faults += _failures(texts, rulebook)
        faults += _missing_secrets(texts, rulebook, environment)
    except BadConfiguration as bad:
        faults += bad.faults
    try:
        prices = table_from(validate(document_of(texts, "prices.yaml"), PriceOverlay))
    except BadConfiguration as bad:
        faults += bad.faults
    if faults or rulebook is None or prices is None:
        raise BadConfiguration(in_order(faults))
    return Loaded(texts, rulebook, prices)


def _failures(texts: Texts, rulebook: Rulebook) -> Iterator[str]:
    failures = failing_tests(rulebook.policy, time.time())
    if not failures:
        return
    document = document_of(texts, "routing.yaml")
    for number, what in failures:
        yield document.fault(("tests", number), f"test {rulebook.policy.tests[number].name!r}: {what}")


def _missing_secrets(texts: Texts, rulebook: Rulebook, environment: Mapping[str, str] | None) -> Iterator[str]:
    if environment is None:
        return
    for name, entry in rulebook.models.upstreams.items():
        for key, reference in (("base_url", entry.base_url), ("api_key", entry.api_key)):
            faults: list[str] = []
            secret(reference, environment, faults, f"upstream {name!r}: {key}")
            for fault in faults:
                yield document_of(texts, "models.yaml").fault(("upstreams", name, key), fault)


def signature(folder: Path, others: Iterable[Path] = ()) -> tuple[tuple[str, int, int], ...]:
    """Changes when a file of the folder does, or one of the others: names, sizes, times."""
    found = []
    for path in (*(folder / name for name in FILES), *others):
        try:
            status = path.stat()
        except OSError:
            continue
        found.append((str(path), status.st_mtime_ns, status.st_size))
    return tuple(found)


def collections_of(loaded: Loaded) -> list[CollectionSettings]:
    """knowledge.yaml as the library takes it; paths of sources are meant from the policies folder."""
    folder = Path(loaded.texts.folder)
    return [
        CollectionSettings(
            name=name,
            title=entry.title,
            sources=tuple(
                SourceSettings(source.kind, str((folder / source.path).resolve()), tuple(source.include))
                for source in entry.sources
            ),
            teams=tuple(entry.teams),
            embedder=entry.embedder,
            model=entry.model,
        )
        for name, entry in loaded.rulebook.knowledge.collections.items()
    ]


def unrecorded(loaded: Loaded) -> frozenset[str]:
    """The collections of whose unanswered questions no words are kept."""
    entries = loaded.rulebook.knowledge.collections.items()
    return frozenset(name for name, entry in entries if not entry.record_gaps)


def embedders_of(
    loaded: Loaded, environment: Mapping[str, str], post: PostJson, kept: Mapping[str, Remembered] | None = None
) -> dict[str, Remembered]:
    """The embedders of knowledge.yaml, one object for all who ask. kept: those of before, see `local_embedders`.

    Raises BadConfiguration for a missing secret, and for a model that cannot be loaded.
    """
    faults: list[str] = []
    built: dict[str, Remembered] = {}
    try:
        built |= local_embedders(loaded, kept or {})
    except BadConfiguration as bad:
        faults += bad.faults
    for name, entry in loaded.rulebook.knowledge.embedders.items():
        if not isinstance(entry, UpstreamEmbedderEntry):
            continue
        upstream = loaded.rulebook.models.upstreams[entry.upstream]
        settings = EmbedderSettings(
            name=name,
            base_url=secret(upstream.base_url, environment, faults, f"upstream {entry.upstream!r}: base_url") or "",
            model=entry.model,
            api_key=secret(upstream.api_key, environment, faults, f"upstream {entry.upstream!r}: api_key") or "",
        )
        built[name] = Remembered(OpenAiEmbedder(settings, post))
    if faults:
        raise BadConfiguration(faults)
    return built


def local_embedders(loaded: Loaded, kept: Mapping[str, Remembered]) -> dict[str, Remembered]:
    """The embedders of knowledge.yaml whose model is in a folder; it takes some 0.3 s to load one.

    kept: those of before; one whose entry and files are as they were is taken over with all it remembers.
    Raises BadConfiguration with the line of each whose folder, model or extra is missing or bad.
    """
    folder = Path(loaded.texts.folder)
    faults: list[str] = []
    built: dict[str, Remembered] = {}
    for name, entry in loaded.rulebook.knowledge.embedders.items():
        if not isinstance(entry, OnnxEmbedderEntry):
            continue
        settings = OnnxSettings(name, str((folder / entry.path).resolve()), entry.max_tokens, entry.threads)
        old = kept.get(name)
        if old is not None and isinstance(old.embedder, OnnxEmbedder) and old.embedder.is_still(settings):
            built[name] = old
            continue
        try:
            built[name] = Remembered(OnnxEmbedder(settings))
        except BadConfiguration as bad:
            document = document_of(loaded.texts, "knowledge.yaml")
            faults += [document.fault(("embedders", name, "path"), fault) for fault in bad.faults]
    if faults:
        raise BadConfiguration(faults)
    return built


def training_files(loaded: Loaded) -> dict[str, Path]:
    """The training file of each line that a rule asks about."""
    folder = Path(loaded.texts.folder)
    found = {}
    for name in sorted(loaded.rulebook.policy.asks_tasks):
        line = loaded.rulebook.models.lines[name]
        file = line.versions[line.champion - 1].training_file
        if file is not None:
            found[name] = (folder / file).resolve()
    return found


def examples_of(loaded: Loaded) -> dict[str, Examples]:
    """What the training files of the lines that rules ask about teach; some 0.1 s a line.

    Raises BadConfiguration with every faulty line of every file.
    """
    faults: list[str] = []
    examples = {}
    for name, path in training_files(loaded).items():
        if not path.is_file():
            champion = loaded.rulebook.models.lines[name].champion
            place = ("lines", name, "versions", champion - 1, "training_file")
            faults.append(document_of(loaded.texts, "models.yaml").fault(place, f"there is no file {path}."))
            continue
        try:
            examples[name] = read_examples(path)
        except BadConfiguration as bad:
            faults += bad.faults
    if faults:
        raise BadConfiguration(faults)
    return examples


def tasks_of(loaded: Loaded, embedders: Mapping[str, Remembered], kept_in: Path) -> Tasks:
    """The lines that rules ask about, with their training files read.

    Raises BadConfiguration with every faulty line of every file.
    """
    return Tasks(examples_of(loaded), embedders.get(loaded.rulebook.signals.embedder or ""), kept_in)


def oddities(loaded: Loaded, today: date, teams: frozenset[str] = frozenset(), days: int = 60) -> list[Warned]:
    """What is odd about files that are good. teams: those that are known beside teams.yaml."""
    documents = {name: document_of(loaded.texts, f"{name}.yaml") for name in ("routing", "models", "knowledge")}
    files = Files(
        routing=validate(documents["routing"], RoutingFile),
        catalogue=loaded.rulebook.policy.catalogue,
        rules=documents["routing"],
        models=documents["models"],
        knowledge=documents["knowledge"],
    )
    known = Known(
        today=today,
        has_price=lambda model: loaded.prices.rates(model, today) is not None,
        teams=teams | loaded.rulebook.teams.teams.keys(),
        days=days,
    )
    return warnings_of(files, known)


def shutdowns(loaded: Loaded) -> dict[str, float]:
    """Unix time at which each line's champion is shut down, where it is known."""
    found = {}
    for name, line in loaded.rulebook.models.lines.items():
        day = line.versions[line.champion - 1].shutdown_date
        if day is not None:
            found[name] = (day - utc_day(0.0)).days * 86400.0
    return found
