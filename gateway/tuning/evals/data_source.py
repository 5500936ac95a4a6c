"""Runs and their data as callers write them: OpenAI's JSON, read with every fault at once."""

from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from gateway.tuning.evals.prompts import ItemReference, SamplingParams, Templates
from gateway.tuning.evals.written import NO_LOGS, TAGS, Metadata
from gateway.tuning.graders.spec import Name, Spec, told_faults

MOST_ITEMS = 20_000


class Line(Spec):
    """A row of the data."""

    item: dict[str, Any]
    sample: dict[str, Any] | None = None


class FileContent(Spec):
    """The rows themselves."""

    type: Literal["file_content"]
    content: Annotated[list[Line], Field(min_length=1, max_length=MOST_ITEMS)]


class FileId(Spec):
    """A file of rows, one a line."""

    type: Literal["file_id"]
    id: Name


class Logged(Spec):
    """Past calls, which cannot be served."""

    model_config = ConfigDict(extra="allow")
    type: Literal["stored_completions", "responses"]

    @model_validator(mode="after")
    def _refused(self) -> Self:
        raise ValueError(NO_LOGS)


Source = Annotated[FileContent | FileId | Logged, Field(discriminator="type")]


class Jsonl(Spec):
    """Rows that have their samples, or need none."""

    type: Literal["jsonl"]
    source: Source


class Asked(Spec):
    """Rows for which a model is asked."""

    type: Literal["completions", "responses"]
    source: Source
    model: Name
    input_messages: Annotated[Templates | ItemReference, Field(discriminator="type")]
    sampling_params: SamplingParams | None = None


DataSource = Jsonl | Asked


class NewRun(Spec):
    """The body that begins a run."""

    data_source: Annotated[DataSource, Field(discriminator="type")]
    metadata: Metadata = None
    name: Name | None = None


_new_run = TypeAdapter(NewRun)
_source: TypeAdapter[DataSource] = TypeAdapter(Annotated[DataSource, Field(discriminator="type")])


def read_new_run(body: bytes) -> NewRun:
    """A new run. Raises InvalidRequest (400) with every fault."""
    try:
        return _new_run.validate_json(body)
    except ValidationError as fault:
        raise told_faults(fault, TAGS) from None


def read_data_source(written: bytes) -> DataSource:
    """A run's data source. Raises InvalidRequest (400) for one that this version does not take any more."""
    try:
        return _source.validate_json(written)
    except ValidationError as fault:
        raise told_faults(fault, TAGS, "data_source") from None
