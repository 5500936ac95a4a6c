"""/v1/fine_tuning: jobs with their events and checkpoints, and who may call what came of them."""

import re
from typing import Any

import msgspec

from gateway.core.call import Inbound, Principal
from gateway.core.clock import Clock
from gateway.core.errors import Conflict, InvalidRequest, ModelNotFound, NotFound, NotPermitted, RouteNotFound
from gateway.core.page import Page, PageAsked
from gateway.files.store import FileStore
from gateway.http.local.reading import body_of, metadata_of, page_asked, query_of
from gateway.http.local.replies import Json, deleted, listed
from gateway.http.local.written_jobs import checkpoint_object, event_object, job_object, permission_object
from gateway.identity.permitted import names_model
from gateway.training import Training, trainer_for
from gateway.tuning.jobs.asked import OUR_IDS, NewJob, Owner, asked_of, first_events, job_of
from gateway.tuning.jobs.models.store import TunedModels
from gateway.tuning.jobs.store import TuningJobs, number_of
from gateway.tuning.jobs.values import TuningJob, Wanted

USUAL_JOBS, USUAL_EVENTS, USUAL_POINTS, MOST = 20, 20, 10, 100
PURPOSE = "fine-tune"
PATH = "fine_tuned"
PASSED_ON = "passthrough"
ALLOWED_FROM: dict[str, frozenset[str]] = {
    "cancel": frozenset({"validating_files", "queued", "running", "paused"}),
    "pause": frozenset({"queued", "running"}),
    "resume": frozenset({"paused"}),
}
WANTED: dict[str, Wanted] = {"cancel": "cancel", "pause": "pause", "resume": "resume"}
_PAIR = re.compile(r"metadata\[(.+)\]\Z")

_new = msgspec.json.Decoder(NewJob)


class _Projects(msgspec.Struct):
    project_ids: list[str]


_projects = msgspec.json.Decoder(_Projects)


class FineTuning:
    """Answers for jobs of teams. A job of another team looks like one that does not exist."""

    def __init__(
        self, jobs: TuningJobs, models: TunedModels, files: FileStore, training: Training, clock: Clock
    ) -> None:
        self._jobs = jobs
        self._models = models
        self._files = files
        self._training = training
        self._clock = clock

    async def answer(self, rest: list[str], inbound: Inbound, principal: Principal) -> Json | None:
        """What a request below /v1/fine_tuning comes to; None for what is a provider's."""
        require_tuning(principal)
        match (inbound.method, *rest):
            case ("POST", "jobs"):
                return await self._create(inbound, principal)
            case ("GET", "jobs"):
                return await self._page(inbound, principal)
            case (_, "jobs", identity, *below):
                return await self._of_job(identity, below, inbound, principal)
            case (_, "checkpoints", model, "permissions", *below):
                return await self._permissions(model, below, inbound, principal)
        raise RouteNotFound(f"Unknown request URL: {inbound.method} {inbound.path}.")

    async def _create(self, inbound: Inbound, principal: Principal) -> Json | None:
        body = body_of(inbound, _new)
        asked, metadata = asked_of(body), metadata_of(body.metadata)
        if not names_model(principal, body.model):
            raise NotPermitted(f"The model {body.model!r} is not permitted for this key.", param="model")
        rulebook = self._training.rulebook()
        if rulebook.policy.catalogue.is_closed(body.model, principal.team):
            raise ModelNotFound(
                f"The model {body.model!r} does not exist or you do not have access to it.", param="model"
            )
        name, entry = trainer_for(rulebook, body.model, principal.team)
        if await self._files.find(body.training_file) is None and not body.training_file.startswith("file-sw"):
            await self._require_foreign(entry.kind, body, principal)
            return None
        for param in ("training_file", "validation_file"):
            await self._require_file(getattr(body, param), param, principal)
        if body.validation_file == body.training_file:
            raise InvalidRequest("validation_file is the training file.", param="validation_file")
        pairs = dict(metadata) | dict(principal.metadata)
        self._training.admit(principal, pairs)
        owner = Owner(principal.team, principal.key_id, principal.organisation)
        job = job_of(body, asked, metadata, owner, (name, entry.serves_at), self._clock.wall())
        trainer = self._training.trainer(name)
        faults = trainer.faults(job.plan()) if trainer is not None else []
        if faults:
            raise InvalidRequest(" ".join(faults), param="method")
        await self._jobs.add(job, first_events(job))
        return job_object(job)

    async def _require_foreign(self, kind: str, body: NewJob, principal: Principal) -> None:
        """A provider's own file: the job is then its own too, when the provider trains."""
        ids = (body.training_file, *([body.validation_file] if body.validation_file else []))
        for closed in await self._files.of_others(ids, principal.team):
            param = "training_file" if closed == body.training_file else "validation_file"
            raise InvalidRequest(f"No such File object: {closed}", param=param)
        if kind in {"local", "ray"}:
            raise InvalidRequest(
                f"No such File object: {body.training_file}. The trainer for {body.model!r} takes files kept here.",
                param="training_file",
            )

    async def _require_file(self, identity: str | None, param: str, principal: Principal) -> None:
        if identity is None:
            return
        file = await self._files.find(identity)
        if file is None or file.team != principal.team:
            raise InvalidRequest(f"No such File object: {identity}", param=param)
        if file.purpose != PURPOSE:
            told = f"File {identity!r} has the purpose {file.purpose!r}; it must be {PURPOSE!r}."
            raise InvalidRequest(told, param=param)

    async def _page(self, inbound: Inbound, principal: Principal) -> Json:
        query = query_of(inbound)
        asked = page_asked(query, most=MOST, otherwise=USUAL_JOBS)
        pairs = {found[1]: value for name, value in query.items() if (found := _PAIR.match(name))}
        page = await self._jobs.page(principal.team, asked, pairs, without=query.get("metadata") == "null")
        return listed(page, [job_object(job) for job in page.items])

    async def _of_job(self, identity: str, below: list[str], inbound: Inbound, principal: Principal) -> Json | None:
        job = await self._jobs.find(identity)
        if job is None and not identity.startswith(OUR_IDS):
            # By its provider's id a job that was begun there for another team is no more to be had than by ours.
            there = await self._jobs.begun_as(identity)
            if there is None or there.team == principal.team:
                return None
        if job is None or job.team != principal.team:
            message = f"Could not find fine tune: {identity}"
            raise NotFound(message, param="fine_tuning_job_id")
        match (inbound.method, *below):
            case ("GET",):
                return job_object(job)
            case ("GET", "events"):
                return await self._events(job, inbound)
            case ("GET", "checkpoints"):
                return await self._checkpoints(job, inbound)
            case ("POST", ("cancel" | "pause" | "resume") as verb):
                return job_object(await self._want(job, verb))
        raise RouteNotFound(f"Unknown request URL: {inbound.method} {inbound.path}.")

    async def _want(self, job: TuningJob, verb: str) -> TuningJob:
        if job.state not in ALLOWED_FROM[verb]:
            raise _cannot(job, verb)
        if not await self._jobs.want(job, WANTED[verb], self._clock.wall()):
            raise _cannot(await self._jobs.find(job.id) or job, verb)
        return await self._jobs.find(job.id) or job

    async def _events(self, job: TuningJob, inbound: Inbound) -> Json:
        asked = page_asked(query_of(inbound), most=MOST, otherwise=USUAL_EVENTS)
        page = await self._jobs.events(job, asked.limit, number_of(asked.after, f"ftevent-{job.id[6:]}-"))
        return listed(page, [event_object(event) for event in page.items])

    async def _checkpoints(self, job: TuningJob, inbound: Inbound) -> Json:
        asked = page_asked(query_of(inbound), most=MOST, otherwise=USUAL_POINTS)
        page = await self._jobs.checkpoints(job, asked.limit, number_of(asked.after, f"ftckpt_{job.id[6:]}-"))
        return listed(page, [checkpoint_object(point) for point in page.items])

    async def _permissions(self, name: str, below: list[str], inbound: Inbound, principal: Principal) -> Json | None:
        model = await self._models.find(name)
        if model is None:
            return None
        if model.team != principal.team:
            raise NotFound(f"The checkpoint {name!r} does not exist.", param="fine_tuned_model_checkpoint")
        match (inbound.method, *below):
            case ("POST",):
                teams = body_of(inbound, _projects).project_ids
                if not teams or not all(teams):
                    raise InvalidRequest("project_ids names the teams that may call the model.", param="project_ids")
                made = await self._models.permit(name, teams, self._clock.wall())
                await self._training.changed()
                return listed(Page(tuple(made), has_more=False), [permission_object(one) for one in made])
            case ("GET",):
                return await self._permission_page(name, inbound)
            case ("DELETE", permission_id):
                if not await self._models.forbid(name, permission_id):
                    raise NotFound(f"No such permission: {permission_id}", param="permission_id")
                await self._training.changed()
                return deleted(permission_id, "checkpoint.permission")
        raise RouteNotFound(f"Unknown request URL: {inbound.method} {inbound.path}.")

    async def _permission_page(self, name: str, inbound: Inbound) -> Json:
        query = query_of(inbound)
        order = {"ascending": "asc", "descending": "desc"}.get(query.get("order", ""), query.get("order", "desc"))
        asked: PageAsked = page_asked({**query, "order": order}, most=MOST, otherwise=USUAL_POINTS)
        page = await self._models.permissions(name, asked, query.get("project_id") or None)
        return listed(page, [permission_object(one) for one in page.items])

    async def delete_model(self, name: str, principal: Principal) -> Json | None:
        """Lets nobody call a tuned model any more; None for one that was not made here.

        Raises NotFound (404) for another team's, Conflict (409) for one that a line serves.
        """
        model = await self._models.find(name)
        if model is None:
            return None
        if model.team != principal.team:
            raise NotFound(f"The model {name!r} does not exist or you do not have access to it.", param="model")
        line = self._training.serves(name)
        if line is not None:
            raise Conflict(f"The model {name!r} is a version of the line {line!r}; retire it there first.")
        await self._training.withdraw(model)
        await self._models.delete(name, self._clock.wall())
        await self._training.changed()
        return deleted(name, "model")


def require_tuning(principal: Principal) -> None:
    """Raises NotPermitted (403) for a key whose paths name neither tuned models nor what is passed on."""
    allowed = principal.allowed_paths
    if not allowed or PATH in allowed or PASSED_ON in allowed:
        return
    raise NotPermitted(f"This key may take {', '.join(allowed)}; fine-tuning needs {PATH!r} among its paths.")


def _cannot(job: TuningJob, verb: str) -> Any:
    return InvalidRequest(f"Job {job.id} is {job.state}; it cannot be {verb}{'d' if verb[-1] == 'e' else 'led'} now.")
