"""Conversations as tokens: what is learnt is the answers and their end, whatever the template."""

from pathlib import Path
from typing import Any

import pytest

from gateway.tuning.worker.examples import Example, Turns

pytest.importorskip("jinja2", reason="training needs the extra `train`")
chat = pytest.importorskip("gateway.tuning.worker.chat")

ASKED = {"role": "user", "content": "Where is my order?"}
FIRST = {"role": "assistant", "content": "Your order is on its way."}
SECOND = {"role": "assistant", "content": "You can change your plan."}
# As of models that think: what they thought in earlier turns is taken out.
FORGETS = (
    "{% for message in messages %}[{{ message.role }}]"
    "{% if message.role == 'assistant' and loop.last %}(thought){% endif %}{{ message.content }}{{ eos_token }}"
    "{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}"
)
FUSSY = "{% if messages[0].role != 'system' %}{{ raise_exception('begin with a system message') }}{% endif %}x"


@pytest.fixture
def tokenizer(tiny_model: Path) -> Any:
    return pytest.importorskip("gateway.tuning.worker.model").load_tokenizer(str(tiny_model))


def example(turns: Turns, *weights: bool) -> Example:
    return Example(1, turns, weights, [])


def learnt(tokenizer: Any, encoded: Any) -> str:
    return str(tokenizer.decode([one for one, is_in in zip(encoded.ids, encoded.trained, strict=True) if is_in]))


def test_only_answers_with_their_end_are_learnt(tokenizer: Any) -> None:
    [encoded] = chat.encode(tokenizer, example([ASKED, FIRST], False, True))
    whole = tokenizer.decode(encoded.ids)
    assert whole == "<|user|>\nWhere is my order?\n<|assistant|>\nYour order is on its way.<|end|>\n"
    assert learnt(tokenizer, encoded) == "Your order is on its way.<|end|>\n"


def test_a_weight_of_nought_is_seen_and_not_learnt(tokenizer: Any) -> None:
    [encoded] = chat.encode(tokenizer, example([ASKED, FIRST, ASKED, SECOND], False, False, False, True))
    assert FIRST["content"] in tokenizer.decode(encoded.ids)
    assert learnt(tokenizer, encoded) == "You can change your plan.<|end|>\n"


def test_the_prompt_is_the_same_tokens_that_a_served_model_sees(tokenizer: Any) -> None:
    [encoded] = chat.encode(tokenizer, example([ASKED, FIRST], False, True))
    prompt = tokenizer(chat.rendered(tokenizer, [ASKED], [], asks=True), add_special_tokens=False)["input_ids"]
    assert list(encoded.ids[: len(prompt)]) == prompt
    assert not any(encoded.trained[: len(prompt)])


def test_a_template_that_rewrites_earlier_turns_gives_a_sequence_for_each_answer(tokenizer: Any) -> None:
    tokenizer.chat_template = FORGETS
    both = chat.encode(tokenizer, example([ASKED, FIRST, ASKED, SECOND], False, True, False, True))
    assert [learnt(tokenizer, one) for one in both] == [
        "(thought)Your order is on its way.<|end|>",
        "(thought)You can change your plan.<|end|>",
    ]
    [second] = chat.encode(tokenizer, example([ASKED, FIRST, ASKED, SECOND], False, False, False, True))
    assert "(thought)You" in learnt(tokenizer, second)


def test_a_pair_differs_in_its_last_answer(tokenizer: Any) -> None:
    pair = chat.encode_pair(tokenizer, Example(1, [ASKED], (False,), [], FIRST, SECOND))
    assert learnt(tokenizer, pair.better).startswith(FIRST["content"])
    assert learnt(tokenizer, pair.worse).startswith(SECOND["content"])


def test_a_conversation_that_the_template_refuses_is_told_with_its_reason(tokenizer: Any) -> None:
    tokenizer.chat_template = FUSSY
    with pytest.raises(chat.NotChat, match="begin with a system message"):
        chat.encode(tokenizer, example([ASKED, FIRST], False, True))
