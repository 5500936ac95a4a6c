"""T: tools, calls of them, and what they gave back."""

import json
import re
from collections.abc import Mapping, Sequence

from gateway.tuning.datasets.faults import Code, Context, Family, Told
from gateway.tuning.datasets.places import Place, key_column
from gateway.tuning.datasets.rows import Row, Turn, is_object
from gateway.tuning.json_schemas import checked, faults_of

MOST_TOOLS = 128
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
_UNREAD = object()


class Tools:
    """Looks at the tools of rows one by one; nothing is remembered."""

    def __init__(self, context: Context) -> None:
        self._told, self._target = context.told, context.target

    def row(self, row: Row) -> None:
        declared = _declared(self._told, row)
        if "functions" in row.data:
            column = key_column(row.text, (), "functions")
            self._told.at("T007", row.line, column, "`functions` is the old form of `tools`")
        if not row.tools and not any(map(_uses_tools, row.all_turns())):
            return
        if not self._target.has_tools:
            self._told.row("T013", row, (), f"{self._target.name} does not take tools in training files")
        _Conversation(self._told, row, declared).read(row.turns)
        for output in (row.chosen, row.rejected):
            _Conversation(self._told, row, declared).read(output)

    def end(self) -> None:
        pass


class _Conversation:
    """Calls that wait for their result, as one goes through the messages."""

    def __init__(self, told: Told, row: Row, declared: Mapping[str, object] | None) -> None:
        self._told, self._row, self._declared = told, row, declared
        self._open: dict[str, Place] = {}
        self._ids: set[str] = set()

    def read(self, turns: Sequence[Turn]) -> None:
        for turn in turns:
            if turn.role == "tool":
                self._result(turn)
            elif self._open:
                for name, place in self._open.items():
                    self._told.row("T006", self._row, place, f"the call {name!r} has no result before the next message")
                self._open.clear()
            if "function_call" in turn.message or turn.role == "function":
                place = (*turn.place, "function_call" if "function_call" in turn.message else "role")
                self._told.row("T007", self._row, place, "`function_call` is the old form of `tool_calls`")
            if "tool_calls" in turn.message:
                self._calls(turn)

    def _result(self, turn: Turn) -> None:
        given = turn.message.get("tool_call_id")
        if not isinstance(given, str) or given not in self._open:
            told = "the result names no call" if given is None else f"the result is for {given!r}, which nobody called"
            self._told.row("T005", self._row, (*turn.place, "tool_call_id"), told)
            return
        del self._open[given]

    def _calls(self, turn: Turn) -> None:
        place = (*turn.place, "tool_calls")
        if not turn.is_answer or not turn.calls:
            told = "`tool_calls` is a list of calls, and only the assistant's"
            self._told.row("T012", self._row, place, told)
            return
        if len(turn.calls) > 1 and self._row.data.get("parallel_tool_calls") is False:
            told = f"{len(turn.calls)} calls at once, and `parallel_tool_calls` is false"
            self._told.row("T009", self._row, place, told)
        for number, call in enumerate(turn.calls):
            self._call(call, (*place, number))

    def _call(self, call: object, place: Place) -> None:
        function = call.get("function") if is_object(call) else None
        name = function.get("name") if is_object(function) else None
        if not is_object(call) or call.get("type") != "function" or not is_object(function) or not _is_name(name):
            told = "a call has `type` function, and a `function` with `name` and `arguments`"
            self._told.row("T012", self._row, place, told)
            return
        self._id(call.get("id"), place)
        arguments = self._arguments(function.get("arguments"), (*place, "function", "arguments"))
        if self._declared is None:
            if not self._row.data.get("functions"):
                told = f"the tool {name!r} is called, and the row declares no tools"
                self._told.row("T004", self._row, (*place, "function", "name"), told)
        elif name not in self._declared:
            self._told.row("T004", self._row, (*place, "function", "name"), f"the tool {name!r} is not among `tools`")
        elif arguments is not _UNREAD:
            self._fits(self._declared[str(name)], arguments, (*place, "function", "arguments"))

    def _id(self, given: object, place: Place) -> None:
        if not isinstance(given, str) or not given:
            self._told.row("T001", self._row, place, "the call has no id")
            return
        if given in self._ids:
            self._told.row("T001", self._row, (*place, "id"), f"the id {given!r} stands twice")
        self._ids.add(given)
        self._open[given] = place

    def _arguments(self, given: object, place: Place) -> object:
        if not isinstance(given, str):
            self._told.row("T002", self._row, place, "arguments must be a string of JSON")
            return given if is_object(given) else _UNREAD
        try:
            value = json.loads(given)
        except (ValueError, RecursionError):
            self._told.row("T002", self._row, place, "arguments are a string that is no JSON")
            return _UNREAD
        if isinstance(value, str):
            self._told.row("T010", self._row, place, "arguments are encoded twice: JSON in a string in a string")
            try:
                return json.loads(value)
            except (ValueError, RecursionError):
                return _UNREAD
        if not is_object(value):
            self._told.row("T002", self._row, place, "arguments must be a JSON object")
            return _UNREAD
        return value

    def _fits(self, parameters: object, arguments: object, place: Place) -> None:
        if not is_object(parameters):
            return
        ready = checked(parameters)
        for fault in faults_of(ready.validator, arguments) if ready.validator is not None else ():
            self._told.row("T003", self._row, place, f"arguments do not fit their schema: {fault}")


def _uses_tools(turn: Turn) -> bool:
    return turn.role in {"tool", "function"} or "tool_calls" in turn.message or "function_call" in turn.message


def _declared(told: Told, row: Row) -> Mapping[str, object] | None:
    """Parameters by the name of their tool; None where nothing is declared."""
    holder: Place = (*row.messages_place[:-1], "tools")
    if "tools" in row.data and not isinstance(row.data["tools"], list):
        told.row("T011", row, holder, "`tools` must be a list")
    if not row.tools:
        return None
    if len(row.tools) > MOST_TOOLS:
        told.row("T008", row, holder, f"{len(row.tools)} tools; {MOST_TOOLS} are taken")
    found: dict[str, object] = {}
    for number, tool in enumerate(row.tools):
        function = tool.get("function") if is_object(tool) else None
        if not is_object(tool) or tool.get("type") != "function" or not is_object(function):
            told.row("T011", row, (*holder, number), "a tool has `type` function and a `function`")
            continue
        name, parameters = function.get("name"), function.get("parameters")
        if not _is_name(name):
            place = (*holder, number, "function", "name")
            told.row("T008", row, place, f"the tool's name is {name!r}; it has 1 to 64 letters, digits, `_` and `-`")
            continue
        fault = checked(parameters).fault if is_object(parameters) else _untyped(parameters)
        if fault or name in found:
            place = (*holder, number, "function", "parameters")
            told.row("T011", row, place, f"the tool {name!r}: {fault or 'it is declared twice'}")
        found[str(name)] = parameters if not fault else None
    return found


def _untyped(parameters: object) -> str:
    return "" if parameters is None else "`parameters` must be a JSON Schema"


def _is_name(name: object) -> bool:
    return isinstance(name, str) and _NAME.match(name) is not None


FAMILY = Family(
    "Tools",
    (
        Code("T001", "error", "A call without an id, or an id that stands twice.", is_fixable=True),
        Code("T002", "error", "Arguments that are no string of a JSON object.", is_fixable=True),
        Code("T003", "error", "Arguments that do not fit the declared schema."),
        Code("T004", "error", "A tool is called that is not declared."),
        Code("T005", "error", "A result without the call that it is for."),
        Code("T006", "error", "A call without its result before the next message."),
        Code("T007", "warning", "The old form: `functions`, `function_call`, the role `function`.", is_fixable=True),
        Code("T008", "error", "Too many tools, or a tool's name that is not allowed."),
        Code("T009", "error", "Several calls at once where `parallel_tool_calls` is false."),
        Code("T010", "error", "Arguments encoded twice.", is_fixable=True),
        Code("T011", "error", "A declared tool that is none: its type, its schema, or it stands twice."),
        Code("T012", "error", "A call that is none: its type, its function, or who makes it."),
        Code("T013", "error", "Tools for a trainer that takes none."),
    ),
    Tools,
)
