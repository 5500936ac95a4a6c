"""What is odd about a good policy: it would go live, and somebody may not have meant it so. Pure."""

from collections.abc import Callable, Iterator
from datetime import date
from typing import Literal

from gateway.core.document import Document, Place
from gateway.core.errors import ModelNotFound
from gateway.core.values import Value
from gateway.policy.catalogue import ANY, COLLECTION, Catalogue, Way
from gateway.policy.knowledge_file import UpstreamEmbedderEntry
from gateway.policy.overlap import Group, calls_of, covers, excludes, group_of, is_empty
from gateway.policy.routing_file import CONDITIONS, RoutingFile, RuleEntry, UseEntry, When

# Of the rules that one overlaps with, how many are named.
NAMED = 5

Severity = Literal["warning", "note"]


class Warned(Value, frozen=True):
    """One of them. A warning is likely a slip, a note may well be meant. place: file:line:column."""

    severity: Severity
    place: str
    message: str


class Files(Value, frozen=True):
    """Good files, and what they were read from."""

    routing: RoutingFile
    catalogue: Catalogue
    rules: Document
    models: Document
    knowledge: Document


class Known(Value, frozen=True):
    """What the files themselves do not say.

    has_price: whether a model's tokens have a price today. teams: all there are; none when nobody knows. days: how
    long before its end a line is spoken of.
    """

    today: date
    has_price: Callable[[str], bool]
    teams: frozenset[str] = frozenset()
    days: int = 60


class _Rule(Value, frozen=True):
    """A rule as rules are compared: the calls that it takes, what is written of them, and where it sends them."""

    name: str
    calls: Group
    written: Group
    goes_to: object


def warnings_of(files: Files, known: Known) -> list[Warned]:
    """All warnings and notes, by file and line."""
    found = [*_of_rules(files), *_of_lines(files, known), *_of_prices(files, known)]
    if known.teams:
        found += _of_teams(files, known.teams)
    names = [document.name for document in (files.rules, files.models, files.knowledge)]

    def place(one: Warned) -> tuple[int, int, int]:
        name, line, column = one.place.rsplit(":", 2)
        return names.index(name), int(line), int(column)

    return sorted(found, key=place)


def _of_rules(files: Files) -> Iterator[Warned]:
    entries = files.routing.rules
    rules = [_Rule(rule.name, calls_of(rule), group_of(rule.when), _destination(rule)) for rule in entries]
    for number, (rule, use, when) in enumerate((rule, rule.use, rule.when) for rule in entries):
        place: Place = ("rules", number)
        if when is not None:
            yield from _idle(when, files.rules, (*place, "when"))
        if is_empty(rules[number].calls):
            yield _warning(files.rules, place, f"rule {rule.name!r} never holds: what it asks for excludes itself.")
            continue
        yield from _after_others(files.rules, rules, number)
        if use is not None and use.path != "direct" and not use.fallback:
            what = f"path {use.path} has no `fallback`: when its upstream fails, the call fails."
            yield _warning(files.rules, (*place, "use"), f"rule {rule.name!r}: {what}")


def _idle(when: When, document: Document, place: Place) -> Iterator[Warned]:
    """Conditions that hold for every call."""
    for key, value, here in when.leaves(place):
        if CONDITIONS[key].always(value):
            what = "matches every text" if key == "text_matches" else "holds for every call"
            yield _warning(document, here, f"`{key}` {what} as it is written; it says nothing.")


def _after_others(document: Document, rules: list[_Rule], number: int) -> Iterator[Warned]:
    """What the rules above one leave of it."""
    own, place = rules[number], ("rules", number)
    others = []
    for earlier, other in enumerate(rules[:number]):
        if covers(other.calls, own.calls):
            text = f"rule {own.name!r} is never reached: {_named(document, rules, earlier)} takes all its calls."
            yield _warning(document, place, text)
            return
        shares = not own.written.asked.isdisjoint(other.written.asked)
        is_near = shares or (own.written.looks_up and other.written.looks_up)
        if is_near and not excludes(other.calls, own.calls) and other.goes_to != own.goes_to:
            others.append(earlier)
    if others:
        told = ", ".join(_named(document, rules, earlier) for earlier in others[:NAMED])
        more = f" and {len(others) - NAMED} more" if len(others) > NAMED else ""
        text = f"rule {own.name!r} overlaps with {told}{more}: what both take goes to the earlier one."
        yield Warned("note", document.at(place), text)


def _named(document: Document, rules: list[_Rule], number: int) -> str:
    return f"{rules[number].name!r} (line {document.marks['rules', number][0]})"


def _destination(rule: RuleEntry) -> object:
    use = rule.use
    if use is None:
        return None
    return use.path, use.model, use.line, use.collections, use.on_no_match, use.targets, use.canary


def _of_lines(files: Files, known: Known) -> Iterator[Warned]:
    """Lines whose versions in use have ended or soon will."""
    for name, numbers in _in_use(files).items():
        line = files.catalogue.models.lines[name]
        for number in sorted(numbers):
            end = files.catalogue.end_of_version(name, number)
            left = known.days + 1 if end is None else (end.day - known.today).days
            if end is None or left > known.days:
                continue
            when = f"ends on {end.day}, in {left} days" if left > 0 else f"ended on {end.day}"
            when += "" if end.written == end.day else f" ({end.source})"
            successor = line.successor
            if successor is None:
                then = "it names no `successor`: its calls are then a 404"
            else:
                then = f"its calls then go to its successor, {successor.path} with {successor.line or successor.model}"
            place = ("lines", name, "versions", number - 1, "shutdown_date")
            yield _warning(files.models, place, f"line {name!r}, version {number}, {when}; {then}.")


def _in_use(files: Files) -> dict[str, set[int]]:
    """The versions of each line that its aliases and rules name."""
    lines = files.catalogue.models.lines
    found = {name: {line.champion, line.challenger or line.champion} for name, line in lines.items()}
    for reference, _, _ in _references(files):
        asked = files.catalogue.line_of(reference)
        if asked is not None:
            found[asked[0]].add(asked[1].versions.index(files.catalogue.version(reference)) + 1)
    return found


def _of_prices(files: Files, known: Known) -> Iterator[Warned]:
    """Models whose calls would be booked without a cost, each once; and copies that are never made for it."""
    told: set[str] = set()
    for model, document, place in _models(files):
        if model not in told and not known.has_price(model):
            text = f"model {model!r} has no price: its calls are booked as unpriced, and no budget holds them."
            yield _warning(document, place, text)
        told.add(model)
    for number, rule in enumerate(files.routing.rules):
        shadow = rule.use.shadow if rule.use is not None else None
        reference = (shadow.line or shadow.model) if shadow is not None else None
        if reference and not known.has_price(_model_of(files.catalogue, reference, known.today)):
            text = f"rule {rule.name!r}: the shadow is never made: its model has no price to keep a budget with."
            yield _warning(files.rules, ("rules", number, "use", "shadow"), text)


def _models(files: Files) -> Iterator[tuple[str, Document, Place]]:
    """The ids of all models that calls can be sent to by name, and where each stands."""
    catalogue = files.catalogue
    for name, entry in catalogue.models.models.items():
        if name != ANY:
            yield entry.id or name, files.models, ("models", name)
    for name, numbers in _in_use(files).items():
        for number in sorted(numbers):
            version = catalogue.models.lines[name].versions[number - 1]
            yield version.id, files.models, ("lines", name, "versions", number - 1, "id")
    for reference, document, place in _references(files):
        # What is not named in models.yaml goes to `*` under its own name.
        if reference not in catalogue.models.models and catalogue.line_of(reference) is None:
            yield reference, document, place
    for name, embedder in catalogue.knowledge.embedders.items():
        if isinstance(embedder, UpstreamEmbedderEntry):
            yield embedder.model, files.knowledge, ("embedders", name, "model")


def _references(files: Files) -> Iterator[tuple[str, Document, Place]]:
    """Models and lines that rules, aliases, successors and collections name; an alias as what it stands for."""
    meant, models = files.catalogue.meant, files.catalogue.models
    for number, rule in enumerate(files.routing.rules):
        if rule.use is not None:
            for name, inner in _used(rule.use):
                yield meant(name), files.rules, ("rules", number, "use", *inner)
    for alias, target in models.aliases.items():
        if not target.startswith(COLLECTION):
            yield target, files.models, ("aliases", alias)
    for name, line in models.lines.items():
        successor = (line.successor.line or line.successor.model) if line.successor is not None else None
        if successor:
            yield meant(successor), files.models, ("lines", name, "successor")
    for name, entry in files.catalogue.knowledge.collections.items():
        if entry.model:
            yield meant(entry.model), files.knowledge, ("collections", name, "model")


def _used(use: UseEntry) -> Iterator[tuple[str, Place]]:
    ways: list[tuple[object, Place]] = [(use, ())]
    ways += [(target, ("targets", index)) for index, target in enumerate(use.targets)]
    ways += [(fallback, ("fallback", index)) for index, fallback in enumerate(use.fallback)]
    ways += [(use.canary, ("canary",)), (use.shadow, ("shadow",))]
    for way, place in ways:
        for key in ("model", "line"):
            name = getattr(way, key, None)
            if name:
                yield name, (*place, key)


def _model_of(catalogue: Catalogue, reference: str, today: date) -> str:
    """The model that a name means today; the name itself where it means none."""
    try:
        return catalogue.resolve(Way(path="direct"), reference, "", today).arm.model
    except ModelNotFound:
        return reference


def _of_teams(files: Files, teams: frozenset[str]) -> Iterator[Warned]:
    """Teams that are named and that nobody has made."""
    named = [(files.knowledge, place, team) for place, team in _readers(files.catalogue)]
    for number, rule in enumerate(files.routing.rules):
        leaves = rule.when.leaves(("rules", number, "when")) if rule.when is not None else ()
        for key, value, place in leaves:
            if key == "team":
                named += [(files.rules, (*place, index), team) for index, team in enumerate(value)]
    for document, place, team in named:
        if team not in teams:
            yield _warning(document, place, f"there is no team {team!r}.")


def _readers(catalogue: Catalogue) -> Iterator[tuple[Place, str]]:
    for name, entry in catalogue.knowledge.collections.items():
        for index, team in enumerate(entry.teams):
            if team != ANY:
                yield ("collections", name, "teams", index), team


def _warning(document: Document, place: Place, message: str) -> Warned:
    return Warned("warning", document.at(place), message)
