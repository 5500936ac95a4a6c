"""How many tokens a training example has, and how many of them are learned: by the documented chat formula."""

from collections.abc import Iterable, Sequence
from functools import lru_cache

import msgspec

from gateway.core.values import Value
from gateway.tuning.datasets.rows import Row, Turn, is_object
from gateway.wire.tokens import EncodingName, count_tokens

# OpenAI's cookbook, "Data preparation and analysis for chat model fine-tuning": three for each message, one more for
# a name, three for the start of the reply.
PER_MESSAGE = 3
PER_NAME = 1
PER_EXAMPLE = 3
# An image at low detail (vision guide). At high detail its size decides, which a URL does not tell: this is a floor.
PER_IMAGE = 85
_O200K = ("gpt-4o", "gpt-4.1", "chatgpt-4o", "gpt-5", "gpt-6", "o1", "o3", "o4")
_CL100K = ("gpt-4", "gpt-3.5", "davinci-002", "babbage-002")


class Vocabulary(Value, frozen=True):
    """Which tokenizer counts. is_estimate: the base is not known to use it, so the counts are near, not right."""

    encoding: EncodingName
    is_estimate: bool


class ExampleTokens(Value, frozen=True):
    """Tokens of one example. prompt: all but the answer. rejected: of a preference row's worse output.

    trained: of the assistant's messages that weigh; what a loss is computed on.
    """

    prompt: int
    answer: int
    trained: int
    rejected: int = 0

    @property
    def total(self) -> int:
        """All of them: what is billed once an epoch."""
        return self.prompt + self.answer + self.rejected

    @property
    def longest(self) -> int:
        """What must fit into the trainer's limit: the prompt with the longer of its outputs."""
        return self.prompt + max(self.answer, self.rejected)


def vocabulary_of(base: str) -> Vocabulary:
    """The tokenizer of a base model, tuned or not; o200k_base as an estimate for one that is not OpenAI's."""
    name = base.removeprefix("ft:").rpartition("/")[2]
    if name.startswith(_O200K):
        return Vocabulary("o200k_base", is_estimate=False)
    if name.startswith(_CL100K):
        return Vocabulary("cl100k_base", is_estimate=False)
    return Vocabulary("o200k_base", is_estimate=True)


def example_tokens(row: Row, encoding: EncodingName) -> ExampleTokens:
    """The tokens of one row. Images count as 85 each, tools by their JSON."""
    answer = row.answer
    if row.form == "preference":
        asked = PER_EXAMPLE + _of_turns(row.turns, encoding) + _of_tools(row.tools, encoding)
        chosen = _of_turns(row.chosen, encoding)
        return ExampleTokens(asked, chosen, chosen, _of_turns(row.rejected, encoding))
    counts = [_of_turn(turn, encoding) for turn in row.turns]
    last = counts[-1] if answer is not None else 0
    trained = sum(count for turn, count in zip(row.turns, counts, strict=True) if _weighs(turn))
    prompt = PER_EXAMPLE + sum(counts) - last + _of_tools(row.tools, encoding) + _of_tools(_functions(row), encoding)
    return ExampleTokens(prompt, last, trained)


class TokenCounter:
    """Counts rows for one base model, and adds them up. total, trained: of all rows that were asked about."""

    def __init__(self, base: str) -> None:
        self.vocabulary = vocabulary_of(base)
        self.total = self.trained = 0

    def of(self, row: Row) -> ExampleTokens:
        """The row's tokens, counted anew each time."""
        counted = example_tokens(row, self.vocabulary.encoding)
        self.total += counted.total
        self.trained += counted.trained
        return counted


def _functions(row: Row) -> Sequence[object]:
    given = row.data.get("functions")
    return given if isinstance(given, list) else ()


def _weighs(turn: Turn) -> bool:
    return turn.is_answer and turn.message.get("weight") != 0


def _of_turns(turns: Iterable[Turn], encoding: EncodingName) -> int:
    return sum(_of_turn(turn, encoding) for turn in turns)


def _of_turn(turn: Turn, encoding: EncodingName) -> int:
    message = turn.message
    count = PER_MESSAGE + _of_word(turn.role, encoding)
    # A system prompt stands in every row; counting it once is most of the time saved.
    count += _of_prompt(turn.text, encoding) if turn.role in {"system", "developer"} else _of(turn.text, encoding)
    if len(message) == 2 and isinstance(message.get("content"), str):
        return count
    name = message.get("name")
    if isinstance(name, str):
        count += PER_NAME + _of_word(name, encoding)
    for call in (*turn.calls, {"function": message.get("function_call")}):
        function = call.get("function") if is_object(call) else None
        if is_object(function):
            count += sum(_of(value, encoding) for value in function.values() if isinstance(value, str))
    content = message.get("content")
    if isinstance(content, list):
        count += PER_IMAGE * sum(is_object(part) and part.get("type") == "image_url" for part in content)
    return count


def _of(text: str, encoding: EncodingName) -> int:
    try:
        return count_tokens(text, encoding)
    except UnicodeEncodeError:
        # Half a surrogate pair, which lint names; it is counted as the character that stands for what cannot be read.
        return count_tokens(text.encode("utf-8", "replace").decode(), encoding)


@lru_cache(maxsize=256)
def _of_word(text: str, encoding: EncodingName) -> int:
    return _of(text, encoding)


@lru_cache(maxsize=64)
def _of_prompt(text: str, encoding: EncodingName) -> int:
    return _of(text, encoding)


def _of_tools(tools: Sequence[object], encoding: EncodingName) -> int:
    return _of_prompt(msgspec.json.encode(tools).decode(), encoding) if tools else 0
