"""Azure OpenAI: OpenAI's fine-tuning API below `/openai/v1`, with words of its own for how a job stands.

A tuned model there (`<base>.ft-<hex>`) answers once it is deployed; calls name the deployment.
"""

from typing import Any, ClassVar

from gateway.tuning.contract import Plan, Status
from gateway.tuning.hosted import mark_of, marked_suffix
from gateway.tuning.trainers.openai_api import STATUSES, JobFound, OpenaiApi

# As OpenAI's; what Azure names otherwise, in older and newer versions of its API, is beside them.
OTHERWISE: dict[str, Status] = {
    "notRunning": "queued",
    "created": "queued",
    "pending": "queued",
    "resuming": "queued",
    "pausing": "running",
    "cancelling": "running",
    "canceled": "cancelled",
    "deleted": "cancelled",
}
MOST_SUFFIX = 40


class Azure(OpenaiApi):
    """Jobs at Azure. Not every version gives `metadata` back, so the mark of a job stands in its suffix too."""

    kind: ClassVar[str] = "azure"
    statuses: ClassVar[dict[str, Status]] = STATUSES | OTHERWISE

    def body(self, plan: Plan) -> dict[str, Any]:
        """See OpenaiApi."""
        return super().body(plan) | {"suffix": marked_suffix(plan, MOST_SUFFIX)}

    def is_marked(self, job: JobFound, job_id: str) -> bool:
        """See OpenaiApi."""
        named = (job.suffix or "", job.user_provided_suffix or "", job.fine_tuned_model or "")
        return super().is_marked(job, job_id) or any(mark_of(job_id) in name for name in named)


TRAINER = Azure
