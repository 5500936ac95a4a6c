"""A row with what can be mended mended: only where what was meant is plain."""

import json
from collections.abc import Callable, Mapping

import msgspec

from gateway.tuning.datasets.rows import CHOSEN, REJECTED, is_object
from gateway.tuning.datasets.rules.messages import FOREIGN, KEYS, MESSAGE_KEYS
from gateway.tuning.datasets.targets import Method, Target

Object = dict[str, object]
_OUTPUTS = (*CHOSEN, *REJECTED)


def mended(data: Mapping[str, object], target: Target, method: Method) -> tuple[Object, tuple[str, ...]]:
    """The row as it should be, and the codes of what was changed. The row that came is not edited."""
    after: Object = dict(data)
    codes: dict[str, None] = {}
    for code, mend in _OF_ROWS:
        if mend(after, method):
            codes[code] = None
    for holder, key in _lists(after):
        messages = holder[key]
        if isinstance(messages, list):
            changed = [dict(message) if is_object(message) else message for message in messages]
            found = _mend_messages(changed, target, is_chat=key == "messages" and "input" not in after)
            if found:
                holder[key] = changed
                codes |= dict.fromkeys(found)
    return after, tuple(sorted(codes))


def written(data: Mapping[str, object]) -> bytes:
    """A row as a line. Keys keep their order; letters beyond ASCII are written as they are."""
    return msgspec.json.encode(data) + b"\n"


def _lists(after: Object) -> list[tuple[Object, str]]:
    found = [(after, key) for key in ("messages", *_OUTPUTS) if key in after]
    asked = after.get("input")
    if is_object(asked) and "messages" in asked:
        copy = dict(asked)
        after["input"] = copy
        found.append((copy, "messages"))
    return found


def _system_key(after: Object, _method: Method) -> bool:
    messages, system = after.get("messages"), after.get("system")
    if not isinstance(system, str) or not isinstance(messages, list):
        return False
    if any(is_object(message) and message.get("role") in ("system", "developer") for message in messages):
        return False
    del after["system"]
    after["messages"] = [{"role": "system", "content": system}, *messages]
    return True


def _completion(after: Object, _method: Method) -> bool:
    prompt, completion = after.get("prompt"), after.get("completion")
    if "messages" in after or not isinstance(prompt, str) or not isinstance(completion, str):
        return False
    if not prompt.strip() or not completion.strip():
        return False
    del after["prompt"], after["completion"]
    # The old form had a space before each completion and a separator after each prompt: no part of either.
    asked, answered = prompt.strip(), completion.strip()
    after["messages"] = [{"role": "user", "content": asked}, {"role": "assistant", "content": answered}]
    return True


def _spelling(after: Object, _method: Method) -> bool:
    changed = False
    for right, older in (CHOSEN, REJECTED):
        if older in after and right not in after:
            after[right] = after.pop(older)
            changed = True
    return changed


def _unknown_keys(after: Object, method: Method) -> bool:
    if method == "reinforcement" or ("messages" not in after and "input" not in after):
        return False
    known = KEYS["dpo"] if "input" in after and any(key in after for key in _OUTPUTS) else KEYS["supervised"]
    dropped = [key for key in after if key not in known and key not in FOREIGN]
    for key in dropped:
        del after[key]
    return bool(dropped)


def _functions(after: Object, _method: Method) -> bool:
    functions = after.get("functions")
    if "tools" in after or not isinstance(functions, list) or not all(map(is_object, functions)):
        return False
    del after["functions"]
    after["tools"] = [{"type": "function", "function": function} for function in functions]
    return True


_OF_ROWS: tuple[tuple[str, Callable[[Object, Method], bool]], ...] = (
    ("R007", _system_key),
    ("R006", _completion),
    ("D001", _spelling),
    ("R003", _unknown_keys),
    ("T007", _functions),
)


def _mend_messages(messages: list[object], target: Target, *, is_chat: bool) -> list[str]:
    """Mends the messages in place. is_chat: a whole conversation, and no output or input of a preference."""
    found: list[str] = []
    for number, message in enumerate(messages):
        if isinstance(message, dict):
            found += _mend_message(message, number, target)
    found += _pair_functions(messages)
    if is_chat and _trim(messages):
        found.append("R017")
    if is_chat and target.alternates and _merge(messages):
        found.append("R019")
    return found


def _mend_message(message: Object, number: int, target: Target) -> list[str]:
    found = []
    if message.get("role") == "developer" and "developer" not in target.roles:
        message["role"] = "system"
        found.append("R027")
    # A reply that was logged brings keys with nothing in them.
    for key in [key for key in message if key not in MESSAGE_KEYS]:
        del message[key]
        found.append("R013")
    if "weight" in message and message.get("role") != "assistant":
        del message["weight"]
        found.append("R025")
    calls = message.get("tool_calls")
    if isinstance(calls, list):
        mended_calls = [_call(call, number, place, found) for place, call in enumerate(calls)]
        if mended_calls != calls:
            message["tool_calls"] = mended_calls
    return found


def _call(call: object, number: int, place: int, found: list[str]) -> object:
    function = call.get("function") if is_object(call) else None
    if not is_object(call) or not is_object(function):
        return call
    after, inner = dict(call), dict(function)
    arguments = inner.get("arguments")
    if is_object(arguments):
        inner["arguments"] = json.dumps(arguments, ensure_ascii=False)
        found.append("T002")
    elif isinstance(arguments, str):
        once = _once(arguments)
        if once is not None:
            inner["arguments"] = once
            found.append("T010")
    if not after.get("id"):
        # By its place, so that the same file gives the same ids.
        after["id"] = f"call_{number}_{place}"
        found.append("T001")
    after["function"] = inner
    return after


def _once(arguments: str) -> str | None:
    """Arguments that were encoded twice, decoded once; None where they were not."""
    try:
        value = json.loads(arguments)
        return value if isinstance(value, str) and is_object(json.loads(value)) else None
    except (ValueError, RecursionError):
        return None


def _pair_functions(messages: list[object]) -> list[str]:
    """`function_call` and the result after it, as `tool_calls` and `tool`; only where each has the other."""
    changed = False
    for number, message in enumerate(messages):
        call = message.get("function_call") if isinstance(message, dict) else None
        if not isinstance(message, dict) or not is_object(call) or "tool_calls" in message:
            continue
        result = messages[number + 1] if number + 1 < len(messages) else None
        is_answered = isinstance(result, dict) and result.get("role") == "function"
        if result is not None and not is_answered:
            continue
        identity = f"call_{number}_0"
        del message["function_call"]
        message["tool_calls"] = [{"id": identity, "type": "function", "function": call}]
        if isinstance(result, dict):
            result.pop("name", None)
            result.update({"role": "tool", "tool_call_id": identity})
        changed = True
    return ["T007"] if changed else []


def _trim(messages: list[object]) -> bool:
    """Drops what follows the last answer; nothing learns from it."""
    answers = [number for number, message in enumerate(messages) if _role(message) == "assistant"]
    if not answers or answers[-1] == len(messages) - 1:
        return False
    last = messages[answers[-1]]
    if isinstance(last, dict) and last.get("tool_calls"):
        # Results that follow a call belong to it.
        return False
    del messages[answers[-1] + 1 :]
    return True


def _merge(messages: list[object]) -> bool:
    """Makes neighbours of one role, each of plain text alone, one message."""
    merged: list[object] = []
    for message in messages:
        before = merged[-1] if merged else None
        if _is_plain(message) and _is_plain(before) and _role(message) == _role(before):
            assert isinstance(before, dict)
            assert isinstance(message, dict)
            merged[-1] = {**before, "content": f"{before['content']}\n\n{message['content']}"}
        else:
            merged.append(message)
    changed = len(merged) != len(messages)
    messages[:] = merged
    return changed


def _is_plain(message: object) -> bool:
    return (
        isinstance(message, dict)
        and message.keys() == {"role", "content"}
        and message["role"] in ("user", "assistant")
        and isinstance(message["content"], str)
    )


def _role(message: object) -> object:
    return message.get("role") if isinstance(message, dict) else None
