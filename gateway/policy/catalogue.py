"""The models that exist: what a name means today, and where its calls go.

A name that a caller may send is an upstream model, an alias, a line (`support-tone`, `support-tone@v2`,
`@champion`), the id of a tuned model, `kb/<collection>`, or `auto`, which only a rule can turn into a model.
"""

from collections.abc import Sequence
from datetime import date
from typing import Literal

import msgspec

from gateway.core.decision import Arm, Grounding, OnNoMatch, Path, RagTerms
from gateway.core.errors import ModelNotFound
from gateway.core.ids import MADE
from gateway.core.values import Value
from gateway.policy.ends import End, Ends
from gateway.policy.knowledge_file import KnowledgeFile
from gateway.policy.models_file import LineEntry, ModelsFile, SuccessorEntry, VersionEntry

ANY = "*"
AUTO = "auto"
COLLECTION = "kb/"
# A successor may itself have a successor; a ring of them is a mistake.
MAX_SUCCESSORS = 5


class Way(Value, frozen=True):
    """One way as a rule names it, before the call fills in what it leaves open."""

    path: Path
    model: str | None = None
    line: str | None = None
    collections: tuple[str, ...] = ()
    on_no_match: OnNoMatch = "direct"
    terms: "Terms | None" = None


class Terms(Value, frozen=True):
    """What a rule says of answers from sources, before its models are resolved."""

    no_match_reply: Literal["fixed", "instructed"] = "fixed"
    no_match_text: str = ""
    fallback_model: str | None = None
    grounding: Grounding | None = None
    judge: str | None = None
    judge_share: float = 0.0
    match_over: float | None = None


class Copy(Value, frozen=True):
    """A shadow as a rule names it: where copies go, of which share of the calls, up to what they may cost a month."""

    way: Way
    share: float
    monthly_nano_usd: int


class OnTrial(Value, frozen=True):
    """A line's challenger that answers a share of its champion's calls. champion: its number."""

    arm: Arm
    champion: int
    share: float


class Resolved(Value, frozen=True):
    """The arm that a way means today, the line whose end moved it there, and what is on trial in its place."""

    arm: Arm
    successor_of: str | None = None
    trial: OnTrial | None = None


class Catalogue:
    """Names of models.yaml and knowledge.yaml, resolved. Pure look-ups."""

    def __init__(self, models: ModelsFile, knowledge: KnowledgeFile, ends: Ends | None = None) -> None:
        self.models = models
        self.knowledge = knowledge
        self.ends = ends or Ends()
        # Worked out once: every decision for a line asks.
        self._ends: dict[tuple[str, int], End | None] = {
            (name, number): self.ends.of_version(version)
            for name, line in models.lines.items()
            for number, version in enumerate(line.versions, 1)
        }
        self._tuned: dict[str, tuple[str, int]] = {
            version.id: (name, number)
            for name, line in models.lines.items()
            for number, version in enumerate(line.versions, 1)
        }

    def resolve(self, way: Way, asked: str, team: str, today: date) -> Resolved:
        """The arm for a way. asked: the model that the caller named, used where the way names none.

        A caller who names a version of the line that the way names means that version.

        Raises ModelNotFound (404) when the name means nothing, or nothing to this team.
        """
        name = way.line or way.model or asked
        name = self.models.aliases.get(name, name)
        if way.path == "fine_tuned" and way.line is not None:
            name = _pinned(name, self.meant(asked))
        if way.path == "rag":
            return self._rag(way, name, team, today)
        if name.startswith(COLLECTION):
            return self._collection(name.removeprefix(COLLECTION), team, today, way)
        resolved = self._answering(name, today, team)
        if way.path == "fine_tuned" and resolved.arm.line is None and resolved.successor_of is None:
            raise ModelNotFound(
                f"{name!r} is not a fine-tuned model line, and the rule sends it to one.", param="model"
            )
        return resolved

    def meant(self, name: str) -> str:
        """What an alias stands for; any other name stands for itself."""
        return self.models.aliases.get(name, name)

    def line_of(self, name: str) -> tuple[str, LineEntry] | None:
        """The line a name stands for, with or without `@version`; None when it stands for none."""
        line_name = name.partition("@")[0]
        line = self.models.lines.get(line_name)
        if line is not None:
            return line_name, line
        tuned = self._tuned.get(name)
        return (tuned[0], self.models.lines[tuned[0]]) if tuned else None

    def knows_line(self, reference: str) -> bool:
        """Whether `line`, `line@v2`, `line@champion` or `line@challenger` stands for a version that exists."""
        try:
            self.version(reference)
        except ModelNotFound:
            return False
        return True

    def version(self, reference: str) -> VersionEntry:
        """The version that a known line reference stands for today. Raises ModelNotFound for another name."""
        reference = self.meant(reference)
        found = self.line_of(reference)
        if found is None:
            raise _no_model(reference)
        return found[1].versions[self._number(reference, found[1]) - 1]

    def end_of(self, reference: str) -> End | None:
        """When the version that a line reference stands for is shut down; None when nobody says.

        Raises ModelNotFound for a name that stands for no line.
        """
        reference = self.meant(reference)
        found = self.line_of(reference)
        if found is None:
            raise _no_model(reference)
        return self._ends[found[0], self._number(reference, found[1])]

    def end_of_version(self, line: str, number: int) -> End | None:
        """When a version of a line that is known is shut down."""
        return self._ends.get((line, number))

    def is_closed(self, name: str, team: str) -> bool:
        """Whether a name stands for a line, a version or a model that is here and that this team may not call."""
        name = self.meant(name)
        found = self.line_of(name)
        entry = found[1] if found is not None else self.models.models.get(name)
        return entry is not None and not open_to(entry.teams, team)

    def knows_model(self, name: str) -> bool:
        """Whether a rule may name this model: it, a line, or `*` is in models.yaml. `auto` is no model."""
        if name in {AUTO, ANY, ""}:
            return False
        models, name = self.models.models, self.meant(name)
        return name in models or self.knows_line(name) or (ANY in models and not name.startswith(COLLECTION))

    def readable(self, collection: str, team: str) -> bool:
        """Whether a team may read a collection: it is named there, or `*` is. Nobody by default."""
        entry = self.knowledge.collections.get(collection)
        return entry is not None and (team in entry.teams or "*" in entry.teams)

    def default_upstream(self) -> str:
        """Where a call goes that names no model: the upstream of `*`, else the first one."""
        entry = self.models.models.get(ANY)
        return entry.upstream if entry else next(iter(self.models.upstreams))

    def _answering(self, name: str, today: date, team: str, depth: int = 0) -> Resolved:
        if name == AUTO:
            raise ModelNotFound(
                "'auto' leaves the model to the policy, and no rule names one for this call.", param="model"
            )
        found = self.line_of(name)
        if found is not None and not open_to(found[1].teams, team):
            raise _no_model(name)
        if found is not None:
            return self._line(name, *found, today, team, depth)
        entry = self.models.models.get(name) or self.models.models.get(ANY)
        if entry is None or not name or name == ANY or name.startswith(COLLECTION):
            raise _no_model(name)
        if entry.teams and not open_to(entry.teams, team):
            raise _no_model(name)
        return Resolved(Arm(path="direct", upstream=entry.upstream, model=entry.id or name))

    def _line(self, name: str, line_name: str, line: LineEntry, today: date, team: str, depth: int) -> Resolved:
        number = self._number(name, line)
        version: VersionEntry = line.versions[number - 1]
        end = self._ends[line_name, number]
        # A day that nobody wrote here moves calls to a successor; without one the provider is asked while it answers.
        day = None if end is None else end.written or (end.day if line.successor is not None else None)
        if day is None or today < day:
            arm = _arm(line_name, number, version)
            if line.successor is not None and depth < MAX_SUCCESSORS:
                arm = msgspec.structs.replace(arm, successor=self._stand_in(arm, line, today, team, depth))
            return Resolved(arm, trial=self._on_trial(name, line_name, line, today) if line.canary else None)
        if line.successor is None or depth >= MAX_SUCCESSORS:
            raise ModelNotFound(
                f"Model line {line_name!r} ended on {day} and names no successor. "
                "Add `successor:` in policies/models.yaml.",
                param="model",
            )
        return self._successor(line_name, line.successor, today, team, depth + 1)

    def _successor(self, ended: str, successor: SuccessorEntry, today: date, team: str, depth: int) -> Resolved:
        target = self.meant(successor.line or successor.model or "")
        answer = self._answering(target, today, team, depth).arm
        if successor.path == "rag":
            answer = _with_sources(answer, tuple(successor.collections), "direct")
        return Resolved(answer, successor_of=ended)

    def _stand_in(self, gone: Arm, line: LineEntry, today: date, team: str, depth: int) -> Arm | None:
        """Who answers for an arm whose model its provider does not have any more; None when nobody else can."""
        if line.successor is None or gone.line is None:
            return None
        try:
            arm = self._successor(gone.line, line.successor, today, team, depth + 1).arm
        except ModelNotFound:
            return None
        is_same = (arm.upstream, arm.model) == (gone.upstream, gone.model)
        return None if is_same else msgspec.structs.replace(arm, successor_of=gone.line)

    def _on_trial(self, name: str, line_name: str, line: LineEntry, today: date) -> OnTrial | None:
        """What is on trial for calls of the champion: of `line` and `line@champion`, not of a version that is named."""
        number = line.challenger
        if number is None or number == line.champion or name not in {line_name, f"{line_name}@champion"}:
            return None
        end = self._ends[line_name, number]
        if end is not None and today >= end.day:
            return None
        arm = _arm(line_name, number, line.versions[number - 1], is_canary=True)
        return OnTrial(arm, line.champion, line.canary)

    def _number(self, name: str, line: LineEntry) -> int:
        if name in self._tuned:
            return self._tuned[name][1]
        _, at, alias = name.partition("@")
        alias = alias if at else "champion"
        if alias == "champion":
            return line.champion
        if alias == "challenger" and line.challenger:
            return line.challenger
        digits = alias.removeprefix("v")
        if digits.isascii() and digits.isdigit() and len(digits) <= 6 and 1 <= int(digits) <= len(line.versions):
            return int(digits)
        raise _no_model(name)

    def _rag(self, way: Way, name: str, team: str, today: date) -> Resolved:
        if way.model is None and name.startswith(COLLECTION):
            collection = name.removeprefix(COLLECTION)
            entry = self.knowledge.collections.get(collection)
            named = entry.model if entry is not None and self.readable(collection, team) else None
            name = self.meant(named) if named else name
        resolved = self._answering(name, today, team)
        terms = None if way.terms is None else self._terms(way.terms, today, team)
        return _sourced(resolved, way.collections, way.on_no_match, terms)

    def _terms(self, terms: Terms, today: date, team: str) -> RagTerms:
        """The terms with the arms that their models mean today. One that is gone helps nobody, and costs no call."""

        def arm(name: str | None) -> Arm | None:
            try:
                return None if name is None else self._answering(self.meant(name), today, team).arm
            except ModelNotFound:
                return None

        return RagTerms(
            terms.no_match_reply,
            terms.no_match_text,
            arm(terms.fallback_model),
            terms.grounding,
            arm(terms.judge),
            terms.judge_share,
            terms.match_over,
        )

    def _collection(self, collection: str, team: str, today: date, way: Way) -> Resolved:
        entry = self.knowledge.collections.get(collection)
        made = self.knowledge.vector_stores if collection.startswith(MADE) else None
        # A collection that the team may not read must look like one that does not exist; who may read one that a
        # caller made only the library knows.
        if made is None and not self.readable(collection, team):
            raise _no_model(COLLECTION + collection)
        model = way.model or (entry.model if entry is not None else made.model if made is not None else None)
        if model is None:
            raise ModelNotFound(
                f"Collection {collection!r} names no model to answer with. Add `model:` in policies/knowledge.yaml"
                f"{'' if made is None else ', under `vector_stores:`'}.",
                param="model",
            )
        resolved = self._answering(self.meant(model), today, team)
        return _sourced(resolved, (collection,), "abstain")


def _arm(line: str, number: int, version: VersionEntry, *, is_canary: bool = False) -> Arm:
    return Arm("fine_tuned", version.upstream, version.id, line, number, is_canary=is_canary)


def _sourced(
    resolved: Resolved, collections: tuple[str, ...], on_no_match: OnNoMatch, terms: RagTerms | None = None
) -> Resolved:
    """The same with sources, whoever comes to answer."""
    trial = resolved.trial
    if trial is not None:
        trial = msgspec.structs.replace(trial, arm=_with_sources(trial.arm, collections, on_no_match, terms))
    arm = _with_sources(resolved.arm, collections, on_no_match, terms)
    return Resolved(arm, resolved.successor_of, trial)


def _with_sources(arm: Arm, collections: tuple[str, ...], on_no_match: OnNoMatch, terms: RagTerms | None = None) -> Arm:
    successor = arm.successor
    if successor is not None and successor.path != "rag":
        successor = _with_sources(successor, collections, on_no_match, terms)
    return msgspec.structs.replace(
        arm, path="rag", collections=collections, on_no_match=on_no_match, terms=terms, successor=successor
    )


def open_to(teams: Sequence[str], team: str) -> bool:
    """Whether a team may call what these may; nobody named is everybody, and "" asks for no team in particular."""
    return not teams or not team or team in teams


def _pinned(line: str, asked: str) -> str:
    """The version that a caller names of the very line that a rule sends to, else what the rule says."""
    return asked if "@" not in line and asked.startswith(f"{line}@") else line


def _no_model(name: str) -> ModelNotFound:
    return ModelNotFound(f"The model {name!r} does not exist or you do not have access to it.", param="model")
