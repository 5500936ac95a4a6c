"""What is live: the files under policies/ as they stood when they were last all good."""

import logging
import time
from collections.abc import Mapping
from pathlib import Path

from gateway.core.clock import utc_day
from gateway.core.document import validate
from gateway.core.errors import BadConfiguration
from gateway.core.settings import secret
from gateway.core.values import Value
from gateway.knowledge.embedders.openai_api import OpenAiEmbedder, PostJson
from gateway.knowledge.settings import CollectionSettings, EmbedderSettings, SourceSettings
from gateway.policy.explain import run_tests
from gateway.policy.load import FILES, Rulebook, Texts, document_of, load, read_texts
from gateway.pricing.overlay import PriceOverlay
from gateway.pricing.table import PriceTable, table_from

log = logging.getLogger("gateway.policy")


class Loaded(Value, frozen=True):
    """Everything that one reading of the folder means."""

    texts: Texts
    rulebook: Rulebook
    prices: PriceTable


def load_all(folder: Path) -> Loaded:
    """The folder's files, checked together and against their own tests.

    Raises BadConfiguration with every fault of every file.
    """
    texts = read_texts(folder)
    faults: list[str] = []
    prices: PriceTable | None = None
    try:
        prices = table_from(validate(document_of(texts, "prices.yaml"), PriceOverlay))
    except BadConfiguration as bad:
        faults += bad.faults
    try:
        rulebook = load(texts)
    except BadConfiguration as bad:
        raise BadConfiguration([*bad.faults, *faults]) from None
    if faults or prices is None:
        raise BadConfiguration(faults)
    failures = run_tests(rulebook.policy, time.time())
    if failures:
        raise BadConfiguration([f"{folder / 'routing.yaml'}:1:1: {failure}" for failure in failures])
    return Loaded(texts, rulebook, prices)


def signature(folder: Path) -> tuple[tuple[str, int, int], ...]:
    """Changes when a file does: names, sizes, times."""
    found = []
    for name in FILES:
        try:
            status = (folder / name).stat()
        except OSError:
            continue
        found.append((name, status.st_mtime_ns, status.st_size))
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


def embedders_of(loaded: Loaded, environment: Mapping[str, str], post: PostJson) -> dict[str, OpenAiEmbedder]:
    """The embedders of knowledge.yaml at their upstreams. Raises BadConfiguration for a missing secret."""
    faults: list[str] = []
    built = {}
    for name, entry in loaded.rulebook.knowledge.embedders.items():
        upstream = loaded.rulebook.models.upstreams[entry.upstream]
        settings = EmbedderSettings(
            name=name,
            base_url=secret(upstream.base_url, environment, faults, f"upstream {entry.upstream!r}: base_url") or "",
            model=entry.model,
            api_key=secret(upstream.api_key, environment, faults, f"upstream {entry.upstream!r}: api_key") or "",
        )
        built[name] = OpenAiEmbedder(settings, post)
    if faults:
        raise BadConfiguration(faults)
    return built


def shutdowns(loaded: Loaded) -> dict[str, float]:
    """Unix time at which each line's champion is shut down, where it is known."""
    found = {}
    for name, line in loaded.rulebook.models.lines.items():
        day = line.versions[line.champion - 1].shutdown_date
        if day is not None:
            found[name] = (day - utc_day(0.0)).days * 86400.0
    return found
