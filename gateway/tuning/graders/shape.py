"""Whether a value has the shape that a JSON Schema asks for: an eval's items, and answers in a form.

JSON Schema in part: the words of CHECKED. Of an eval's schema other words are kept and told, and not checked; a grader
with one is refused, as its score would promise what nobody looked at.
"""

from collections.abc import Iterator, Mapping

from gateway.core.json_value import Json

MOST_DEPTH = 32
CHECKED = frozenset({"type", "properties", "required", "items", "enum", "const", "additionalProperties"})
# Words that ask for nothing.
TELLING = frozenset({"$schema", "$id", "$comment", "title", "description", "default", "examples"})
KINDS: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "number": (int, float),
    "integer": (int, float),
    "boolean": (bool,),
    "null": (),
}


def faults_of(value: Json, schema: Json, path: str = "item", depth: int = 0) -> Iterator[str]:
    """What does not fit, in words, each with its path."""
    if not isinstance(schema, Mapping) or depth > MOST_DEPTH:
        return
    kinds = schema.get("type")
    wanted = [kinds] if isinstance(kinds, str) else kinds if isinstance(kinds, list) else []
    if wanted and not any(_is(value, kind) for kind in wanted):
        yield f"{path} must be {' or '.join(map(str, wanted))}"
        return
    options = schema.get("enum")
    if isinstance(options, list) and value not in options:
        yield f"{path} must be one of {options}"
    if "const" in schema and value != schema["const"]:
        yield f"{path} must be {schema['const']!r}"
    if isinstance(value, dict):
        yield from _of_object(value, schema, path, depth)
    if isinstance(value, list):
        for place, one in enumerate(value):
            yield from faults_of(one, schema.get("items"), f"{path}[{place}]", depth + 1)


def _of_object(value: Mapping[str, Json], schema: Mapping[str, Json], path: str, depth: int) -> Iterator[str]:
    required = schema.get("required")
    for name in required if isinstance(required, list) else []:
        if name not in value:
            yield f"{path}.{name} is missing"
    properties = schema.get("properties")
    known = properties if isinstance(properties, Mapping) else {}
    for name, inner in value.items():
        if name in known:
            yield from faults_of(inner, known[name], f"{path}.{name}", depth + 1)
        elif schema.get("additionalProperties") is False:
            yield f"{path}.{name} is not allowed"
        else:
            yield from faults_of(inner, schema.get("additionalProperties"), f"{path}.{name}", depth + 1)


def unchecked(schema: Json, path: str = "", depth: int = 0) -> Iterator[str]:
    """Words of a schema that nobody checks here, each with its path."""
    if not isinstance(schema, Mapping):
        return
    if depth > MOST_DEPTH:
        yield f"{path or 'the schema'} is nested too deeply"
        return
    for word in schema:
        if word not in CHECKED | TELLING:
            yield f"{path}.{word}".lstrip(".")
    properties = schema.get("properties")
    for name, inner in properties.items() if isinstance(properties, Mapping) else ():
        yield from unchecked(inner, f"{path}.properties.{name}".lstrip("."), depth + 1)
    for word in ("items", "additionalProperties"):
        yield from unchecked(schema.get(word), f"{path}.{word}".lstrip("."), depth + 1)


def _is(value: Json, kind: Json) -> bool:
    if isinstance(value, bool) or value is None:
        named = "boolean" if isinstance(value, bool) else "null"
        # A kind that nobody knows is no reason to refuse an item.
        return kind == named or kind not in KINDS
    if kind == "integer":
        return isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    found = KINDS.get(str(kind))
    return found is None or isinstance(value, found)
