"""What trainers at providers share whose API is not OpenAI's: asking, reading, forms, and the mark of a job of ours."""

import hashlib
import re
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec

from gateway.core.errors import UpstreamFailed
from gateway.core.ids import new_id
from gateway.tuning.contract import Means, Plan, Source, TrainerRefused
from gateway.upstream.asking import ask

# Statuses of a refusal that another try may mend: they say something of keys and of haste, not of the job.
AGAIN = frozenset({401, 403, 408, 409, 425, 429})
# A provider need not have every list that there may be of a job: what these say of one they do not say of the job.
NO_LIST = frozenset({404, 405, 410})
MARK_DIGITS = 10
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

Kind = TypeVar("Kind")


class Hosted:
    """Asks one upstream for a trainer."""

    def __init__(self, upstream: str, means: Means) -> None:
        self._upstream = upstream
        self._means = means

    async def ask(self, method: str, target: str, body: Any = None, form: tuple[bytes, str] | None = None) -> bytes:
        """The body of a 2xx. body: sent as JSON; form: a body with its content type.

        Raises TrainerRefused for what will not get better, else UpstreamFailed.
        """
        upstream = self._means.upstream(self._upstream)
        content, kind = form or (b"" if body is None else msgspec.json.encode(body), "application/json")
        status, answer = await ask(upstream, method, target, content, kind)
        if status < 300:
            return answer
        if 400 <= status < 500 and status not in AGAIN:
            told = f"The trainer refused ({status}): {_reason(answer) or 'it gave no reason.'}"
            raise TrainerRefused(told, answered=status)
        raise UpstreamFailed(f"Upstream {upstream.name!r} answered {status} to {method} {target.partition('?')[0]}.")


def read(body: bytes, kind: type[Kind]) -> Kind:
    """An answer's JSON. Raises UpstreamFailed (502) for what is none, or of another shape."""
    try:
        return msgspec.json.decode(body, type=kind)
    except UNREADABLE:
        raise UpstreamFailed("The trainer's answer is not what its API gives.") from None


def reference_of(told: str | None) -> str:
    """What a new job is known by, as its provider told it.

    Raises TrainerRefused where it told nothing: begun again, the job may run twice.
    """
    if not told:
        raise TrainerRefused("The trainer took the job and gave no id of it: see there whether it runs.")
    return told


def mark_of(job_id: str) -> str:
    """By what a job is found again that was begun in the moment before a crash: in a name, where there is no better."""
    return "sw" + hashlib.sha256(job_id.encode()).hexdigest()[:MARK_DIGITS]


def marked_suffix(plan: Plan, most: int) -> str:
    """The suffix that was asked for, as far as there is room, and the job's mark."""
    mark = mark_of(plan.job_id)
    suffix = re.sub(r"[^a-z0-9]+", "-", plan.suffix.lower()).strip("-")[: most - len(mark) - 1].strip("-")
    return f"{suffix}-{mark}" if suffix else mark


async def file_form(source: Source, filename: str, fields: dict[str, str]) -> tuple[bytes, str]:
    """A multipart form of fields and the file, and its content type. Raises NotFound when the file was deleted."""
    boundary = new_id("form").encode()
    parts = [
        b'--%b\r\ncontent-disposition: form-data; name="%b"\r\n\r\n%b\r\n' % (boundary, name.encode(), value.encode())
        for name, value in fields.items()
    ]
    head = b'--%b\r\ncontent-disposition: form-data; name="file"; filename="%b"\r\n'
    parts += [head % (boundary, filename.encode()), b"content-type: application/octet-stream\r\n\r\n"]
    parts += [part async for part in source.read()]
    parts.append(b"\r\n--%b--\r\n" % boundary)
    return b"".join(parts), f"multipart/form-data; boundary={boundary.decode()}"


def unix_seconds(written: str | None) -> float | None:
    """A time as these APIs write it; None for none and for what is no time."""
    if not written:
        return None
    try:
        found = datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", written.replace("Z", "+00:00")))
    except ValueError:
        return None
    return (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).timestamp()


def unsupported(plan: Plan, provider: str, methods: tuple[str, ...], known: frozenset[str]) -> list[str]:
    """What a provider with parameters of its own cannot do for a plan, all of it."""
    faults = []
    if plan.method not in methods:
        faults.append(f"{provider} trains by {', '.join(methods)} here; the job asks for {plan.method!r}.")
    for name, value in plan.hyperparameters:
        if name == "learning_rate_multiplier":
            faults.append(
                f"{provider} takes a learning rate and no multiplier of one, and what {value} would multiply is not "
                "known here: leave learning_rate_multiplier out."
            )
        elif name not in known:
            faults.append(f"{provider} does not know the hyperparameter {name!r}.")
    if plan.integrations != "[]":
        faults.append(f"{provider} wants a key of an integration's own; integrations cannot be passed on.")
    return faults


def _reason(answer: bytes) -> str:
    """What an error says, in any of the shapes in use: `error.message`, `error` as a text, `message`, `detail`."""
    try:
        found: Any = msgspec.json.decode(answer)
    except UNREADABLE:
        return ""
    if not isinstance(found, dict):
        return ""
    error = found.get("error", found)
    if isinstance(error, dict):
        error = error.get("message") or error.get("detail")
    return error if isinstance(error, str) else ""
