"""The smallest value that fits a JSON Schema, for structured outputs and tool arguments."""

from collections.abc import Callable, Mapping
from typing import Any

FILLER = "offline rehearsal"
MAX_DEPTH = 24
# A recursive choice of ten options would otherwise be tried ten to the twelfth times.
MAX_STEPS = 20_000

_FORMATS = {
    "date-time": "2026-01-01T00:00:00Z",
    "date": "2026-01-01",
    "time": "00:00:00Z",
    "duration": "PT1S",
    "email": "offline@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "uri": "https://example.com/",
}

Schema = Mapping[str, Any]


class NoInstance(Exception):
    """The schema demands a value without end, or allows none at all."""


def smallest_instance(schema: Any) -> Any:
    """A small value that is valid against `schema`; the same schema always gives the same value.

    Understands what structured outputs allow: types, properties, required, items, enum, const, anyOf, oneOf,
    allOf, $ref within the document, formats and limits of size. `pattern` is not understood: the filler
    text stands there. Raises NoInstance for a schema that no finite value fits.
    """
    return _Maker(schema).make(schema, 0)


class _Maker:
    def __init__(self, root: Any) -> None:
        self.root = root
        self.steps = 0
        self.by_type: dict[str, Callable[[Schema, int], Any]] = {
            "object": self.object,
            "array": self.array,
            "string": _string,
            "integer": _integer,
            "number": _integer,
            "boolean": lambda _schema, _depth: True,
            "null": lambda _schema, _depth: None,
        }

    def make(self, schema: Any, depth: int) -> Any:
        self.steps += 1
        if self.steps > MAX_STEPS or depth > MAX_DEPTH or schema is False:
            raise NoInstance
        if not isinstance(schema, Mapping):
            return FILLER
        if "const" in schema:
            return schema["const"]
        if schema.get("enum"):
            return schema["enum"][0]
        return self.composed(schema, depth)

    def composed(self, schema: Schema, depth: int) -> Any:
        if "$ref" in schema:
            return self.make(self.resolve(str(schema["$ref"])), depth + 1)
        if schema.get("allOf"):
            return self.make(self.merged(schema), depth + 1)
        options = schema.get("anyOf") or schema.get("oneOf")
        return self.first_that_fits(list(options), depth) if options else self.typed(schema, depth)

    def typed(self, schema: Schema, depth: int) -> Any:
        kind = schema.get("type", "object" if "properties" in schema else "string")
        if isinstance(kind, list):
            return self.first_that_fits([{**schema, "type": one} for one in kind], depth)
        maker = self.by_type.get(str(kind))
        if maker is None:
            raise NoInstance
        return maker(schema, depth)

    def first_that_fits(self, options: list[Any], depth: int) -> Any:
        for option in options:
            try:
                return self.make(option, depth + 1)
            except NoInstance:
                continue
        raise NoInstance

    def object(self, schema: Schema, depth: int) -> dict[str, Any]:
        properties = schema.get("properties") or {}
        return {name: self.make(properties.get(name, {}), depth + 1) for name in schema.get("required", ())}

    def array(self, schema: Schema, depth: int) -> list[Any]:
        count = min(int(schema.get("minItems", 0)), 1_000)
        return [self.make(schema.get("items", {}), depth + 1) for _ in range(count)]

    def merged(self, schema: Schema) -> dict[str, Any]:
        merged: dict[str, Any] = {key: value for key, value in schema.items() if key != "allOf"}
        for part in schema["allOf"]:
            given = self.resolve(str(part["$ref"])) if "$ref" in part else part
            properties = {**merged.get("properties", {}), **given.get("properties", {})}
            required = [*merged.get("required", ()), *given.get("required", ())]
            merged = {**merged, **given}
            if properties:
                merged["properties"] = properties
            if required:
                merged["required"] = list(dict.fromkeys(required))
        return merged

    def resolve(self, reference: str) -> Any:
        found = self.root
        for part in reference.removeprefix("#").split("/")[1:]:
            try:
                found = found[part.replace("~1", "/").replace("~0", "~")]
            except (KeyError, TypeError):
                raise NoInstance from None
        return found


def _string(schema: Schema, _depth: int) -> str:
    text = _FORMATS.get(str(schema.get("format")), FILLER)
    shortest, longest = int(schema.get("minLength", 0)), schema.get("maxLength")
    text = text.ljust(min(shortest, 10_000), ".")
    return text if longest is None else text[: max(int(longest), shortest)]


def _integer(schema: Schema, _depth: int) -> int | float:
    """The number nearest to 0 within the limits."""
    low, high = schema.get("minimum"), schema.get("maximum")
    if "exclusiveMinimum" in schema:
        low = schema["exclusiveMinimum"] + (1 if schema.get("type") == "integer" else 0.5)
    if "exclusiveMaximum" in schema:
        high = schema["exclusiveMaximum"] - (1 if schema.get("type") == "integer" else 0.5)
    number: int | float = 0
    if low is not None and low > number:
        number = low
    if high is not None and high < number:
        number = high
    step = schema.get("multipleOf")
    return number if not step or number % step == 0 else number + step - number % step
