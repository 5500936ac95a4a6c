"""`{{item.x.y[0]}}` and `{{sample.output_text}}` in the texts of graders and prompts."""

import re
from collections.abc import Mapping
from typing import Literal

import msgspec

from gateway.core.json_value import Json
from gateway.core.values import Value

NAMESPACES = ("item", "sample")
MOST_CHARACTERS = 262_144
MOST_STEPS = 32
# A key after a dot, an index, or a key in quotes for names that hold dots or brackets.
_STEP = re.compile(r"""\.([^.\[\]{}"'|()\s][^.\[\]{}"'|()]*)|\[(-?\d{1,6})\]|\["([^"]*)"\]|\['([^']*)'\]""")
_EXPRESSION = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)

Step = str | int
_NOTHING: tuple[Json, ...] = ()


class TemplateFault(ValueError):
    """A template that cannot be read."""


class UnknownVariable(Exception):
    """A template names what this item or sample does not have. flag: the one of `Errors` that says so."""

    def __init__(self, message: str, flag: Literal["invalid_variable_error", "sample_parse_error"]) -> None:
        super().__init__(message)
        self.message = message
        self.flag = flag


class Reference(Value, frozen=True):
    """What stands between the braces. steps: keys and indices below its namespace."""

    namespace: str
    steps: tuple[Step, ...]
    written: str


class Subject(Value, frozen=True):
    """What is graded: a row of the data, and what a model made of it. sample: None where there is none."""

    item: Json
    sample: Mapping[str, Json] | None = None


def parts_of(text: str) -> tuple[str | Reference, ...]:
    """A template's texts and references in their order. Raises TemplateFault."""
    if len(text) > MOST_CHARACTERS:
        raise TemplateFault(f"a template has at most {MOST_CHARACTERS:,} characters")
    parts: list[str | Reference] = []
    end = 0
    for found in _EXPRESSION.finditer(text):
        parts.append(text[end : found.start()])
        parts.append(reference_of(found[1]))
        end = found.end()
    rest = text[end:]
    if "{{" in rest:
        raise TemplateFault("'{{' has no '}}' after it")
    return tuple(part for part in (*parts, rest) if part != "")


def reference_of(written: str) -> Reference:
    """`item.x[0]` as a reference. Raises TemplateFault for what is none."""
    text = written.strip()
    name = re.match(r"\w*", text)
    namespace = name[0] if name else ""
    if namespace not in NAMESPACES:
        raise TemplateFault(f"'{{{{{written}}}}}' must begin with item or sample")
    steps: list[Step] = []
    place = len(namespace)
    while place < len(text):
        found = _STEP.match(text, place)
        if found is None or len(steps) >= MOST_STEPS:
            raise TemplateFault(f"'{{{{{written}}}}}' cannot be read after {text[:place]!r}")
        key, index, quoted, single = found.groups()
        steps.append(int(index) if index is not None else (key or quoted or single or "").strip())
        place = found.end()
    return Reference(namespace, tuple(steps), text)


def references_of(text: str) -> list[Reference]:
    """What a template names. Raises TemplateFault."""
    return [part for part in parts_of(text) if isinstance(part, Reference)]


def filled(text: str, subject: Subject) -> str:
    """The template with its references filled in: texts as they are, all else as JSON.

    Raises UnknownVariable for one that names nothing: an empty text in its place would be graded as an answer.
    """
    made = []
    for part in parts_of(text):
        if isinstance(part, str):
            made.append(part)
            continue
        value = looked_up(part, subject)
        made.append(value if isinstance(value, str) else msgspec.json.encode(value).decode())
    return "".join(made)


def looked_up(reference: Reference, subject: Subject) -> Json:
    """What a reference names. Raises UnknownVariable."""
    value: Json = subject.item if reference.namespace == "item" else _sample(reference, subject)
    for step in reference.steps:
        found = _below(value, step)
        if not found:
            raise _unknown(reference, subject)
        value = found[0]
    return value


def _below(value: Json, step: Step) -> tuple[Json, ...]:
    if isinstance(value, dict) and isinstance(step, str) and step in value:
        return (value[step],)
    if isinstance(value, list) and isinstance(step, int) and -len(value) <= step < len(value):
        return (value[step],)
    return _NOTHING


def _sample(reference: Reference, subject: Subject) -> Json:
    if subject.sample is None:
        raise UnknownVariable(f"{reference.written} is named and there is no sample.", "invalid_variable_error")
    return dict(subject.sample)


def _unknown(reference: Reference, subject: Subject) -> UnknownVariable:
    sample = subject.sample
    if (
        reference.namespace == "sample"
        and reference.steps[:1] == ("output_json",)
        and sample is not None
        and "output_json" not in sample
    ):
        return UnknownVariable(
            f"{reference.written} is named and the sample's text is no JSON object or array.", "sample_parse_error"
        )
    return UnknownVariable(f"{reference.written} names nothing that is there.", "invalid_variable_error")


def sample_of(text: str, message: Mapping[str, Json] | None = None, choices: Json = None) -> dict[str, Json]:
    """The sample namespace of an answer. `output_json` is there when the text is a JSON object or array.

    message: the assistant's, when a model was asked; choices: as its reply had them.
    """
    told: dict[str, Json] = {"role": "assistant", "content": text} if message is None else dict(message)
    made: dict[str, Json] = {
        "output_text": text,
        "output_tools": told.get("tool_calls") or [],
        "choices": choices if choices is not None else [{"index": 0, "message": told}],
    }
    if text.lstrip()[:1] in ("{", "["):
        try:
            made["output_json"] = msgspec.json.decode(text.encode())
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            return made
    return made
