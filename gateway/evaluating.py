"""Versions of a line, and other ways to answer, measured on one frozen set: an eval with a run for each arm.

The runs are those of `/v1/evals`, evaluated by the same runner of a serving gateway and booked to the line's owner;
what is here begins them and takes in what came of them.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from gateway.core.call import Principal
from gateway.core.clock import Clock, utc_day
from gateway.core.errors import InvalidRequest, NotFound
from gateway.core.ids import new_id
from gateway.core.page import PageAsked
from gateway.core.values import Value
from gateway.db.engine import Database
from gateway.registry import Registry
from gateway.tuning.comparison import Comparison, compare
from gateway.tuning.evals.evaluating import read_outcome
from gateway.tuning.evals.items.store import ItemStore
from gateway.tuning.evals.runs.store import RunStore
from gateway.tuning.evals.store import EvalStore
from gateway.tuning.evals.values import MADE, RUN, Eval, OutputItem, Row, Run
from gateway.tuning.golden import GoldenItem, default_grader, measure_name, shared
from gateway.tuning.graders.written import read_grader
from gateway.tuning.lines.values import Line, Scored

MOST_ARMS = 12
# Of an arm's items; with more that came to nothing the rest are no measure of it.
MOST_ERRORS = 0.01
PAGE = 100
NAME = "evaluation"
KIND = "line_evaluation"


class ArmAsked(Value, frozen=True):
    """A way to answer. version: of the line; else model, and a collection that it may search."""

    name: str
    model: str
    version: int | None = None
    collection: str = ""


class ArmDone(Value, frozen=True):
    """How far an arm is, and how it did. errors: items that no answer or no grade came of; they have no score.

    mean, comparison: None until it is complete, and for an arm that was not measured: more than one in a hundred of its
    items came to nothing, as `fault` says. comparison: with the champion, on the items that both answered.
    """

    arm: ArmAsked
    status: str
    done: int
    errors: int
    mean: float | None = None
    comparison: Comparison | None = None
    fault: str = ""


class Evaluated(Value, frozen=True):
    """An evaluation. set_hash: names the set and its grader. items: of the set. is_over: nothing more happens."""

    id: str
    line: str
    set_hash: str
    items: int
    arms: tuple[ArmDone, ...]
    is_over: bool


class LineEvaluations:
    """Begins evaluations and tells of them."""

    def __init__(self, database: Database, registry: Registry, clock: Clock) -> None:
        self._evals = EvalStore(database)
        self._runs = RunStore(database)
        self._items = ItemStore(database)
        self._registry = registry
        self._clock = clock

    async def begin(
        self,
        name: str,
        items: Sequence[GoldenItem],
        arms: Sequence[ArmAsked],
        *,
        grader: bytes | None = None,
        team: str = "",
        identity: str = "",
    ) -> str:
        """Begins an evaluation and gives its id; the champion is always an arm.

        team: whose calls they are, for a line that nobody owns. identity: the id it is to have; begun again under it,
        what is begun is gone on with. Raises InvalidRequest (400), NotFound (404).
        """
        line = (await self._registry.one(name)).line
        owner = line.owner or team
        if not owner:
            raise InvalidRequest(f"Nobody owns line {name!r}; say whose calls these are: --team.", param="team")
        criterion = _criterion(items, grader)
        read_grader(criterion)
        arms = [champion_of(line), *(arm for arm in arms if arm.version != line.champion)]
        if len(arms) > MOST_ARMS:
            raise InvalidRequest(f"There are {len(arms)} arms; at most {MOST_ARMS}.", param="arms")
        made = self._eval(identity or new_id(MADE), owner, line, items, arms, criterion)
        if await self._evals.find(made.id, owner) is None:
            await self._evals.create(made)
        rows = [Row(msgspec.json.encode(item).decode()) for item in items]
        for number, arm in enumerate(arms):
            run = self._run(made, number, arm, items)
            if await self._runs.find(made.id, run.id) is None:
                await self._runs.create(run, rows)
        return made.id

    async def due(self, name: str, items: Sequence[GoldenItem], grader: bytes | None, room: int) -> list[int]:
        """The versions to measure where nobody names any, beside the champion: at most so many.

        The challenger, the newest one, and those without a score by this measure; none that has ended. Raises NotFound.
        """
        shown = await self._registry.one(name)
        line, by = shown.line, measure_name(items, _criterion(items, grader))
        today = utc_day(self._clock.wall()).isoformat()
        alive = [one for one in shown.versions if (one.version.shutdown_date or "9999") > today]
        newest = max((one.version.number for one in alive), default=line.champion)
        without = {one.version.number for one in alive if by not in dict(one.scores)}
        wanted = ({newest, *without} | ({line.challenger} if line.challenger else set())) - {line.champion}
        first = sorted(wanted, key=lambda number: (number != line.challenger, -number))
        return sorted(first[: max(0, room)])

    async def told(self, name: str, identity: str, team: str = "") -> Evaluated:
        """How an evaluation stands. One that is over has left the scores of versions with the line, for `promote`.

        Raises NotFound (404).
        """
        line = (await self._registry.one(name)).line
        made = await self._evals.find(identity, line.owner or team)
        kept = None if made is None else msgspec.json.decode(made.metadata, type=dict[str, str])
        if made is None or kept is None or kept.get("kind") != KIND or kept.get("line") != name:
            raise NotFound(f"Line {name!r} has no evaluation {identity!r}.", param="evaluation")
        arms = msgspec.json.decode(kept["arms"], type=list[ArmAsked])
        page = await self._runs.page(made.id, PageAsked(PAGE, "asc"), None)
        runs = {run.id: run for run in page.items}
        progress = await self._runs.progress(list(runs))
        is_over = len(runs) == len(arms) and all(
            run.status in {"completed", "failed", "canceled"} for run in runs.values()
        )
        scores: dict[int, Mapping[str, float]] = {}
        clusters: dict[str, str] = {}
        done = []
        for number, arm in enumerate(arms):
            run = runs.get(_run_id(made.id, number))
            if run is None:
                done.append(ArmDone(arm, "queued", 0, 0))
                continue
            counted = progress[run.id].by_status
            told = ArmDone(arm, run.status, sum(counted.values()), counted.get("error", 0), fault=run.error_message)
            if run.status == "completed":
                found, why = await self._scores(run, clusters)
                if fault := _too_few(run, len(found), why):
                    told = msgspec.structs.replace(told, fault=fault)
                else:
                    scores[number] = found
                    told = msgspec.structs.replace(told, mean=sum(found.values()) / len(found))
                    if arm.version is not None:
                        await self._keep(line, arm.version, kept["set"], run, found)
            done.append(told)
        if is_over and 0 in scores:
            done = [_compared(one, scores[0], scores.get(number), clusters) for number, one in enumerate(done)]
        count = max((run.item_count for run in runs.values()), default=0)
        return Evaluated(made.id, name, kept["set"], count, tuple(done), is_over)

    async def _scores(self, run: Run, clusters: dict[str, str]) -> tuple[dict[str, float], str]:
        """Each item's score by its key, and why the first that has none has none. clusters: filled with all items'."""
        scores: dict[str, float] = {}
        why = ""
        after: str | None = None
        while True:
            page = await self._items.page(run.id, PageAsked(PAGE, "asc", after), None)
            for item in page.items:
                read = msgspec.json.decode(item.item, type=GoldenItem)
                clusters[read.key] = read.cluster
                score = _score(item)
                if isinstance(score, str):
                    why = why or score
                else:
                    scores[read.key] = score
            if not page.has_more or not page.items:
                return scores, why
            after = page.items[-1].id

    async def _keep(self, line: Line, number: int, of: str, run: Run, scores: Mapping[str, float]) -> None:
        identity = f"score_{run.id}"
        if any(one.id == identity for one in await self._registry.lines.scores(line.name, number)):
            return
        text = msgspec.json.encode(dict(scores)).decode()
        mean = sum(scores.values()) / len(scores)
        scored = Scored(identity, line.name, number, of, run.eval_id, mean, run.item_count, text, self._clock.wall())
        await self._registry.lines.scored(scored)

    def _eval(
        self,
        identity: str,
        owner: str,
        line: Line,
        items: Sequence[GoldenItem],
        arms: Sequence[ArmAsked],
        grader: bytes,
    ) -> Eval:
        now = self._clock.wall()
        metadata = {
            "kind": KIND,
            "line": line.name,
            "set": measure_name(items, grader),
            "arms": msgspec.json.encode(arms).decode(),
        }
        schema = {"type": "object", "properties": {"reference": {"type": "string"}}}
        config = {"type": "custom", "item_schema": schema, "include_sample_schema": True}
        return Eval(
            id=identity,
            team=owner,
            name=f"{line.name} on {metadata['set']}",
            metadata=msgspec.json.encode(metadata).decode(),
            data_source_config=msgspec.json.encode(config).decode(),
            testing_criteria=(b"[" + grader.strip() + b"]").decode(),
            created_at=now,
            updated_at=now,
        )

    def _run(self, made: Eval, number: int, arm: ArmAsked, items: Sequence[GoldenItem]) -> Run:
        params: dict[str, Any] = {}
        tools = list(shared(items, "tools") or [])
        if arm.collection:
            tools.append({"type": "file_search", "vector_store_ids": [arm.collection]})
        if tools:
            params["tools"] = tools
        if (form := shared(items, "response_format")) is not None:
            params["response_format"] = form
        source = {
            "type": "completions",
            "source": {"type": "file_id", "id": "golden"},
            "model": arm.model,
            "input_messages": {"type": "item_reference", "item_reference": "item.messages"},
            **({"sampling_params": params} if params else {}),
        }
        # Its own are no keys of callers: what reports say of these calls is the metadata `purpose`.
        # Rules must not have another model answer than the arm's: what is measured would be that one.
        principal = Principal(team=made.team, key_id="", key_name=NAME, is_exact=True)
        return Run(
            id=_run_id(made.id, number),
            eval_id=made.id,
            team=made.team,
            principal=msgspec.json.encode(principal).decode(),
            name=arm.name,
            metadata="{}",
            data_source=msgspec.json.encode(source).decode(),
            model=arm.model,
            status="queued",
            created_at=self._clock.wall(),
            item_count=len(items),
        )


def champion_of(line: Line) -> ArmAsked:
    """The arm of a line's champion."""
    return version_arm(line.name, line.champion)


def version_arm(line: str, number: int) -> ArmAsked:
    """The arm of a version."""
    return ArmAsked(f"v{number}", f"{line}@v{number}", version=number)


def read_arm(text: str) -> ArmAsked:
    """An arm as it is written, `direct:MODEL` or `rag:COLLECTION:MODEL`. Raises InvalidRequest (400)."""
    kind, _, rest = text.partition(":")
    if kind == "direct" and rest:
        return ArmAsked(text, rest)
    collection, _, model = rest.partition(":")
    if kind == "rag" and collection and model:
        return ArmAsked(text, model, collection=collection)
    raise InvalidRequest(f"Arm {text!r} is none; write direct:MODEL or rag:COLLECTION:MODEL.", param="arm")


def _run_id(eval_id: str, number: int) -> str:
    return f"{RUN}_{eval_id.partition('_')[2]}_{number:02d}"


def _criterion(items: Sequence[GoldenItem], grader: bytes | None) -> bytes:
    return msgspec.json.encode(default_grader(items)) if grader is None else grader


def _too_few(run: Run, scored: int, why: str) -> str:
    """Why an arm was not measured; "" when it was."""
    missing = run.item_count - scored
    if scored and missing <= MOST_ERRORS * run.item_count:
        return ""
    return f"not measured: {missing} of {run.item_count} items came to no answer or no grade{why and f' ({why})'}"


def _score(item: OutputItem) -> float | str:
    """The mean of what its criteria gave it; why there is none, of an item without an answer or a grade."""
    outcome = read_outcome(item.outcome)
    if outcome.sampled is not None and outcome.sampled.error is not None:
        return ": ".join(outcome.sampled.error)
    if outcome.status == "error" or not outcome.results:
        return "it could not be graded"
    return sum(result.score for result in outcome.results) / len(outcome.results)


def _compared(
    one: ArmDone, champion: Mapping[str, float], scores: Mapping[str, float] | None, clusters: Mapping[str, str]
) -> ArmDone:
    if scores is None or scores is champion:
        return one
    shared_items = champion.keys() & scores.keys()
    if not shared_items:
        return one
    theirs, mine = ({key: of[key] for key in shared_items} for of in (champion, scores))
    return msgspec.structs.replace(one, comparison=compare(theirs, mine, clusters))
