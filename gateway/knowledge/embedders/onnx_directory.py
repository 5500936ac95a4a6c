"""A sentence model of the operator's own, in a folder: read once, run in this process, nothing leaves the machine."""

import asyncio
import hashlib
import importlib
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from gateway.core.errors import BadConfiguration
from gateway.knowledge.embedders import DimensionMismatch, Embedded, EmbedderFailed
from gateway.knowledge.matrix import Matrix
from gateway.knowledge.settings import OnnxSettings

EXTRA = 'pip install "switchyard[local-embedder]"'
# Where exports put the graph, the first that is there.
MODELS = ("model.onnx", "model_quantized.onnx", "onnx/model.onnx", "onnx/model_quantized.onnx")
TOKENIZER = "tokenizer.json"
POOLING = "1_Pooling/config.json"
INPUTS = frozenset({"input_ids", "attention_mask", "token_type_ids"})
# A row for each text before a row for each token; what comes first where none has such a name.
OUTPUTS = ("sentence_embedding", "last_hidden_state", "token_embeddings")
INTEGERS = {"tensor(int64)": np.int64, "tensor(int32)": np.int32}
# No usual word has more characters a token; what lies beyond would only be read to be cut off.
MOST_CHARACTERS_A_TOKEN = 16

Stamp = tuple[tuple[str, int, int], ...]


class OnnxEmbedder:
    """Reads one text at a time in one thread of its own, so that a question waits for one text and not for a batch.

    A batch saves nothing worth having on a CPU, and 8-bit models then give a text another vector in other company.
    Building it loads the model and reads a text of `max_tokens` with it, which takes some 0.3 s. Raises
    BadConfiguration with what is wrong with the folder, or the extra that is not installed.
    """

    is_local = True

    def __init__(self, settings: OnnxSettings) -> None:
        self.settings = settings
        self._stamp = _stamp(settings)
        model, *others = _files(settings)
        self._tokenizer = _tokenizer(others[0], settings.max_tokens)
        self._first_token_only = _takes_first_token(Path(settings.path) / POOLING)
        self._session = _session(model, settings.threads)
        self._inputs = {given.name: INTEGERS.get(given.type) for given in self._session.get_inputs()}
        if "input_ids" not in self._inputs or not self._inputs.keys() <= INPUTS or None in self._inputs.values():
            raise BadConfiguration([f"{model} takes {sorted(self._inputs)}; {sorted(INPUTS)} can be given."])
        names = [given.name for given in self._session.get_outputs()]
        self._output = next((name for name in OUTPUTS if name in names), names[0])
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"embedder-{settings.name}")
        self._name = f"{settings.name}:{_digest(settings)}"
        self._dimension: int | None = None
        try:
            self._dimension = len(self._row("word " * settings.max_tokens)[0])
        except (EmbedderFailed, DimensionMismatch) as fault:
            raise BadConfiguration([f"{model} cannot read {settings.max_tokens} tokens: {fault}"]) from None

    @property
    def name(self) -> str:
        """The configured name and a hash of all that decides a vector: another model file embeds anew."""
        return self._name

    def is_still(self, settings: OnnxSettings) -> bool:
        """Whether these settings and the files as they are now would give this same embedder."""
        return settings == self.settings and self._stamp == _stamp(settings)

    async def embed(self, texts: Sequence[str]) -> Embedded:
        """One row for each text, of its first `max_tokens` tokens; the tokens that were read.

        A cancelled caller leaves the text in hand running to its end, and none after it.
        """
        loop = asyncio.get_running_loop()
        rows = np.empty((len(texts), self._dimension or 0), np.float32)
        total = 0
        for place, text in enumerate(texts):
            rows[place], tokens = await loop.run_in_executor(self._thread, self._row, text)
            total += tokens
        return Embedded(rows, total)

    def _row(self, text: str) -> tuple[Matrix, int]:
        """A text's vector (dim,) and its tokens. Raises EmbedderFailed and DimensionMismatch."""
        settings = self.settings
        cut = text[: settings.max_tokens * MOST_CHARACTERS_A_TOKEN]
        try:
            # A batch of one: unlike `encode`, it lets other threads run meanwhile.
            ids = self._tokenizer.encode_batch_fast([cut])[0].ids or [0]
            given = {
                name: np.full((1, len(ids)), name == "attention_mask", kind) for name, kind in self._inputs.items()
            }
            given["input_ids"][0] = ids
            (found,) = self._session.run([self._output], given)
        except Exception as fault:  # noqa: BLE001  # both libraries raise bare Exceptions
            raise EmbedderFailed(f"Embedder {settings.name!r} failed: {_first_line(fault)}") from None
        row = self._pooled(np.asarray(found, np.float32)[0])
        if row.ndim != 1 or len(row) != (self._dimension or len(row)):
            raise DimensionMismatch(
                f"Embedder {self.name!r} gave an output of shape {np.shape(found)} for {len(ids)} tokens; "
                "(1, tokens, dim) or (1, dim) was due."
            )
        norm = float(np.linalg.norm(row))
        if not np.isfinite(norm) or norm <= 0:
            raise EmbedderFailed(f"Embedder {settings.name!r} gave a vector without direction.")
        return row / np.float32(norm), len(ids)

    def _pooled(self, found: Matrix) -> Matrix:
        """(tokens, dim) as the mean of its tokens, or its first where the model says so; (dim,) as it is."""
        if found.ndim != 2:
            return found
        return found[0] if self._first_token_only else np.asarray(found.mean(axis=0), np.float32)


def _files(settings: OnnxSettings) -> tuple[Path, ...]:
    """The model, the tokenizer, and what else decides a vector. Raises BadConfiguration when one is missing."""
    folder = Path(settings.path)
    if not folder.is_dir():
        raise BadConfiguration([f"there is no folder {settings.path}."])
    model = next((folder / name for name in MODELS if (folder / name).is_file()), None)
    if model is None:
        raise BadConfiguration([f"{folder} has no model.onnx; looked for {', '.join(MODELS)}."])
    if not (folder / TOKENIZER).is_file():
        raise BadConfiguration([f"{folder} has no {TOKENIZER}."])
    beside = (folder / POOLING, model.with_name(f"{model.name}_data"))
    return (model, folder / TOKENIZER, *(file for file in beside if file.is_file()))


def _stamp(settings: OnnxSettings) -> Stamp:
    """Changes when a file does: names, sizes, times. Empty when one is missing."""
    try:
        return tuple(_status(_files(settings)))
    except (BadConfiguration, OSError):
        return ()


def _digest(settings: OnnxSettings) -> str:
    """Of all that decides a vector, 12 hex digits. 90 MB take 0.1 s."""
    digest = hashlib.sha256(b"%d" % settings.max_tokens)
    for file in _files(settings):
        with file.open("rb") as data:
            digest.update(hashlib.file_digest(data, "sha256").digest())
    return digest.hexdigest()[:12]


def _status(files: Sequence[Path]) -> Iterator[tuple[str, int, int]]:
    for file in files:
        status = file.stat()
        yield str(file), status.st_mtime_ns, status.st_size


def _library(name: str) -> Any:
    # Imported for the first local embedder and not before: it is an extra, and takes 0.1 s and 25 MB.
    try:
        return importlib.import_module(name)
    except ImportError:
        raise BadConfiguration([f"a local embedder needs the package {name}: {EXTRA}"]) from None


def _tokenizer(file: Path, max_tokens: int) -> Any:
    library = _library("tokenizers")
    try:
        tokenizer = library.Tokenizer.from_file(str(file))
        # The file's own settings may cut at another length, and fill every text up to it.
        tokenizer.no_padding()
        tokenizer.enable_truncation(max_tokens)
    except Exception as fault:  # noqa: BLE001  # what it raises is a bare Exception
        raise BadConfiguration([f"{file} cannot be read: {_first_line(fault)}"]) from None
    return tokenizer


def _session(file: Path, threads: int) -> Any:
    library = _library("onnxruntime")
    options = library.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # What goes wrong is raised; the library would also write it to stderr, past our log.
    options.log_severity_level = 4
    # A thread of its pool that waits must sleep: spinning, it would take a core from the event loop.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return library.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    except Exception as fault:  # noqa: BLE001  # its errors have no common class below Exception
        raise BadConfiguration([f"{file} cannot be loaded: {_first_line(fault)}"]) from None


def _takes_first_token(file: Path) -> bool:
    """What the model's own pooling file says; without one the mean is taken. Raises BadConfiguration."""
    try:
        modes = json.loads(file.read_bytes()) if file.is_file() else {}
        asked = [key for key, value in modes.items() if key.startswith("pooling_mode_") and value is True]
    except (OSError, ValueError, AttributeError) as fault:
        raise BadConfiguration([f"{file} cannot be read: {_first_line(fault)}"]) from None
    if asked not in ([], ["pooling_mode_mean_tokens"], ["pooling_mode_cls_token"]):
        raise BadConfiguration([f"{file} asks for {', '.join(asked)}; the mean or the first token can be taken."])
    return asked == ["pooling_mode_cls_token"]


def _first_line(fault: Exception) -> str:
    return (str(fault).splitlines() or [type(fault).__name__])[0][:300]
