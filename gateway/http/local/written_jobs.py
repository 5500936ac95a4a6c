"""Fine-tuning jobs as OpenAI's objects."""

from typing import Any

import msgspec

from gateway.http.local.replies import Json
from gateway.tuning.jobs.values import Checkpoint, JobEvent, Permission, TuningJob

# The API knows no word for a job that waits; what resumes it is queued.
STATUSES = {"paused": "queued"}
METRICS = (
    "full_valid_loss",
    "full_valid_mean_token_accuracy",
    "step",
    "train_loss",
    "train_mean_token_accuracy",
    "valid_loss",
    "valid_mean_token_accuracy",
)


def job_object(job: TuningJob) -> Json:
    """A job. `hyperparameters` is the older place of a supervised job's; what `auto` came to stands once known."""
    asked: Json = msgspec.json.decode(job.hyperparameters)
    resolved: Json = msgspec.json.decode(job.resolved)
    known = {name: value for name, value in {**asked, **resolved}.items() if name in asked or name in _USUAL}
    parameters = dict.fromkeys(_USUAL, "auto") | known
    options: Json = {"hyperparameters": parameters}
    if job.grader:
        options["grader"] = msgspec.Raw(job.grader.encode())
    error = None if job.error is None else msgspec.json.decode(job.error, type=tuple[str, str, str | None])
    return {
        "id": job.id,
        "object": "fine_tuning.job",
        "created_at": int(job.created_at),
        "finished_at": None if job.finished_at is None else int(job.finished_at),
        "estimated_finish": None if job.estimated_finish is None else int(job.estimated_finish),
        "model": job.model,
        "fine_tuned_model": job.tuned_model,
        "organization_id": job.organisation or f"org-{job.team}",
        "status": STATUSES.get(job.state, job.state),
        "error": None if error is None else {"code": error[0], "message": error[1], "param": error[2]},
        "training_file": job.training_file,
        "validation_file": job.validation_file,
        "result_files": msgspec.json.decode(job.results),
        "trained_tokens": job.trained_tokens,
        "hyperparameters": {name: parameters[name] for name in _USUAL} if job.method == "supervised" else {},
        "method": {"type": job.method, job.method: options},
        "seed": job.seed,
        "integrations": msgspec.json.decode(job.integrations),
        "metadata": msgspec.json.decode(job.metadata),
        "user_provided_suffix": job.suffix or None,
    }


_USUAL = ("batch_size", "learning_rate_multiplier", "n_epochs")


def event_object(event: JobEvent) -> Json:
    """An event."""
    data: dict[str, Any] = dict(event.data)
    return {
        "id": f"ftevent-{event.job_id[6:]}-{event.number:06d}",
        "object": "fine_tuning.job.event",
        "created_at": int(event.at),
        "level": event.level,
        "message": event.message,
        "type": event.kind,
        "data": data,
    }


def checkpoint_object(point: Checkpoint) -> Json:
    """A checkpoint."""
    measured = dict(point.metrics)
    return {
        "id": f"ftckpt_{point.job_id[6:]}-{point.number:06d}",
        "object": "fine_tuning.job.checkpoint",
        "created_at": int(point.at),
        "fine_tuned_model_checkpoint": point.model,
        "fine_tuning_job_id": point.job_id,
        "metrics": {"step": float(point.step)} | {name: measured[name] for name in METRICS if name in measured},
        "step_number": point.step,
    }


def permission_object(permission: Permission) -> Json:
    """A permission; what OpenAI calls a project is a team here."""
    return {
        "id": permission.id,
        "object": "checkpoint.permission",
        "created_at": int(permission.created_at),
        "project_id": permission.team,
    }
