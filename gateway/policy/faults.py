"""What is wrong with files that can be read: names that mean nothing, rules that take every call."""

from collections.abc import Iterable, Iterator, Sequence

from gateway.core.document import Document, Place
from gateway.core.ids import MADE
from gateway.policy.catalogue import AUTO, Catalogue
from gateway.policy.knowledge_file import KnowledgeFile, UpstreamEmbedderEntry
from gateway.policy.models_file import ModelsFile, SuccessorEntry
from gateway.policy.routing_file import CanaryEntry, RoutingFile, RuleEntry, UseEntry, WayEntry, WeightedEntry, When
from gateway.policy.salvage import Doubt
from gateway.policy.tuning_file import TuningFile


class Named:
    """What names mean, as far as models.yaml and knowledge.yaml can be read: one in doubt is let pass."""

    def __init__(self, catalogue: Catalogue, models: Doubt | None = None, knowledge: Doubt | None = None) -> None:
        self._catalogue = catalogue
        self._models = models or Doubt()
        self._knowledge = knowledge or Doubt()

    def upstream(self, name: str) -> bool:
        """Whether it is, or may be, an upstream."""
        return name in self._catalogue.models.upstreams or self._models.about(name)

    def model(self, name: str) -> bool:
        """Whether it is, or may be, a model that a rule may name; `auto` never is."""
        return self._catalogue.knows_model(name) or (name != AUTO and self._models.about(name))

    def line(self, reference: str) -> bool:
        """Whether it is, or may be, a line or a version of one."""
        return self._catalogue.knows_line(reference) or self._models.about(reference)

    def collection(self, name: str) -> bool:
        """Whether it is, or may be, a collection."""
        is_made = name.startswith(MADE)  # Over the API: whether it exists is not the files' affair.
        return is_made or name in self._catalogue.knowledge.collections or self._knowledge.about(name)

    def embedder(self, name: str) -> bool:
        """Whether it is, or may be, an embedder."""
        return name in self._catalogue.knowledge.embedders or self._knowledge.about(name)

    def reranker(self, name: str) -> bool:
        """Whether it is, or may be, a reranker."""
        return name in self._catalogue.knowledge.rerankers or self._knowledge.about(name)

    def unteachable(self, name: str) -> str | None:
        """Why nothing can be like the examples of this line; None when something can, or may."""
        entry = self._catalogue.models.lines.get(name)
        if entry is None:
            return None if self._models.about(name) else f"{name!r} is no line of models.yaml."
        if entry.versions[entry.champion - 1].training_file is None:
            return f"line {name!r} has no `training_file` for its champion: there are no examples to compare with."
        return None


def routing_faults(routing: RoutingFile, document: Document, catalogue: Catalogue) -> Iterator[str]:
    """Every fault as file:line:column. All of them make the file unusable."""
    return rule_faults(list(enumerate(routing.rules)), document, Named(catalogue))


def rule_faults(rules: Sequence[tuple[int, RuleEntry]], document: Document, named: Named) -> Iterator[str]:
    """The same for those rules of a file that are good by themselves, each with its number."""
    yield from _twice(document)
    last = len(document.data["rules"]) - 1 if rules else 0
    for number, rule in rules:
        place: Place = ("rules", number)
        written = rule.when.written() if rule.when is not None else []
        if not written and number < last:
            yield document.fault(place, f"rule {rule.name!r} holds for every call, so the rules below it never do.")
        if written and number == last:
            yield document.fault(place, f"the last rule, {rule.name!r}, must have no `when`: it takes the other calls.")
        if rule.when is not None:
            yield from _when_faults(rule.when, document, (*place, "when"), named)
        if rule.use is not None:
            yield from _use_faults(rule.use, document, (*place, "use"), named)


def model_faults(file: ModelsFile, document: Document, named: Named) -> Iterator[str]:
    """Upstreams, lines and collections that models.yaml names and that are not there."""
    for name, entry in file.models.items():
        if not named.upstream(entry.upstream):
            yield document.fault(("models", name, "upstream"), f"upstream {entry.upstream!r} is not defined above.")
    for name, line in file.lines.items():
        for index, version in enumerate(line.versions):
            if not named.upstream(version.upstream):
                place = ("lines", name, "versions", index, "upstream")
                yield document.fault(place, f"upstream {version.upstream!r} is not defined above.")
        if line.successor is not None:
            yield from _successor_faults(name, line.successor, document, named)


def knowledge_faults(file: KnowledgeFile, document: Document, named: Named) -> Iterator[str]:
    """Models, embedders and upstreams that knowledge.yaml names and that are not there."""
    for name, entry in file.collections.items():
        if entry.model and not named.model(entry.model):
            place = ("collections", name, "model")
            yield document.fault(place, f"model {entry.model!r} is not in models.yaml, and there is no '*'.")
        if entry.embedder and not named.embedder(entry.embedder):
            place = ("collections", name, "embedder")
            yield document.fault(place, f"embedder {entry.embedder!r} is not defined under embedders.")
        if entry.reranker and not named.reranker(entry.reranker):
            place = ("collections", name, "reranker")
            yield document.fault(place, f"reranker {entry.reranker!r} is not defined under rerankers.")
    yield from _retriever_faults(file, document, named)


def _retriever_faults(file: KnowledgeFile, document: Document, named: Named) -> Iterator[str]:
    used = file.vector_stores.embedder
    if used and not named.embedder(used):
        yield document.fault(("vector_stores", "embedder"), f"embedder {used!r} is not defined under embedders.")
    for name, embedder in file.embedders.items():
        if isinstance(embedder, UpstreamEmbedderEntry) and not named.upstream(embedder.upstream):
            place = ("embedders", name, "upstream")
            yield document.fault(place, f"upstream {embedder.upstream!r} is not in models.yaml.")
    for name, reranker in file.rerankers.items():
        if not named.upstream(reranker.upstream):
            place = ("rerankers", name, "upstream")
            yield document.fault(place, f"upstream {reranker.upstream!r} is not in models.yaml.")


def _twice(document: Document) -> Iterator[str]:
    """Names that stand twice, also where the rest of a rule is faulty."""
    data = document.data if isinstance(document.data, dict) else {}
    seen: set[str] = set()
    for number, entry in enumerate(data["rules"] if isinstance(data.get("rules"), list) else []):
        name = entry.get("name") if isinstance(entry, dict) else None
        if not isinstance(name, str):
            continue
        if name in seen:
            yield document.fault(("rules", number, "name"), f"rule {name!r} stands twice; names must differ.")
        seen.add(name)


def _when_faults(when: When, document: Document, place: Place, named: Named) -> Iterator[str]:
    for key, value, here in when.leaves(place):
        if key == "knowledge":
            yield from _unknown(value.collections, document, (*here, "collections"), named)
        elif key == "task":
            fault = named.unteachable(value.line)
            if fault is not None:
                yield document.fault((*here, "line"), fault)


def _use_faults(use: UseEntry, document: Document, place: Place, named: Named) -> Iterator[str]:
    ways: list[tuple[WayEntry, Place]] = [(use, place)]
    ways += [(fallback, (*place, "fallback", index)) for index, fallback in enumerate(use.fallback)]
    if use.shadow is not None:
        ways.append((use.shadow, (*place, "shadow")))
    for way, here in ways:
        yield from _unknown(way.collections, document, (*here, "collections"), named)
        if way.fallback_model and not named.model(way.fallback_model):
            yield document.fault((*here, "fallback_model"), _unknown_model(way.fallback_model))
        if way.judge is not None and not named.model(way.judge.model):
            yield document.fault((*here, "judge", "model"), _unknown_model(way.judge.model))
    targets: list[tuple[WayEntry | WeightedEntry | CanaryEntry, Place]] = [*ways]
    targets += [(target, (*place, "targets", index)) for index, target in enumerate(use.targets)]
    if use.canary is not None:
        targets.append((use.canary, (*place, "canary")))
    for target, here in targets:
        if target.line and not named.line(target.line):
            yield document.fault((*here, "line"), f"{target.line!r} is no line, or no version of one, in models.yaml.")
        if target.model and not named.model(target.model):
            yield document.fault((*here, "model"), _unknown_model(target.model))


def _successor_faults(name: str, successor: SuccessorEntry, document: Document, named: Named) -> Iterator[str]:
    here = ("lines", name, "successor")
    if successor.line and not named.line(successor.line):
        yield document.fault((*here, "line"), f"{successor.line!r} is no line, or no version of one.")
    if successor.model and not named.model(successor.model):
        yield document.fault((*here, "model"), f"model {successor.model!r} is not defined above.")
    yield from _unknown(successor.collections, document, (*here, "collections"), named)


def _unknown(names: Iterable[str], document: Document, place: Place, named: Named) -> Iterator[str]:
    for index, name in enumerate(names):
        if not named.collection(name):
            yield document.fault((*place, index), f"collection {name!r} is not in knowledge.yaml.")


def _unknown_model(name: str) -> str:
    if name == AUTO:
        return "'auto' is what callers say to leave the choice to this file; name the model here."
    return f"model {name!r} is not in models.yaml, and there is no '*'."


def tuning_faults(file: TuningFile, document: Document, named: Named) -> Iterator[str]:
    """Upstreams and trainers that tuning.yaml names and that are not there."""
    for name, entry in file.trainers.items():
        for key in ("upstream", "calls_upstream"):
            upstream = getattr(entry, key, None)
            if upstream is not None and not named.upstream(upstream):
                yield document.fault(("trainers", name, key), f"upstream {upstream!r} is not in models.yaml.")
    for number, rule in enumerate(file.jobs):
        if rule.trainer not in file.trainers:
            told = f"trainer {rule.trainer!r} is not defined under trainers."
            yield document.fault(("jobs", number, "trainer"), told)
