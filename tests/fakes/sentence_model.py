"""A real sentence model of a few hundred numbers: a text's vector is the mean of its words' directions."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

DIMENSION = 32
PLACES = 512
# Words that mean the same are in one group; [VOID] means nothing at all.
GROUPS = (
    ("[UNK]",),
    ("vacation", "holiday", "holidays", "leave"),
    ("days", "day"),
    ("parking", "garage", "car"),
    ("refund", "money", "cash"),
    ("the", "a", "how", "many", "do", "i", "get", "is", "of", "for"),
    ("[VOID]",),
)
WORDS = tuple(word for group in GROUPS for word in group)


def write_sentence_model(
    folder: Path,
    *,
    seed: int = 1,
    output: str = "last_hidden_state",
    inputs: Sequence[str] = ("input_ids", "attention_mask", "token_type_ids"),
    kind: int = TensorProto.INT64,
    model: str = "model.onnx",
    pooling: str | None = None,
) -> Path:
    """The folder, with a model and a tokenizer as Hugging Face's exports have them.

    output: `sentence_embedding` gives (n, dim), any other name (n, tokens, dim). kind: the inputs' type. pooling:
    what `1_Pooling/config.json` asks for. At most PLACES tokens can be read.
    """
    path = folder / model
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(_graph(seed, output, inputs, kind), str(path))
    _tokenizer().save(str(folder / "tokenizer.json"))
    if pooling is not None:
        (folder / "1_Pooling").mkdir(exist_ok=True)
        modes = {"word_embedding_dimension": DIMENSION, "pooling_mode_mean_tokens": False, pooling: True}
        (folder / "1_Pooling" / "config.json").write_text(json.dumps(modes))
    return folder


def _graph(seed: int, output: str, inputs: Sequence[str], kind: int) -> Any:
    directions = np.random.default_rng(seed).standard_normal((len(GROUPS), DIMENSION)).astype(np.float32)
    directions[-1] = 0
    table = np.concatenate([np.repeat(row[None], len(group), 0) for row, group in zip(directions, GROUPS, strict=True)])
    # Nothing is added for a place, but a text with more tokens than places cannot be read.
    weights = [("table", table), ("places", np.zeros((PLACES, DIMENSION), np.float32))]
    numbers = [("from", np.array([0], np.int64)), ("along", np.array([0], np.int64))]
    whole = output != "sentence_embedding"
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["words"]),
        helper.make_node("Shape", ["input_ids"], ["shape"], start=1, end=2),
        helper.make_node("Slice", ["places", "from", "shape", "along"], ["here"]),
        helper.make_node("Add", ["words", "here"], [output if whole else "placed"]),
    ]
    if not whole:
        nodes.append(helper.make_node("ReduceMean", ["placed", "axes"], [output], keepdims=0))
        numbers.append(("axes", np.array([1], np.int64)))
    shape: list[str | int | None] = ["n", "tokens", DIMENSION] if whole else ["n", DIMENSION]
    graph = helper.make_graph(
        nodes,
        "words",
        [helper.make_tensor_value_info(name, kind, ["n", "tokens"]) for name in inputs],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(value, name) for name, value in (*weights, *numbers)],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def _tokenizer() -> Tokenizer:
    """As some exports are: it fills every text up to 16 tokens and cuts at 4, unless told otherwise."""
    tokenizer = Tokenizer(models.WordLevel({word: place for place, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Replace("VOID", "[VOID]")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Split("?", "removed")]
    )
    tokenizer.enable_padding(length=16)
    tokenizer.enable_truncation(4)
    return tokenizer
