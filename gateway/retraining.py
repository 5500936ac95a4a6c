"""`retrain`: a line's next version on another base or trainer, step by step, going on wherever it was stopped.

Ids of all that a plan makes follow from the plan's own, and each is looked for before it is made: a step that is done
again after a crash finds its file, its job, its version and its evaluation. So nothing is trained or billed twice.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec

from gateway.core.clock import Clock
from gateway.core.errors import Conflict, InvalidRequest, NotFound
from gateway.core.values import Value
from gateway.evaluating import ArmAsked, ArmDone, Evaluated, LineEvaluations, read_arm, version_arm
from gateway.files.store import OUR_IDS as OUR_FILES
from gateway.files.store import FileStore, fresh_file
from gateway.policy.load import Rulebook
from gateway.policy.tuning_file import TrainerEntry
from gateway.rebuilding import Rebuilding, Rebuilt, set_content
from gateway.registry import NewVersion, Registry
from gateway.training import trainers_of
from gateway.tuning.golden import read_golden
from gateway.tuning.jobs.asked import OUR_IDS, MethodAsked, MethodOptions, NewJob, Owner, asked_of, first_events, job_of
from gateway.tuning.jobs.store import TuningJobs
from gateway.tuning.jobs.values import TuningJob
from gateway.tuning.lines.values import Version
from gateway.tuning.retraining.reminder import Reminder
from gateway.tuning.retraining.store import RetrainPlans, results_of
from gateway.tuning.retraining.values import RetrainAsked, RetrainPlan, Step

LOOK_SECONDS = 0.5
# A serving gateway takes over what the registry says within a second; the first call of a new version waits for it.
TAKEN_OVER_SECONDS = 3.0
_DIGITS = 10
# Of what a plan makes, by its place: training file, frozen set, job, and evaluations until one has measured.
_FIRST_EVALUATION = 3


class Planned(Value, frozen=True):
    """A plan before anything is written. plan: an open one that would be gone on with, None for a new one.

    identity: the plan's id, open or new; two who ask for the same at once carry out one plan.
    ended: why the champion cannot be measured, "" as far as anybody knows.
    """

    asked: RetrainAsked
    champion: Version
    rebuilt: Rebuilt
    arms: tuple[ArmAsked, ...]
    plan: RetrainPlan | None
    identity: str
    ended: str


class Retrained(Value, frozen=True):
    """What a plan came to. without: why there was no champion to compare with, "" when there was."""

    plan: RetrainPlan
    version: int
    evaluated: Evaluated
    without: str


class Retraining:
    """Plans, and carries plans out. told: of each step (its name, in words), for whoever waits."""

    def __init__(
        self,
        files: FileStore,
        jobs: TuningJobs,
        plans: RetrainPlans,
        registry: Registry,
        evaluations: LineEvaluations,
        rebuilding: Rebuilding,
        rulebook: Rulebook,
        clock: Clock,
        told: Callable[[str, str], None],
    ) -> None:
        self._files = files
        self._jobs = jobs
        self._plans = plans
        self._registry = registry
        self._evaluations = evaluations
        self._rebuilding = rebuilding
        self._rulebook = rulebook
        self._clock = clock
        self._told = told

    async def plan(self, asked: RetrainAsked, given: bytes | None) -> Planned:
        """What a retraining would do and cost. Writes nothing. Raises InvalidRequest (400), NotFound (404)."""
        entry = self._entry(asked.trainer)
        found = await self._registry.one(asked.line)
        line = found.line
        champion = next(one.version for one in found.versions if one.version.number == line.champion)
        asked = msgspec.structs.replace(asked, team=line.owner or asked.team)
        if not asked.team:
            raise InvalidRequest(f"Nobody owns line {asked.line!r}; say who pays: --team.", param="team")
        known = await self._plans.open_one(asked)
        kept = None if known is None else await self._kept_set(known)
        rebuilt = await self._rebuilding.run(asked, champion, entry, given if kept is None else kept)
        end = self._registry.ended(champion)
        ended = "" if end is None else f"v{champion.number} ended on {end.day} ({end.source})"
        identity = await self._plans.next_id(asked) if known is None else known.id
        return Planned(asked, champion, rebuilt, tuple(self._arms(asked)), known, identity, ended)

    async def run(self, planned: Planned, actor: str) -> Retrained:
        """Carries a plan out, from where it stopped. Raises Conflict (409) when its rows or its job are at fault."""
        asked, rebuilt = planned.asked, planned.rebuilt
        now = self._clock.wall()
        plan = planned.plan or await self._plans.create(planned.identity, asked, actor, now)
        if plan.state == "given_up":
            raise Conflict(f"{plan.id}, begun by another meanwhile, was given up: {plan.error}")
        self._told("plan", f"{plan.id}{' is gone on with' if planned.plan else ''}")
        if planned.ended:
            self._told("plan", f"{planned.ended}: the candidate will have no champion to be compared with")
        if "upload" not in results_of(plan):
            plan = await self._prepare(plan, rebuilt)
        plan = await self._uploaded(plan, planned)
        job = await self._trained(plan, planned)
        plan = await self._noted(plan, "train", {"job": job.id, "model": job.tuned_model})
        notes = f"retrained as {plan.id}"
        version = await self._registered(asked.line, NewVersion(job=job.id, notes=notes), actor)
        if "register" not in results_of(plan):
            plan = await self._noted(plan, "register", {"version": version.number})
            await asyncio.sleep(TAKEN_OVER_SECONDS)
        evaluated = await self._evaluated(plan, planned, version.number)
        without = _require_measured(plan, evaluated, version.number, planned.ended)
        plan = await self._noted(plan, "evaluate", {"evaluation": evaluated.id, "set": evaluated.set_hash})
        proposed = {"promote": version.number, "without": without} if without else {"canary": version.number}
        plan = await self._noted(plan, "propose", proposed)
        plan = await self._plans.end(plan, "done", self._clock.wall())
        return Retrained(plan, version.number, evaluated, without)

    async def _prepare(self, plan: RetrainPlan, rebuilt: Rebuilt) -> RetrainPlan:
        told = {
            "rows": rebuilt.rows,
            "dataset": rebuilt.dataset_hash,
            "from": rebuilt.came_from,
            "set": rebuilt.set_hash,
        }
        plan = await self._noted(plan, "rebuild", told)
        plan = await self._noted(plan, "lint", {"errors": len(rebuilt.faults), "mended": dict(rebuilt.mended)})
        if rebuilt.faults:
            faults = "; ".join(f"{one.line}:{one.column} {one.code} {one.message}" for one in rebuilt.faults[:20])
            raise Conflict(f"The rows are not what {plan.line!r}'s new trainer takes: {faults}")
        return await self._noted(plan, "price", {"tokens": rebuilt.tokens, "nano_usd": rebuilt.cost_nano_usd})

    async def _uploaded(self, plan: RetrainPlan, planned: Planned) -> RetrainPlan:
        team, rebuilt = planned.asked.team, planned.rebuilt
        contents = ((rebuilt.content, "fine-tune", "train"), (set_content(rebuilt), "evals", "set"))
        ids = (_id(OUR_FILES, plan, 0), _id(OUR_FILES, plan, 1))
        for identity, (content, purpose, name) in zip(ids, contents, strict=True):
            if await self._files.find(identity) is None:
                file = fresh_file(team, f"{plan.line}-{name}-{plan.id}.jsonl", purpose, len(content))
                await self._files.put(msgspec.structs.replace(file, id=identity), content)
        return await self._noted(plan, "upload", {"file": ids[0], "set": ids[1]})

    async def _trained(self, plan: RetrainPlan, planned: Planned) -> TuningJob:
        """The plan's job at its end. Raises Conflict (409) when it failed: the plan is given up then."""
        asked, method = planned.asked, planned.rebuilt.method
        identity = _id(OUR_IDS, plan, 2)
        if await self._jobs.find(identity) is None:
            entry = self._entry(asked.trainer)
            options = MethodOptions({"n_epochs": asked.epochs} if asked.epochs is not None else {})
            how = MethodAsked(method, **{method: options})
            body = NewJob(asked.base, _id(OUR_FILES, plan, 0), suffix=asked.line[:64], seed=0, method=how)
            metadata = {"line": asked.line, "plan": plan.id}
            where = (asked.trainer, entry.serves_at)
            job = job_of(body, asked_of(body), metadata, Owner(asked.team), where, self._clock.wall())
            job = msgspec.structs.replace(job, id=identity)
            await self._jobs.add(job, first_events(job))
        state, reminder = "", Reminder(self._told, self._clock)
        while True:
            found = await self._jobs.find(identity)
            if found is None:
                raise NotFound(f"The job {identity} of plan {plan.id} is gone.")
            if found.state != state:
                state = found.state
                self._told("train", f"{identity} is {state}")
            if found.has_ended:
                break
            reminder.look("train", moves=found.tries)
            await asyncio.sleep(LOOK_SECONDS)
        if found.tuned_model is None:
            error = f"Job {identity} {found.state}: {found.error or 'no reason was given'}"
            await self._plans.end(plan, "given_up", self._clock.wall(), error)
            raise Conflict(f"{error}. The plan is given up; retrain again when that is mended.")
        return found

    async def _registered(self, line: str, new: NewVersion, actor: str) -> Version:
        """The job's version, also where somebody registers it at the same time: then it is there, and is given."""
        try:
            return await self._registry.add(line, new, actor)
        except Conflict:
            return await self._registry.add(line, new, actor)

    async def _evaluated(self, plan: RetrainPlan, planned: Planned, version: int) -> Evaluated:
        content = await self._kept_set(plan)
        if content is None:
            raise NotFound(f"The frozen set of plan {plan.id} is gone.")
        arms = [version_arm(plan.line, version), *planned.arms]
        team = planned.asked.team
        identity = await self._open_evaluation(plan, team, version, planned.ended)
        await self._evaluations.begin(plan.line, read_golden(content), arms, team=team, identity=identity)
        told, reminder = "", Reminder(self._told, self._clock)
        while True:
            found = await self._evaluations.told(plan.line, identity, team)
            text = ", ".join(f"{one.arm.name} {one.done}/{found.items}" for one in found.arms)
            if text != told:
                told = text
                self._told("evaluate", text)
            if found.is_over:
                return found
            reminder.look("evaluate", moves=sum(one.done for one in found.arms))
            await asyncio.sleep(LOOK_SECONDS)

    async def _open_evaluation(self, plan: RetrainPlan, team: str, version: int, ended: str) -> str:
        """The id of the plan's evaluation: the first that is not there, goes on, or measured what it was to measure."""
        place = _FIRST_EVALUATION
        while True:
            identity = f"eval_{_digits(plan, place)}"
            try:
                found = await self._evaluations.told(plan.line, identity, team)
            except NotFound:
                return identity
            if not found.is_over or not _unmeasured(found, version, ended):
                return identity
            place += 1

    async def _kept_set(self, plan: RetrainPlan) -> bytes | None:
        stored = await self._files.find(_id(OUR_FILES, plan, 1))
        return None if stored is None else await self._files.content(stored)

    async def _noted(self, plan: RetrainPlan, step: Step, told: dict[str, Any]) -> RetrainPlan:
        if step in results_of(plan):
            return plan
        plan = await self._plans.note(plan, step, told, self._clock.wall())
        self._told(step, ", ".join(f"{name} {value}" for name, value in told.items()))
        return plan

    def _entry(self, trainer: str) -> TrainerEntry:
        entries = trainers_of(self._rulebook)
        if trainer not in entries:
            told = f"There is no trainer {trainer!r} in policies/tuning.yaml; there are {', '.join(sorted(entries))}."
            raise InvalidRequest(told, param="trainer")
        return entries[trainer]

    def _arms(self, asked: RetrainAsked) -> list[ArmAsked]:
        """The ways to answer beside the versions: those asked for, else the plain base, and RAG where there is any."""
        if asked.arms:
            return [read_arm(text) for text in asked.arms]
        catalogue = self._rulebook.policy.catalogue
        arms = [read_arm(f"direct:{asked.base}")] if catalogue.knows_model(asked.base) else []
        collection = next(
            (name for name in self._rulebook.knowledge.collections if catalogue.readable(name, asked.team)), None
        )
        entry = self._rulebook.knowledge.collections.get(collection or "")
        if entry is not None and entry.model:
            arms.append(read_arm(f"rag:{collection}:{entry.model}"))
        return arms


def _unmeasured(evaluated: Evaluated, version: int, ended: str) -> ArmDone | None:
    """The arm for which a plan cannot end: the candidate, or a champion that still answers, without a score."""
    champion = evaluated.arms[0]
    candidate = next((one for one in evaluated.arms if one.arm.version == version), champion)
    if candidate.mean is None:
        return candidate
    is_gone = bool(ended) or champion.errors == evaluated.items
    return champion if champion.mean is None and not is_gone else None


def _require_measured(plan: RetrainPlan, evaluated: Evaluated, version: int, ended: str) -> str:
    """Why there is no champion to compare with, "" where there is. Raises Conflict (409); the plan stays open then."""
    missing = _unmeasured(evaluated, version, ended)
    if missing is not None:
        why = missing.fault or f"{missing.errors} of {evaluated.items} items came to no answer"
        told = f"Version {version} is registered and {plan.id} stays open"
        again = "when that is mended, the same command evaluates again and trains nothing"
        raise Conflict(f"{missing.arm.name} could not be measured: {why}. {told}; {again}.")
    champion = evaluated.arms[0]
    if champion.mean is not None:
        return ""
    return ended or f"{champion.arm.name} answered nothing: {champion.fault}"


def _digits(plan: RetrainPlan, place: int) -> str:
    """The digits of an id of what a plan makes: its own, with the count at their end moved on."""
    digits = plan.id.partition("_")[2]
    count = (int(digits[-_DIGITS:], 16) + place) & 0xFFFFFFFFFF
    return f"{digits[:-_DIGITS]}{count:010x}"


def _id(prefix: str, plan: RetrainPlan, place: int) -> str:
    return prefix + _digits(plan, place)
