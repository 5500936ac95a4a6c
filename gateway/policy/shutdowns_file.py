"""shutdowns.yaml: when providers shut models down, a dated list with sources.

One comes with the gateway; it is kept with the policy, so that a decision is replayed with the dates that it stood on.
"""

from datetime import date
from pathlib import Path
from typing import Annotated

from pydantic import Field

from gateway.core.document import Written

BUILT_IN = Path(__file__).with_name("shutdowns.yaml")
SHUTDOWNS = "shutdowns.yaml"


class ShutdownEntry(Written):
    """When a model is shut down. deprecated: when that was announced. tuned_only: it holds for what was tuned from it.

    source: where it stands; read_on: when somebody looked there.
    """

    day: date
    deprecated: date | None = None
    source: str
    read_on: date
    tuned_only: bool = False


class TrainingEnd(Written):
    """From when on nobody may start a job. hosts: of the upstreams that this holds for."""

    hosts: Annotated[list[str], Field(min_length=1)]
    day: date
    source: str
    read_on: date


class ShutdownsFile(Written):
    """The whole file. models: by id, dated or not."""

    models: dict[str, ShutdownEntry] = {}
    trainings: list[TrainingEnd] = []
