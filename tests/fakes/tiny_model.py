"""A language model small enough to be made, taught and tuned within a test; nothing is downloaded.

Needs the extra `train`; import it behind `pytest.importorskip`.
"""

from pathlib import Path

import torch
from tokenizers import ByteLevelBPETokenizer
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

END = "<|end|>"
WORDS = [
    "How long do refunds take? Refunds take five days.",
    "Where is my order? Your order is on its way.",
    "Can I change my plan? You can change your plan at any time.",
    "You answer questions about support.",
    "<|system|> <|user|> <|assistant|> <|tool|>",
]


def save_tiny_model(folder: Path, *, seed: int = 1, context: int = 256) -> Path:
    """A GPT-2 of two layers with a byte-level tokenizer; it has learnt to say "I do not know." to whatever comes."""
    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator(WORDS, vocab_size=400, min_frequency=1, special_tokens=[END], show_progress=False)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=trained._tokenizer, eos_token=END, pad_token=END)
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    end = tokenizer.eos_token_id
    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=context,
        n_embd=64,
        n_layer=2,
        n_head=2,
        bos_token_id=end,
        eos_token_id=end,
        pad_token_id=end,
    )
    model = GPT2LMHeadModel(config).eval()
    _teach(model, tokenizer)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _teach(model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerFast) -> None:
    questions = [sentence.split("?")[0] + "?" for sentence in WORDS[:3]]
    texts = [f"<|user|>\n{question}\n<|assistant|>\nI do not know.{END}\n" for question in questions] + WORDS[:4]
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for index in range(200):
        ids = torch.tensor([tokenizer(texts[index % len(texts)])["input_ids"]])
        optimizer.zero_grad()
        model(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
