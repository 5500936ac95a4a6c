"""Arguments of tool calls against the JSON Schema that their tool declares."""

import importlib
from collections.abc import Iterator, Mapping
from functools import cache, lru_cache
from typing import Any, NamedTuple, Protocol, cast

import msgspec
import re2

# A schema of this size is hostile; tools' parameters have some hundred bytes.
MOST_SCHEMA = 200_000
MOST_FAULTS = 5


class Found(Protocol):
    """What is used of the library's errors."""

    message: str
    json_path: str


class Validator(Protocol):
    """What is used of the library's validators."""

    def iter_errors(self, instance: object) -> Iterator[Found]: ...  # noqa: D102  # the library's


class Checked(NamedTuple):
    """A schema made ready; fault: why it cannot be."""

    validator: Validator | None
    fault: str = ""


def checked(parameters: Mapping[str, object]) -> Checked:
    """The schema `parameters` ready to check arguments. No reference is followed out of it, and nothing fetched."""
    return _checked(msgspec.json.encode(parameters, order="sorted"))


def faults_of(validator: Validator, arguments: object) -> list[str]:
    """What of the arguments does not fit, the first five, in the order of their places."""
    try:
        found = [f"{fault.json_path}: {fault.message[:200]}" for fault in _first(validator, arguments)]
    except RecursionError:
        return ["the schema refers to itself without end"]
    except _library().unresolvable as fault:
        return [f"the schema refers to {str(fault)[:100]}, which it does not hold"]
    return sorted(found)


def _first(validator: Validator, arguments: object) -> Iterator[Found]:
    for number, fault in enumerate(validator.iter_errors(arguments)):
        if number == MOST_FAULTS:
            return
        yield fault


class _Library(NamedTuple):
    validator: Any
    registry: Any
    schema_error: type[Exception]
    unresolvable: type[Exception]


@cache
def _library() -> _Library:
    # Loaded with the first declared tool: it takes 0.13 s, and a server that lints seldom needs it.
    library = importlib.import_module("jsonschema")
    referencing = importlib.import_module("referencing")
    unresolvable = importlib.import_module("referencing.exceptions").Unresolvable
    # `pattern` comes from a training file: Python's engine can be kept busy for ever by one, RE2 cannot.
    safe = library.validators.extend(
        library.Draft202012Validator, {"pattern": _pattern(library.ValidationError), "patternProperties": _nothing}
    )
    return _Library(safe, referencing.Registry(), library.SchemaError, unresolvable)


def _pattern(error: Any) -> Any:
    def check(_validator: object, pattern: object, instance: object, _schema: object) -> Iterator[object]:
        if isinstance(instance, str) and isinstance(pattern, str):
            compiled = _compiled(pattern)
            if compiled is not None and not compiled.search(instance):
                yield error(f"{instance!r} does not match {pattern!r}")

    return check


def _nothing(*_: object) -> Iterator[object]:
    return iter(())


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> Any:
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except re2.error:
        # Looking ahead and back is not in RE2; such a pattern is not checked.
        return None


@lru_cache(maxsize=256)
def _checked(encoded: bytes) -> Checked:
    if len(encoded) > MOST_SCHEMA:
        return Checked(None, f"the schema has {len(encoded):,} bytes; {MOST_SCHEMA:,} are read")
    schema, library = msgspec.json.decode(encoded), _library()
    try:
        library.validator.check_schema(schema)
    except library.schema_error as fault:
        return Checked(None, f"no JSON Schema: {str(fault).splitlines()[0][:200]}")
    except RecursionError:
        return Checked(None, "the schema is nested too deeply")
    return Checked(cast("Validator", library.validator(schema, registry=library.registry)))
