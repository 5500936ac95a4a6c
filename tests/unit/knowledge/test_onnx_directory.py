import asyncio
import json
import shutil
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto

from gateway.core.errors import BadConfiguration
from gateway.knowledge.embedders import EmbedderFailed
from gateway.knowledge.embedders.onnx_directory import OnnxEmbedder
from gateway.knowledge.matrix import Matrix
from gateway.knowledge.settings import OnnxSettings
from tests.fakes.sentence_model import DIMENSION, PLACES, write_sentence_model


def embedder_of(folder: Path, max_tokens: int = 64, threads: int = 1) -> OnnxEmbedder:
    return OnnxEmbedder(OnnxSettings("local", str(folder), max_tokens, threads))


async def rows_of(folder: Path, *texts: str, max_tokens: int = 64) -> Matrix:
    return (await embedder_of(folder, max_tokens).embed(texts)).rows


def fault_of(folder: Path, max_tokens: int = 64) -> str:
    with pytest.raises(BadConfiguration) as bad:
        embedder_of(folder, max_tokens)
    [fault] = bad.value.faults
    return fault


async def test_rows_are_of_unit_length_and_in_the_order_of_the_texts(tmp_path: Path) -> None:
    embedded = await embedder_of(write_sentence_model(tmp_path)).embed(["vacation", "parking", "holiday"])
    assert embedded.rows.shape == (3, DIMENSION)
    assert embedded.rows.dtype == np.float32
    assert np.allclose(np.linalg.norm(embedded.rows, axis=1), 1)
    assert embedded.rows[0] @ embedded.rows[2] == pytest.approx(1)
    assert embedded.rows[0] @ embedded.rows[1] < 0.9


async def test_tokens_are_those_that_were_read(tmp_path: Path) -> None:
    """Not what the tokenizer's file fills up to (16) or cuts at (4)."""
    embedder = embedder_of(write_sentence_model(tmp_path), max_tokens=8)
    assert (await embedder.embed(["how many holidays do i get"])).tokens == 6
    assert (await embedder.embed(["day " * 5, "day " * 500])).tokens == 5 + 8


async def test_what_lies_beyond_the_limit_is_not_read(tmp_path: Path) -> None:
    folder = write_sentence_model(tmp_path)
    whole, head = await rows_of(folder, "holiday " * 8 + "parking " * 100, "holiday", max_tokens=8)
    assert np.allclose(whole, head, atol=1e-6)


async def test_a_text_has_one_vector_whatever_stands_beside_it(tmp_path: Path) -> None:
    folder = write_sentence_model(tmp_path)
    alone = await rows_of(folder, "how many days")
    among = await rows_of(folder, "parking", "how many days", "refund " * 60)
    assert (alone[0] == among[1]).all()


async def test_no_texts_and_a_text_without_words_are_answered(tmp_path: Path) -> None:
    embedder = embedder_of(write_sentence_model(tmp_path))
    assert (await embedder.embed([])).rows.shape == (0, DIMENSION)
    assert (await embedder.embed([""])).rows.shape == (1, DIMENSION)


async def test_the_shapes_that_exports_have_are_all_read(tmp_path: Path) -> None:
    """A row for each token or one for the text, under any name; inputs few, many, narrow; a folder `onnx`."""
    text = "how many days for the holidays"
    expected = await rows_of(write_sentence_model(tmp_path / "plain"), text)
    shapes = (
        write_sentence_model(tmp_path / "pooled", output="sentence_embedding"),
        write_sentence_model(tmp_path / "named", output="hidden"),
        write_sentence_model(tmp_path / "few", inputs=("input_ids", "attention_mask")),
        write_sentence_model(tmp_path / "narrow", kind=TensorProto.INT32),
        write_sentence_model(tmp_path / "below", model="onnx/model_quantized.onnx"),
        write_sentence_model(tmp_path / "told", pooling="pooling_mode_mean_tokens"),
    )
    for folder in shapes:
        assert np.allclose(await rows_of(folder, text), expected, atol=1e-6), folder.name


async def test_a_model_that_speaks_by_its_first_token_is_heard_so(tmp_path: Path) -> None:
    folder = write_sentence_model(tmp_path, pooling="pooling_mode_cls_token")
    whole, first = await rows_of(folder, "holiday parking parking", "holiday")
    assert np.allclose(whole, first)


async def test_more_threads_give_the_same(tmp_path: Path) -> None:
    folder = write_sentence_model(tmp_path)
    two = await embedder_of(folder, threads=2).embed(["how many days"])
    assert np.allclose(two.rows, await rows_of(folder, "how many days"))


async def test_a_vector_without_direction_is_the_embedders_failure(tmp_path: Path) -> None:
    embedder = embedder_of(write_sentence_model(tmp_path))
    with pytest.raises(EmbedderFailed, match="'local' gave a vector without direction"):
        await embedder.embed(["VOID"])
    assert (await embedder.embed(["day"])).tokens == 1


async def test_half_a_character_is_the_embedders_failure_and_nothing_worse(tmp_path: Path) -> None:
    """What JSON can hold and UTF-8 cannot."""
    with pytest.raises(EmbedderFailed, match="'local'"):
        await embedder_of(write_sentence_model(tmp_path)).embed(["day \ud800"])


def test_the_name_changes_with_all_that_decides_a_vector(tmp_path: Path) -> None:
    folder = write_sentence_model(tmp_path / "one")
    name = embedder_of(folder).name
    assert name.startswith("local:")
    shutil.copytree(folder, tmp_path / "copy")
    assert embedder_of(tmp_path / "copy").name == name
    assert embedder_of(folder, max_tokens=32).name != name
    assert embedder_of(write_sentence_model(tmp_path / "other", seed=2)).name != name
    words = json.loads((folder / "tokenizer.json").read_bytes())
    words["model"]["vocab"]["kangaroo"] = 1
    (folder / "tokenizer.json").write_text(json.dumps(words))
    assert embedder_of(folder).name != name


def test_it_is_still_the_same_until_a_setting_or_a_file_changes(tmp_path: Path) -> None:
    folder = write_sentence_model(tmp_path)
    embedder = embedder_of(folder)
    assert embedder.is_still(OnnxSettings("local", str(folder), 64))
    assert not embedder.is_still(OnnxSettings("local", str(folder), 32))
    write_sentence_model(folder, seed=2)
    assert not embedder.is_still(OnnxSettings("local", str(folder), 64))
    shutil.rmtree(folder)
    assert not embedder.is_still(OnnxSettings("local", str(folder), 64))


def test_what_is_wrong_with_a_folder_is_said(tmp_path: Path) -> None:
    assert fault_of(tmp_path / "none") == f"there is no folder {tmp_path / 'none'}."
    assert "has no model.onnx" in fault_of(tmp_path)
    folder = write_sentence_model(tmp_path)
    (folder / "tokenizer.json").write_text("{}")
    assert "tokenizer.json cannot be read: " in fault_of(folder)
    (folder / "tokenizer.json").unlink()
    assert fault_of(folder).endswith("has no tokenizer.json.")


@pytest.mark.parametrize("content", [b"", b"no model", b"\x08\x0a"])
def test_a_file_that_is_no_model_is_a_fault(tmp_path: Path, content: bytes) -> None:
    folder = write_sentence_model(tmp_path)
    (folder / "model.onnx").write_bytes(content)
    assert "model.onnx cannot be loaded: " in fault_of(folder)


def test_a_model_that_cannot_be_used_is_a_fault(tmp_path: Path) -> None:
    assert "cannot read 1000 tokens: " in fault_of(write_sentence_model(tmp_path / "short"), PLACES + 488)
    foreign = write_sentence_model(tmp_path / "foreign", inputs=("input_ids", "pixel_values"))
    assert "takes ['input_ids', 'pixel_values']" in fault_of(foreign)
    greatest = write_sentence_model(tmp_path / "greatest", pooling="pooling_mode_max_tokens")
    assert "asks for pooling_mode_max_tokens" in fault_of(greatest)


@pytest.mark.parametrize("missing", ["onnxruntime", "tokenizers"])
def test_without_the_extra_the_fault_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    folder = write_sentence_model(tmp_path)
    # What Python itself writes there for a module that must not be imported.
    monkeypatch.setitem(sys.modules, missing, None)
    assert fault_of(folder) == f'a local embedder needs the package {missing}: pip install "switchyard[local-embedder]"'


async def test_a_question_does_not_wait_for_the_documents_before_it(tmp_path: Path) -> None:
    embedder = embedder_of(write_sentence_model(tmp_path))
    documents = asyncio.create_task(embedder.embed(["day " * 60] * 20_000))
    await asyncio.sleep(0.05)
    await embedder.embed(["how many days"])
    assert not documents.done()
    documents.cancel()
    with pytest.raises(asyncio.CancelledError):
        await documents
    begun = time.monotonic()
    assert (await embedder.embed(["day"])).tokens == 1
    assert time.monotonic() - begun < 1.0, "a cancelled caller's texts are still being read"
