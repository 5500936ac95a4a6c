"""What is live: the files under policies/ as they stood when they were last all good."""

import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from pathlib import Path

import msgspec

from gateway.core.clock import utc_day
from gateway.core.document import validate
from gateway.core.errors import BadConfiguration
from gateway.core.settings import secret
from gateway.core.values import Value
from gateway.knowledge.embedders.remembered import Remembered
from gateway.knowledge.settings import SourceSettings
from gateway.knowledge.sources import KINDS
from gateway.policy.explain import failing_tests
from gateway.policy.load import FILES, Rulebook, Texts, document_of, in_order, load, read_texts
from gateway.policy.registry_file import KEPT, LINE_FILES, OUR_FILES, REGISTRY
from gateway.policy.routing_file import RoutingFile
from gateway.policy.sources_file import SECRETS, GitEntry, LocalEntry, SourceEntry, is_folder, seconds_of
from gateway.policy.warnings import Files, Known, Warned, warnings_of
from gateway.pricing.overlay import PriceOverlay
from gateway.pricing.table import PriceTable, table_from
from gateway.tuning.examples import Examples, read_examples
from gateway.tuning.tasks import Tasks

log = logging.getLogger("gateway.policy")


class Loaded(Value, frozen=True):
    """Everything that one reading of the folder means. line_files: where files of lines lie that ids name."""

    texts: Texts
    rulebook: Rulebook
    prices: PriceTable
    line_files: Path = Path()


def load_all(folder: Path, environment: Mapping[str, str] | None = None, data: Path | None = None) -> Loaded:
    """The folder's files, checked together and against their own tests.

    environment: where secrets are looked for; without it nobody looks. data: the folder of a gateway, where the
    models and lines of its registry are kept. Raises BadConfiguration with every fault of
    every file.
    """
    texts = read_texts(folder)
    kept = data / KEPT if data is not None else None
    if kept is not None and kept.is_file() and (registry := kept.read_bytes()):
        texts.files[REGISTRY] = registry
    faults: list[str] = []
    prices: PriceTable | None = None
    rulebook: Rulebook | None = None
    try:
        rulebook = load(texts)
        faults += _failures(texts, rulebook)
        faults += _missing_secrets(texts, rulebook, environment)
        faults += _source_faults(texts, rulebook, environment)
    except BadConfiguration as bad:
        faults += bad.faults
    try:
        prices = table_from(validate(document_of(texts, "prices.yaml"), PriceOverlay))
    except BadConfiguration as bad:
        faults += bad.faults
    if faults or rulebook is None or prices is None:
        raise BadConfiguration(in_order(faults))
    return Loaded(texts, rulebook, prices, Path() if data is None else data / LINE_FILES)


def _failures(texts: Texts, rulebook: Rulebook) -> Iterator[str]:
    failures = failing_tests(rulebook.policy, time.time())
    if failures and REGISTRY in texts.files:
        failures = _of_the_files(texts, failures)
    if not failures:
        return
    document = document_of(texts, "routing.yaml")
    for number, what in failures:
        yield document.fault(("tests", number), f"test {rulebook.policy.tests[number].name!r}: {what}")


def _of_the_files(texts: Texts, failures: list[tuple[int, str]]) -> list[tuple[int, str]]:
    """Those that fail also without the registry: a change of a line must not make files bad that are good.

    All of them where rules name lines that only the registry has.
    """
    written = {name: text for name, text in texts.files.items() if name != REGISTRY}
    try:
        policy = load(Texts(texts.folder, written)).policy
    except BadConfiguration:
        return failures
    own = {number for number, _ in failing_tests(policy, time.time())}
    return [failure for failure in failures if failure[0] in own]


def _missing_secrets(texts: Texts, rulebook: Rulebook, environment: Mapping[str, str] | None) -> Iterator[str]:
    if environment is None:
        return
    for name, entry in rulebook.models.upstreams.items():
        for key, reference in (("base_url", entry.base_url), ("api_key", entry.api_key)):
            faults: list[str] = []
            secret(reference, environment, faults, f"upstream {name!r}: {key}")
            for fault in faults:
                yield document_of(texts, "models.yaml").fault(("upstreams", name, key), fault)


def _source_faults(texts: Texts, rulebook: Rulebook, environment: Mapping[str, str] | None) -> Iterator[str]:
    """Secrets that are missing, and sources that stand twice: each keeps what it knows under its kind and place."""
    document = document_of(texts, "knowledge.yaml")
    for name, collection in rulebook.knowledge.collections.items():
        keys: set[str] = set()
        for number, entry in enumerate(collection.sources):
            place = ("collections", name, "sources", number)
            key = source_of(entry, Path(texts.folder)).key
            if key in keys:
                yield document.fault(place, f"source {key!r} stands twice in {name!r}.")
            keys.add(key)
            for word in SECRETS if environment is not None else ():
                faults: list[str] = []
                secret(getattr(entry, word, None), environment or {}, faults, f"source of {name!r}: {word}")
                for fault in faults:
                    yield document.fault((*place, word), fault)


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


def source_of(entry: SourceEntry, folder: Path) -> SourceSettings:
    """A source as its connector takes it: the entry's keys by their names, its place as `path`."""
    written = entry.model_dump(exclude_none=True)
    if "every" in written:
        written["every_seconds"] = seconds_of(written.pop("every"))
    place = written.pop("url", None) or written["path"]
    if isinstance(entry, LocalEntry) or (isinstance(entry, GitEntry) and is_folder(place)):
        place = str((folder / place).resolve())
    return msgspec.convert(written | {"path": place}, KINDS[entry.kind].settings)


def training_files(loaded: Loaded) -> dict[str, Path]:
    """The training file of each line that a rule asks about."""
    folder = Path(loaded.texts.folder)
    found = {}
    for name in sorted(loaded.rulebook.policy.asks_tasks):
        line = loaded.rulebook.models.lines[name]
        file = line.versions[line.champion - 1].training_file
        if file is not None and file.startswith(OUR_FILES):
            found[name] = loaded.line_files / f"{file}.jsonl"
        elif file is not None:
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
        end = loaded.rulebook.policy.catalogue.end_of_version(name, line.champion)
        if end is not None:
            found[name] = (end.day - utc_day(0.0)).days * 86400.0
    return found
