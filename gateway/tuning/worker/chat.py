"""Conversations as tokens, by the chat template of the model, and which of the tokens are learnt."""

from collections.abc import Iterator
from typing import Any

from jinja2 import TemplateError

from gateway.core.values import Value
from gateway.tuning.worker.examples import Example, Turn, Turns

# For models that were never taught to chat; a line break after a block would be lost. An answer ends with the end
# token, or the tuned model would never stop.
PLAIN_TEMPLATE = (
    "{% for tool in tools or [] %}{{ '<|tool|>\\n' + tool | tojson + '\\n' }}{% endfor %}"
    "{% for message in messages %}"
    "{{ '<|' + message.role + '|>\\n' + message.content }}"
    "{% for call in message.tool_calls or [] %}{{ call.function | tojson }}{% endfor %}"
    "{% if message.role == 'assistant' %}{{ eos_token }}{% endif %}{{ '\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}"
)


class Encoded(Value, frozen=True):
    """A conversation. trained: for each token whether it is learnt; the first never is, nothing stands before it."""

    ids: tuple[int, ...]
    trained: tuple[bool, ...]


class Pair(Value, frozen=True):
    """Two conversations that differ in their last answer."""

    better: Encoded
    worse: Encoded


class NotChat(Exception):
    """The model's template does not take this conversation."""


def rendered(tokenizer: Any, turns: Turns, tools: list[Any], *, asks: bool) -> str:
    """The text that the model sees. asks: with what begins an answer. Raises NotChat with the template's reason."""
    try:
        text = tokenizer.apply_chat_template(turns, tools=tools or None, tokenize=False, add_generation_prompt=asks)
    except (TemplateError, TypeError, KeyError, IndexError) as fault:
        raise NotChat(f"the chat template of the model does not take this conversation ({fault})") from None
    return str(text)


def encode(tokenizer: Any, example: Example) -> list[Encoded]:
    """One sequence; more where the template rewrites earlier turns (as of models that drop their old reasoning).

    Text is cut at the borders of answers and each piece made tokens by itself: the same that a served model sees.
    Raises NotChat.
    """
    answers = [index for index, trained in enumerate(example.weights) if example.turns[index]["role"] == "assistant"]
    pieces = _in_one(tokenizer, example, answers)
    if pieces is not None:
        return [_encoded(tokenizer, pieces)]
    learnt = [index for index in answers if example.weights[index]]
    return [_encoded(tokenizer, _last_answer(tokenizer, example.turns[: index + 1], example.tools)) for index in learnt]


def encode_pair(tokenizer: Any, example: Example) -> Pair:
    """Both answers to the same question. Raises NotChat."""

    def side(answer: Turn | None) -> Encoded:
        turns = [*example.turns, answer] if answer is not None else example.turns
        return _encoded(tokenizer, _last_answer(tokenizer, turns, example.tools))

    return Pair(side(example.better), side(example.worse))


def _in_one(tokenizer: Any, example: Example, answers: list[int]) -> list[tuple[str, bool]] | None:
    """The whole conversation in pieces; None when what was said looks otherwise once more has been said."""
    pieces: list[tuple[str, bool]] = []
    before = ""
    for index in answers:
        if index == 0:
            return None
        prompt = rendered(tokenizer, example.turns[:index], example.tools, asks=True)
        whole = rendered(tokenizer, example.turns[: index + 1], example.tools, asks=False)
        if not prompt.startswith(before) or not whole.startswith(prompt):
            return None
        pieces += [(prompt[len(before) :], False), (whole[len(prompt) :], example.weights[index])]
        before = whole
    return pieces


def _last_answer(tokenizer: Any, turns: Turns, tools: list[Any]) -> list[tuple[str, bool]]:
    whole = rendered(tokenizer, turns, tools, asks=False)
    prompt = rendered(tokenizer, turns[:-1], tools, asks=True) if len(turns) > 1 else ""
    same = next(_differing(prompt, whole), min(len(prompt), len(whole)))
    return [(whole[:same], False), (whole[same:], True)]


def _differing(one: str, other: str) -> Iterator[int]:
    return (index for index, (left, right) in enumerate(zip(one, other, strict=False)) if left != right)


def _encoded(tokenizer: Any, pieces: list[tuple[str, bool]]) -> Encoded:
    ids: list[int] = []
    trained: list[bool] = []
    for text, is_trained in pieces:
        found = tokenizer(text, add_special_tokens=False)["input_ids"] if text else []
        ids += found
        trained += [is_trained] * len(found)
    if trained:
        trained[0] = False
    return Encoded(tuple(ids), tuple(trained))
