"""Evals and runs as their callers write them: OpenAI's JSON, read with every fault at once."""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from gateway.tuning.graders.messages import Messages
from gateway.tuning.graders.score_model import Effort
from gateway.tuning.graders.spec import Name, Spec, faults_told, told_faults
from gateway.tuning.graders.template import TemplateFault, reference_of
from gateway.tuning.graders.text_similarity import TextSimilarity
from gateway.tuning.graders.written import TAGS, AnyGrader, grader_or_faults

MOST_CRITERIA = 50
MOST_ITEMS = 20_000
KINDS = ("custom", "logs", "stored_completions", "jsonl", "completions", "responses", "file_content", "file_id")
RUN_TAGS = (*TAGS, *KINDS, "template", "item_reference")
NO_LOGS = (
    "the texts of past calls are not kept here, so there are none to evaluate; send them as `file_content` or a file"
)

Metadata = dict[str, str] | None


class Custom(Spec):
    """Rows that a caller brings."""

    type: Literal["custom"]
    item_schema: dict[str, Any]
    include_sample_schema: bool = False


class FromLogs(Spec):
    """Rows of past calls, which cannot be served."""

    type: Literal["logs", "stored_completions"]
    metadata: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _refused(self) -> Self:
        raise ValueError(NO_LOGS)


class NewEval(Spec):
    """The body that makes an eval; its criteria are read one by one."""

    data_source_config: Annotated[Custom | FromLogs, Field(discriminator="type")]
    testing_criteria: Annotated[list[dict[str, Any]], Field(min_length=1, max_length=MOST_CRITERIA)]
    metadata: Metadata = None
    name: Name | None = None


class ChangedEval(Spec):
    """The body that changes one. What is left out stays."""

    metadata: Metadata = None
    name: Name | None = None


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


def _names_an_item(text: str) -> str:
    try:
        reference = reference_of(text)
    except TemplateFault as fault:
        raise ValueError(str(fault)) from None
    if reference.namespace != "item":
        raise ValueError("must name a part of the item, such as 'item.input'")
    return text


class Templates(Spec):
    """A prompt with holes."""

    type: Literal["template"]
    template: Messages


class ItemReference(Spec):
    """Where each item has its own messages."""

    type: Literal["item_reference"]
    item_reference: Annotated[str, AfterValidator(_names_an_item)]


class ResponseText(Spec):
    """The form of a response's text."""

    format: dict[str, Any] | None = None
    verbosity: Literal["low", "medium", "high"] | None = None


class SamplingParams(Spec):
    """How a model is asked. response_format is of completions, text of responses."""

    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    reasoning_effort: Effort | None = None
    response_format: dict[str, Any] | None = None
    seed: int | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    text: ResponseText | None = None
    tools: list[dict[str, Any]] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None


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


_new_eval = TypeAdapter(NewEval)
_changed = TypeAdapter(ChangedEval)
_new_run = TypeAdapter(NewRun)
_source: TypeAdapter[DataSource] = TypeAdapter(Annotated[DataSource, Field(discriminator="type")])
_criteria = TypeAdapter(list[dict[str, Any]])


def read_new_eval(body: bytes) -> NewEval:
    """A new eval. Raises InvalidRequest (400) with every fault, those of its criteria among them."""
    try:
        made = _new_eval.validate_json(body)
    except ValidationError as fault:
        raise told_faults(fault, RUN_TAGS) from None
    faults = []
    for number, written in enumerate(made.testing_criteria):
        place = f"testing_criteria[{number}]"
        grader, found = grader_or_faults(_criteria.dump_json([written])[1:-1], place)
        faults += found
        if isinstance(grader, TextSimilarity) and grader.pass_threshold is None:
            faults.append((f"{place}.pass_threshold", "Field required"))
    if faults:
        raise faults_told(faults)
    return made


def read_changed_eval(body: bytes) -> ChangedEval:
    """A change of an eval. Raises InvalidRequest (400)."""
    try:
        return _changed.validate_json(body)
    except ValidationError as fault:
        raise told_faults(fault, RUN_TAGS) from None


def read_new_run(body: bytes) -> NewRun:
    """A new run. Raises InvalidRequest (400) with every fault."""
    try:
        return _new_run.validate_json(body)
    except ValidationError as fault:
        raise told_faults(fault, RUN_TAGS) from None


def read_criteria(written: str) -> list[AnyGrader]:
    """An eval's criteria as graders. Raises InvalidRequest (400) for one that this version does not take any more."""
    graders = []
    for number, one in enumerate(_criteria.validate_json(written)):
        grader, faults = grader_or_faults(_criteria.dump_json([one])[1:-1], f"testing_criteria[{number}]")
        if grader is None:
            raise faults_told(faults)
        graders.append(grader)
    return graders


def read_data_source(written: str) -> DataSource:
    """A run's data source. Raises InvalidRequest (400) for one that this version does not take any more."""
    try:
        return _source.validate_json(written)
    except ValidationError as fault:
        raise told_faults(fault, RUN_TAGS, "data_source") from None
