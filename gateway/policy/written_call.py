"""Calls that people write down: in the tests of routing.yaml, and to have them explained."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, AwareDatetime, Field

from gateway.core.document import Written

Score = Annotated[float, Field(ge=0, le=1)]
FIRST_YEAR, LAST_YEAR = 1971, 2200


def _within_reach(moment: datetime) -> datetime:
    # At the ends of the calendar a time zone's hours lead out of it.
    if not FIRST_YEAR <= moment.year <= LAST_YEAR:
        raise ValueError(f"it must lie between {FIRST_YEAR} and {LAST_YEAR}")
    return moment


class CallEntry(Written):
    """A call as a test writes it, and the signals that it is taken to give.

    at: when; now, unless written. knowledge_score: of every collection asked about, or by collection (then of a
    set the best). task_score: by line; lines that are not named score 0.
    """

    team: str
    key: str = "test"
    model: str = "auto"
    endpoint: Literal["chat", "responses", "completions", "embeddings", "passthrough"] = "chat"
    text: str = ""
    system: str = ""
    headers: dict[str, str] = {}
    metadata: dict[str, str] = {}
    has_tools: bool = False
    has_image: bool = False
    response_format: Literal["text", "json_object", "json_schema"] = "text"
    stream: bool = False
    prompt_tokens: Annotated[int, Field(ge=0)] | None = None
    turns: Annotated[int, Field(ge=1, le=1000)] = 1
    user: str = ""
    conversation: str = ""
    path: str | None = None
    at: Annotated[AwareDatetime, AfterValidator(_within_reach)] | None = None
    budget_used: Annotated[float, Field(ge=0)] | None = None
    draw: Annotated[float, Field(ge=0, lt=1)] = 0.0
    knowledge_score: Score | dict[str, Score] | None = None
    task_score: dict[str, Score] = {}


class ExpectEntry(Written):
    """What must come out; what is not named may be anything."""

    rule: str | None = None
    path: Literal["fine_tuned", "rag", "direct", "passthrough", "refused"] | None = None
    model: str | None = None
    line: str | None = None


class TestEntry(Written):
    """A promise about the rules above it."""

    __test__ = False

    name: str
    call: CallEntry
    expect: ExpectEntry
