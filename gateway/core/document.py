"""A YAML file that a human wrote: its values, and for each the line and column it stands on.

Text in, values out; no file is opened here. Faults come all at once, as `file:line:column: what`.
"""

from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from gateway.core.errors import BadConfiguration

Place = tuple[str | int, ...]
Model = TypeVar("Model", bound=BaseModel)

# An alias bomb grows by expansion; a policy of 1,000 rules has some 20,000 nodes.
MAX_NODES = 200_000
MAX_DEPTH = 60
# A fault of this type does not repeat what was written: logs must not become the place where a key leaks.
UNTOLD = "untold"
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Written(BaseModel):
    """The base of everything a human writes: unknown keys and NaN are faults, values are not edited."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Document:
    """A parsed file. data: plain Python values. marks: line and column (from 1) by place in the data."""

    def __init__(self, name: str, data: Any, marks: dict[Place, tuple[int, int]]) -> None:
        self.name = name
        self.data = data
        self.marks = marks

    def fault(self, place: Iterable[str | int], message: str) -> str:
        """`file:line:column: message` for the nearest known place."""
        return f"{self.at(place)}: {message}"

    def at(self, place: Iterable[str | int]) -> str:
        """`file:line:column` of the nearest known place."""
        known = tuple(place)
        while known and known not in self.marks:
            known = known[:-1]
        line, column = self.marks.get(known, (1, 1))
        return f"{self.name}:{line}:{column}"


class _Reader:
    def __init__(self, name: str) -> None:
        self.name = name
        self.marks: dict[Place, tuple[int, int]] = {}
        self.faults: list[str] = []
        self.nodes = 0
        self.scalars = yaml.constructor.SafeConstructor()

    def value(self, node: yaml.Node, place: Place) -> Any:
        self.nodes += 1
        if self.nodes > MAX_NODES or len(place) > MAX_DEPTH:
            limit = f"{MAX_NODES:,} values, {MAX_DEPTH} levels"
            raise BadConfiguration([f"{self._at(node)}: too large or too deep once aliases are expanded ({limit})."])
        self.marks.setdefault(place, (node.start_mark.line + 1, node.start_mark.column + 1))
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, place)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*place, index)) for index, item in enumerate(node.value)]
        try:
            return self.scalars.construct_object(node)
        except (yaml.YAMLError, ValueError) as fault:
            self.faults.append(f"{self._at(node)}: {str(fault).splitlines()[0]}")
        except (AttributeError, LookupError):
            # PyYAML's own constructors trip over a tag that does not fit its text, such as `!!bool maybe`.
            self.faults.append(f"{self._at(node)}: {node.value!r} does not fit its tag {node.tag!r}.")
        return None

    def _mapping(self, node: yaml.MappingNode, place: Place) -> dict[Any, Any]:
        found: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self.faults.append(f"{self._at(key_node)}: a key must be a plain word.")
                continue
            key = key_node.value
            if key in found:
                self.faults.append(f"{self._at(key_node)}: the key {key!r} stands twice.")
                continue
            here = (*place, key)
            self.marks[here] = (key_node.start_mark.line + 1, key_node.start_mark.column + 1)
            found[key] = self.value(value_node, here)
        return found

    def _at(self, node: yaml.Node) -> str:
        return f"{self.name}:{node.start_mark.line + 1}:{node.start_mark.column + 1}"


def read_document(text: str | bytes, name: str) -> Document:
    """The file's values and marks; an empty file is an empty mapping.

    Raises BadConfiguration with every fault: bad YAML, a key that stands twice, a bomb of aliases.
    """
    try:
        _refuse_depth(text, name)
        root = yaml.compose(text, Loader=LOADER)
    except yaml.MarkedYAMLError as fault:
        mark = fault.problem_mark or fault.context_mark
        at = f"{mark.line + 1}:{mark.column + 1}" if mark else "1:1"
        raise BadConfiguration([f"{name}:{at}: {fault.problem or fault.context}."]) from None
    except (yaml.YAMLError, UnicodeError, ValueError) as fault:
        raise BadConfiguration([f"{name}:1:1: {str(fault).splitlines()[0]}."]) from None
    reader = _Reader(name)
    data = {} if root is None else reader.value(root, ())
    if reader.faults:
        raise BadConfiguration(reader.faults)
    return Document(name, data, reader.marks)


def _refuse_depth(text: str | bytes, name: str) -> None:
    # Composing recurses in C without a limit: a hundred kilobytes of brackets would end the process.
    depth = 0
    for event in yaml.parse(text, Loader=LOADER):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        mark = event.start_mark
        if depth > MAX_DEPTH and mark is not None:
            at = f"{mark.line + 1}:{mark.column + 1}"
            raise BadConfiguration([f"{name}:{at}: nested too deeply; {MAX_DEPTH} levels are taken."])


def validate(document: Document, model: type[Model]) -> Model:
    """The document as `model`. Raises BadConfiguration naming every fault with its line and column."""
    if not isinstance(document.data, dict):
        raise BadConfiguration([document.fault((), "the file must be a mapping of keys to values.")])
    try:
        return model.model_validate(document.data)
    except ValidationError as error:
        told = {fault: _place_of(fault.removeprefix(document.name)) for fault in _faults(document, error)}
        raise BadConfiguration(sorted(told, key=told.__getitem__)) from None


def _place_of(fault: str) -> tuple[int, int]:
    _, line, column, *_ = fault.split(":")
    return int(line), int(column)


def _faults(document: Document, error: ValidationError) -> Iterator[str]:
    for fault in error.errors(include_url=False):
        place = tuple(part for part in fault["loc"] if isinstance(part, (str, int)))
        # Pydantic puts names of union members into the place; the marks know only what stands in the file.
        known: Place = ()
        for part in place:
            if (*known, part) in document.marks:
                known = (*known, part)
        # Of a list the fault has its own place; its name is the list's, also where one word was written for a list.
        name = next((str(part) for part in reversed(place) if isinstance(part, str)), document.name)
        kind, given = fault["type"], fault.get("input")
        if kind == "extra_forbidden":
            text = f"{name!r} is not a key here."
        elif kind == "missing":
            text = f"{name!r} is missing."
        elif kind != UNTOLD and (isinstance(given, (str, int, float, bool)) or given is None):
            text = f"{name} is {given!r}; {_lower(fault['msg'])}."
        else:
            text = f"{name}: {_lower(fault['msg'])}."
        yield document.fault(known, text)


def _lower(message: str) -> str:
    message = message.removeprefix("Value error, ").rstrip(".")
    return message[:1].lower() + message[1:]
