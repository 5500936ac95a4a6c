"""`python -m gateway.tuning.worker tiny --out DIR`: a base model of under a million weights, made on the spot.

For rehearsals and tests: nothing is downloaded, it is there in half a minute, and a tuned one can be told from it. It
has seen the words it is given and answers "I do not know." to everything; of language it knows nothing.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import ByteLevelBPETokenizer
from torch.optim import AdamW
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from gateway.core.values import Value
from gateway.tuning.worker.examples import FileFaults, Turn, read_file

END = "<|end|>"
ANSWER = "I do not know."
_ROLES = "<|system|> <|user|> <|assistant|> <|tool|>"
_MOST_TEXTS = 400
_RATE = 3e-3


class Sizes(Value, frozen=True):
    """context: tokens. words: of the vocabulary at most. width: of the layers, of which there are two."""

    context: int = 1024
    words: int = 2000
    width: int = 128
    steps: int = 600


USUAL = Sizes()


def make_tiny(
    folder: Path, questions: Sequence[str], texts: Sequence[str], *, seed: int = 1, sizes: Sizes = USUAL
) -> Path:
    """Writes the model and its tokenizer as `save_pretrained` does; the same seed and words make the same one."""
    trained = ByteLevelBPETokenizer()
    words = [*questions, *texts, ANSWER, _ROLES]
    trained.train_from_iterator(
        words, vocab_size=sizes.words, min_frequency=1, special_tokens=[END], show_progress=False
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=trained._tokenizer, eos_token=END, pad_token=END)  # noqa: SLF001  # how the library's own converters do it
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    end = tokenizer.eos_token_id
    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=sizes.context,
        n_embd=sizes.width,
        n_layer=2,
        n_head=2,
        bos_token_id=end,
        eos_token_id=end,
        pad_token_id=end,
    )
    model = GPT2LMHeadModel(config).eval()
    optimizer = AdamW(model.parameters(), lr=_RATE)
    asked = [f"<|user|>\n{question}\n<|assistant|>\n{ANSWER}{END}\n" for question in questions]
    lessons = [tokenizer(text)["input_ids"][: sizes.context] for text in (*asked, *texts) if text]
    for index in range(sizes.steps):
        ids = torch.tensor([lessons[index % len(lessons)]])
        optimizer.zero_grad()
        model(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def tiny(given: argparse.Namespace) -> int:
    """Makes one out of the words of a training file."""
    questions, texts = ["How are you?"], ["Very well."]
    if given.like is not None:
        try:
            examples = read_file(given.like, "supervised")
        except FileFaults as fault:
            sys.stderr.write(f"{given.like}: {fault}\n")
            return 65
        turns = [turn for example in examples for turn in example.turns]
        questions, texts = _said(turns, by="user"), _said(turns, by="assistant")
    make_tiny(given.out, questions, texts, sizes=Sizes(context=given.context))
    sys.stdout.write(f"{given.out}: a tiny model for rehearsals\n")
    return 0


def _said(turns: Sequence[Turn], *, by: str) -> list[str]:
    """What was said, each text once, so many evenly from all."""
    found = list(dict.fromkeys(str(turn["content"]) for turn in turns if turn["role"] == by and turn["content"]))
    return found[:: max(1, len(found) // _MOST_TEXTS)][:_MOST_TEXTS] or [ANSWER]
