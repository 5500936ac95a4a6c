"""Values against a JSON Schema that somebody sent: tools' parameters, an eval's items, answers in a form.

JSON Schema 2020-12 by the `jsonschema` library, but for its patterns: those are matched by RE2, as Python's engine can
be kept busy for ever by one. No reference is followed out of a schema, and nothing fetched. What a schema may cost is
bounded: one of a kilobyte can ask for more steps than there are atoms.
"""

import importlib
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from functools import cache, lru_cache
from typing import Any, NamedTuple, Protocol, cast

import msgspec
import re2

# A schema of this size is hostile; tools' parameters have some hundred bytes.
MOST_SCHEMA = 200_000
MOST_FAULTS = 5
# Keywords looked at for one value, with what they hold (choices, properties) and each match of a pattern; a second.
MOST_STEPS = 200_000
# These two would match patterns by Python's engine, however they come about.
UNCHECKED = ("unevaluatedProperties", "unevaluatedItems")
_PROPERTIES, _PATTERN, _PATTERNS = "properties", "pattern", "patternProperties"


_left: ContextVar[list[int]] = ContextVar("steps left")


class _TooMuch(Exception):
    """A value and a schema together ask for too many steps."""


class Found(Protocol):
    """What is used of the library's errors."""

    message: str
    json_path: str


class Validator(Protocol):
    """What is used of the library's validators."""

    def iter_errors(self, instance: object) -> Iterator[Found]: ...  # noqa: D102  # the library's


class Checked(NamedTuple):
    """A schema made ready. fault: why it cannot be. unchecked: what nobody checks of it, each in words."""

    validator: Validator | None
    fault: str = ""
    unchecked: tuple[str, ...] = ()


TOO_DEEP = Checked(None, "the schema is nested too deeply")


def checked(schema: Mapping[str, object]) -> Checked:
    """The schema ready to check values."""
    try:
        encoded = msgspec.json.encode(schema, order="sorted")
    except RecursionError:
        return TOO_DEEP
    return _checked(encoded)


def faults_of(validator: Validator, value: object, root: str = "$") -> list[str]:
    """What of the value does not fit, the first five, in the order of their places. root: what the value is called."""
    _left.set([MOST_STEPS])
    try:
        found = [f"{root}{fault.json_path[1:]}: {fault.message[:200]}" for fault in _first(validator, value)]
    except _TooMuch:
        return [f"{root}: takes more than {MOST_STEPS:,} steps to check"]
    except ArithmeticError:
        return [f"{root}: a number is too large to check"]
    except RecursionError:
        return [f"{root}: the schema refers to itself without end"]
    except _library().unresolvable as fault:
        return [f"{root}: the schema refers to {str(fault)[:100]}, which it does not hold"]
    return sorted(found)


def _first(validator: Validator, value: object) -> Iterator[Found]:
    for number, fault in enumerate(validator.iter_errors(value)):
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
    # Loaded with the first schema: it takes 0.13 s, and a gateway seldom needs it.
    library = importlib.import_module("jsonschema")
    referencing = importlib.import_module("referencing")
    unresolvable = importlib.import_module("referencing.exceptions").Unresolvable
    own: dict[str, Any] = dict.fromkeys(UNCHECKED, _nothing)
    own |= {_PATTERN: _by_pattern(library.ValidationError), _PATTERNS: _by_patterns}
    own |= {"additionalProperties": _additional(library.ValidationError)}
    own |= {"uniqueItems": _unique(library.ValidationError)}
    usual = library.Draft202012Validator
    counted = {word: _counted(check) for word, check in {**usual.VALIDATORS, **own}.items()}
    safe = library.validators.extend(usual, counted)
    return _Library(safe, referencing.Registry(), library.SchemaError, unresolvable)


def _spend(steps: int) -> None:
    left = _left.get()
    left[0] -= steps
    if left[0] < 0:
        raise _TooMuch


def _counted(check: Callable[..., Iterator[object] | None]) -> Any:
    def count(validator: Any, value: object, instance: object, schema: object) -> Iterator[object]:
        _spend(1 + (len(value) if isinstance(value, list | dict) else 0))
        yield from check(validator, value, instance, schema) or ()

    return count


def _unique(error: Any) -> Any:
    def check(_validator: object, wanted: object, instance: object, _schema: object) -> Iterator[object]:
        """By digests: each beside each other takes ten seconds for some thousand."""
        if wanted is not True or not isinstance(instance, list):
            return
        if len({msgspec.json.encode(_plain(one), order="sorted") for one in instance}) < len(instance):
            yield error("has equal items")

    return check


def _plain(value: object) -> object:
    """1.0 is 1, and true is neither."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return {name: _plain(one) for name, one in value.items()} if isinstance(value, dict) else value


def _nothing(*_: object) -> Iterator[object]:
    return iter(())


def _by_pattern(error: Any) -> Any:
    def check(_validator: object, pattern: object, instance: object, _schema: object) -> Iterator[object]:
        if isinstance(instance, str) and not _matches(pattern, instance, otherwise=True):
            yield error(f"{instance!r} does not match {pattern!r}")

    return check


def _by_patterns(validator: Any, patterns: Mapping[str, object], instance: object, _schema: object) -> Iterator[object]:
    for name, value in instance.items() if isinstance(instance, dict) else ():
        for pattern, schema in patterns.items():
            if _matches(pattern, name, otherwise=False):
                yield from validator.descend(value, schema, path=name, schema_path=pattern)


def _additional(error: Any) -> Any:
    def check(validator: Any, additional: object, instance: object, schema: Mapping[str, Any]) -> Iterator[object]:
        named, patterns = schema.get(_PROPERTIES, {}), schema.get(_PATTERNS, {})
        for name, value in instance.items() if isinstance(instance, dict) else ():
            if name in named or any(_matches(pattern, name, otherwise=True) for pattern in patterns):
                continue
            if additional is False:
                yield error(f"{name!r} is not allowed")
            else:
                yield from validator.descend(value, additional, path=name)

    return check


def _matches(pattern: object, text: str, *, otherwise: bool) -> bool:
    """Whether it matches. otherwise: what is said of a pattern that RE2 cannot read."""
    _spend(1)
    compiled = _compiled(pattern) if isinstance(pattern, str) else None
    return otherwise if compiled is None else bool(compiled.search(text))


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
        unchecked = tuple(sorted(_unchecked(schema)))
    except library.schema_error as fault:
        return Checked(None, f"no JSON Schema: {str(fault).splitlines()[0][:200]}")
    except RecursionError:
        return TOO_DEEP
    return Checked(cast("Validator", library.validator(schema, registry=library.registry)), "", unchecked)


def _unchecked(schema: object) -> Iterator[str]:
    """What is found under a name that a schema's word has; a property of that name is told too, which harms nobody."""
    for value in schema if isinstance(schema, list) else ():
        yield from _unchecked(value)
    for word, value in schema.items() if isinstance(schema, dict) else ():
        if word in UNCHECKED:
            yield word
        patterns = [value] if word == _PATTERN else list(value) if word == _PATTERNS else []
        for pattern in patterns:
            if isinstance(pattern, str) and _compiled(pattern) is None:
                yield f"pattern {pattern!r}"
        yield from _unchecked(value)
