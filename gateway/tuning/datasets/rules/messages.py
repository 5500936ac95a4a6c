"""R: a row and its messages. Keys, roles, contents, weights, order."""

import re
from collections.abc import Mapping

from gateway.tuning.datasets.faults import Code, Context, Family
from gateway.tuning.datasets.places import Place, key_column
from gateway.tuning.datasets.rows import SYSTEM, Row, Turn, is_object

KEYS = {
    "supervised": frozenset({"messages", "tools", "parallel_tool_calls", "functions"}),
    "dpo": frozenset(
        {"input", "preferred_output", "non_preferred_output", "preferred_completion", "non_preferred_completion"}
    ),
}
MESSAGE_KEYS = frozenset(
    {"role", "content", "name", "weight", "tool_calls", "tool_call_id", "function_call", "refusal", "audio"}
)
# How rows look elsewhere, by a key that gives them away.
FOREIGN = {
    "system": "`system` beside `messages` is the form of Bedrock and Anthropic; here it is the first message",
    "conversations": "`conversations` is ShareGPT's form; here it is `messages` with `role` and `content`",
    "contents": "`contents` is Gemini's form; here it is `messages` with `role` and `content`",
    "systemInstruction": "`systemInstruction` is Gemini's form; here it is the first message",
    "instruction": "`instruction` and `output` are Alpaca's form; here they are a user's and an assistant's message",
    "text": "`text` alone is the form of continued pretraining; here it is `messages`",
}
_ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
_PARTS = frozenset({"text", "image_url", "refusal"})


class Messages:
    """Looks at rows one by one; nothing is remembered."""

    def __init__(self, context: Context) -> None:
        self._told, self._target, self._method = context.told, context.target, context.method

    def row(self, row: Row) -> None:
        foreign = self._other_forms(row)
        if self._method != "reinforcement":
            self._keys(row)
        if row.form == "preference" or (self._method == "dpo" and row.form == "chat"):
            self._each(row)
            return
        if row.form == "completion":
            self._told.row("R006", row, (), "prompt and completion are the form of old base models; write `messages`")
            return
        if not row.turns and not self._has_messages(row):
            if row.form == "chat" or not foreign:
                self._told.row("R010", row, ("messages",), "`messages` must be a list with messages in it")
            return
        self._each(row)
        if self._method == "supervised":
            self._answers(row)
        self._order(row)

    def end(self) -> None:
        pass

    def _has_messages(self, row: Row) -> bool:
        messages = row.data.get("messages")
        return isinstance(messages, list) and bool(messages)

    def _other_forms(self, row: Row) -> bool:
        found = [key for key in FOREIGN if key in row.data and (key == "system" or row.form == "other")]
        if self._method == "reinforcement" and row.form == "chat":
            return False
        for key in found:
            self._told.at("R007", row.line, key_column(row.text, (), key), FOREIGN[key])
        return bool(found)

    def _keys(self, row: Row) -> None:
        known = KEYS["dpo"] if row.form == "preference" else KEYS["supervised"]
        if row.form not in {"preference", "chat"}:
            return
        for key in row.data:
            if key not in known and key not in FOREIGN:
                self._told.at("R003", row.line, key_column(row.text, (), key), f"the key {key!r} is not known here")

    def _each(self, row: Row) -> None:
        for place, messages in _lists(row) if _has_odd(row) else ():
            for number, message in enumerate(messages):
                here = (*place, number)
                if not is_object(message):
                    self._told.row("R011", row, here, "a message must be an object with `role` and `content`")
                elif not isinstance(message.get("role"), str):
                    self._told.row("R011", row, here, "the message has no `role`")
        for turn in row.all_turns():
            if turn.role:
                self._role(row, turn)
            self._content(row, turn)
            if len(turn.message) > 2:
                self._extras(row, turn)

    def _role(self, row: Row, turn: Turn) -> None:
        place = (*turn.place, "role")
        if turn.role not in _ROLES:
            known = ", ".join(sorted(self._target.roles))
            self._told.row("R012", row, place, f"the role {turn.role!r} is not known; roles are {known}")
        elif turn.role not in self._target.roles:
            code = "R027" if turn.role == "developer" else "R012"
            self._told.row(code, row, place, f"{self._target.name} does not take the role {turn.role!r}")

    def _content(self, row: Row, turn: Turn) -> None:
        content = turn.message.get("content")
        place = (*turn.place, "content")
        if content is None:
            speaks_otherwise = turn.calls or turn.message.get("function_call") or turn.message.get("refusal")
            if not (turn.is_answer and speaks_otherwise):
                self._told.row("R014", row, place, f"the {turn.role or 'message'} has no content")
            return
        if isinstance(content, str):
            if not content.strip() and not turn.calls:
                code = "R015" if turn.is_answer else "R028"
                self._told.row(code, row, place, f"the content of the {turn.role or 'message'} is empty")
            return
        if not isinstance(content, list):
            self._told.row("R024", row, place, "content must be a string or a list of parts")
            return
        for number, part in enumerate(content):
            wrong = _part_fault(part)
            if wrong:
                self._told.row("R024", row, (*place, number), wrong)

    def _extras(self, row: Row, turn: Turn) -> None:
        message = turn.message
        for key in message.keys() - MESSAGE_KEYS:
            column = key_column(row.text, turn.place, key)
            self._told.at("R013", row.line, column, f"the key {key!r} is not known in a message")
        if "weight" in message:
            self._weight(row, turn, message["weight"])
        name = message.get("name")
        if name is not None and (not isinstance(name, str) or not _NAME.match(name)):
            told = "a name has 1 to 64 letters, digits, `_` and `-`"
            self._told.row("R022", row, (*turn.place, "name"), told)

    def _weight(self, row: Row, turn: Turn, weight: object) -> None:
        place = (*turn.place, "weight")
        if isinstance(weight, bool) or not isinstance(weight, int) or weight not in {0, 1}:
            self._told.row("R020", row, place, f"the weight is {weight!r}; it must be 0 or 1")
        if not turn.is_answer:
            self._told.row("R025", row, place, "only messages of the assistant are weighed")

    def _answers(self, row: Row) -> None:
        answers = [turn for turn in row.turns if turn.is_answer]
        if not answers:
            self._told.row("R016", row, row.messages_place, "no message of the assistant: there is nothing to learn")
        elif all(turn.message.get("weight", 1) == 0 for turn in answers):
            self._told.row("R021", row, row.messages_place, "every answer weighs 0: nothing is trained")
        if answers and not row.turns[-1].is_answer:
            last = row.turns[-1]
            told = f"the last message is the {last.role or 'one'}'s; what follows the last answer is not learned"
            self._told.row("R017", row, last.place, told)

    def _order(self, row: Row) -> None:
        if not any(turn.role == "user" for turn in row.turns):
            self._told.row("R023", row, row.messages_place, "no message of a user")
        systems = [number for number, turn in enumerate(row.turns) if turn.role in SYSTEM]
        if systems and systems != [0]:
            told = "the system message is not the first" if len(systems) == 1 else f"{len(systems)} system messages"
            self._told.row("R018", row, row.turns[systems[-1]].place, told)
        if self._target.alternates:
            self._turns(row)

    def _turns(self, row: Row) -> None:
        said = [turn for turn in row.turns if turn.role in {"user", "assistant"}]
        before = "assistant"
        for turn in said:
            if turn.role == before:
                told = "user and assistant must take turns, and the user begins"
                self._told.row("R019", row, turn.place, f"{self._target.name}: {told}")
            before = turn.role


def _part_fault(part: object) -> str:
    kind = part.get("type") if is_object(part) else None
    if not is_object(part) or not isinstance(kind, str) or kind not in _PARTS:
        return "a part must be an object of type `text` or `image_url`"
    if kind == "text" and not isinstance(part.get("text"), str):
        return "a text part has its words in `text`"
    image = part.get("image_url")
    if kind == "image_url" and not (is_object(image) and isinstance(image.get("url"), str)):
        return "an image part has its address in `image_url.url`"
    return ""


def _has_odd(row: Row) -> bool:
    """Whether a message may be no object or have no role; reading the row left the first kind out."""
    messages = row.data.get("messages")
    plain = row.form == "chat" and isinstance(messages, list) and len(messages) == len(row.turns)
    return not plain or not all(turn.role for turn in row.turns)


def _lists(row: Row) -> list[tuple[Place, list[object]]]:
    asked = row.data.get("input")
    holders: tuple[tuple[Place, object], ...] = (
        (("messages",), row.data.get("messages")),
        (("input", "messages"), asked.get("messages") if is_object(asked) else None),
        *_outputs(row.data),
    )
    return [(place, value) for place, value in holders if isinstance(value, list)]


def _outputs(data: Mapping[str, object]) -> tuple[tuple[Place, object], ...]:
    return tuple(((key,), data[key]) for key in KEYS["dpo"] if key != "input" and key in data)


FAMILY = Family(
    "Rows and messages",
    (
        Code("R001", "error", "The line is not JSON."),
        Code("R002", "error", "The line is JSON but no object."),
        Code("R003", "error", "A top-level key that is not known.", is_fixable=True),
        Code("R004", "error", "A Python dict in place of JSON.", is_fixable=True),
        Code("R005", "error", "A comma after the row, or before a closing bracket.", is_fixable=True),
        Code("R006", "error", "The prompt and completion form.", is_fixable=True),
        Code("R007", "error", "The form of another provider.", is_fixable=True),
        Code("R008", "error", "Half of a surrogate pair, or U+0000, in a string."),
        Code("R009", "error", "NaN or Infinity, which JSON has not."),
        Code("R010", "error", "`messages` is missing, empty or no list."),
        Code("R011", "error", "A message that is no object or has no role."),
        Code("R012", "error", "A role that is not known."),
        Code("R013", "error", "A key of a message that is not known.", is_fixable=True),
        Code("R014", "error", "Content is missing or null, and nothing stands in for it."),
        Code("R015", "error", "The assistant says nothing."),
        Code("R016", "error", "No message of the assistant."),
        Code("R017", "error", "The last message is not the assistant's.", is_fixable=True),
        Code("R018", "warning", "A system message that is not first, or a second one."),
        Code("R019", "error", "User and assistant do not take turns, which the trainer asks for.", is_fixable=True),
        Code("R020", "error", "A weight that is neither 0 nor 1."),
        Code("R021", "error", "All answers weigh 0."),
        Code("R022", "warning", "A name with other than letters, digits, `_` and `-`, or too long."),
        Code("R023", "warning", "No message of a user."),
        Code("R024", "error", "Content that is neither text nor a list of well-formed parts."),
        Code("R025", "error", "A weight on a message that is not the assistant's.", is_fixable=True),
        Code("R026", "error", "Several rows on one line.", is_fixable=True),
        Code("R027", "error", "The role `developer`, which the trainer does not take.", is_fixable=True),
        Code("R028", "warning", "A message that is not the assistant's and is empty."),
    ),
    Messages,
)
