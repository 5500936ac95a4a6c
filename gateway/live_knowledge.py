"""knowledge.yaml as the library takes it."""

from collections.abc import Mapping
from pathlib import Path

from gateway.core.errors import BadConfiguration
from gateway.core.settings import secret
from gateway.knowledge.embedders.onnx_directory import OnnxEmbedder
from gateway.knowledge.embedders.openai_api import OpenAiEmbedder, PostJson
from gateway.knowledge.embedders.remembered import Remembered
from gateway.knowledge.settings import CollectionSettings, EmbedderSettings, OnnxSettings, RerankerSettings
from gateway.live import Loaded, source_of
from gateway.policy.knowledge_file import OnnxEmbedderEntry, UpstreamEmbedderEntry
from gateway.policy.load import document_of


def collections_of(loaded: Loaded, environment: Mapping[str, str] | None = None) -> list[CollectionSettings]:
    """knowledge.yaml as the library takes it; paths of sources are meant from the policies folder.

    environment: None leaves rerankers out, which need its secrets.
    """
    folder = Path(loaded.texts.folder)
    rerankers = {} if environment is None else _rerankers(loaded, environment)
    return [
        CollectionSettings(
            name=name,
            title=entry.title,
            sources=tuple(source_of(source, folder) for source in entry.sources),
            teams=tuple(entry.teams),
            embedder=entry.embedder,
            model=entry.model,
            reranker=rerankers.get(entry.reranker or ""),
        )
        for name, entry in loaded.rulebook.knowledge.collections.items()
    ]


def _rerankers(loaded: Loaded, environment: Mapping[str, str]) -> dict[str, RerankerSettings]:
    """By their names. A secret that is missing is told by whoever builds the upstreams; here it is empty."""
    built = {}
    for name, entry in loaded.rulebook.knowledge.rerankers.items():
        upstream = loaded.rulebook.models.upstreams[entry.upstream]
        base_url, api_key = (secret(one, environment) or "" for one in (upstream.base_url, upstream.api_key))
        built[name] = RerankerSettings(name, base_url, entry.model, api_key, entry.kind)
    return built


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
