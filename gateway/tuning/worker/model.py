"""The model as torch has it: loaded from disk, with an adapter, the same every time."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.utils import set_peft_model_state_dict
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from gateway.tuning.worker.chat import PLAIN_TEMPLATE
from gateway.tuning.worker.job import BaseModel

WEIGHTS = "adapter_model.safetensors"


class NotLoadable(Exception):
    """A base model or an adapter that cannot be used; the text is for a person."""


def settle_torch(threads: int) -> torch.device:
    """Makes torch give the same numbers every time, and says where it computes.

    Sums are rounded by the order they are taken in, so the count of threads is part of the result.
    """
    # cuBLAS promises the same sums only with a workspace of fixed size; it reads this at its first use.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    has_gpu = torch.cuda.is_available()
    # A model may use an operation that has no steady form on a GPU: that is warned of, and no reason not to train.
    torch.use_deterministic_algorithms(True, warn_only=has_gpu)
    torch.set_num_threads(threads)
    return torch.device("cuda" if has_gpu else "cpu")


def load_tokenizer(path: str) -> Any:
    """The tokenizer beside a model, with a chat template in any case. Raises NotLoadable."""
    try:
        tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True)
    except (OSError, ValueError, KeyError, ImportError) as fault:
        raise NotLoadable(f"The tokenizer of the base model cannot be loaded: {_said(fault, path)}") from None
    if tokenizer.eos_token_id is None:
        raise NotLoadable("The tokenizer of the base model has no end token: a tuned model would never stop.")
    if not tokenizer.chat_template:
        tokenizer.chat_template = PLAIN_TEMPLATE
    return tokenizer


def load_base(path: str, device: torch.device) -> Any:
    """The base model, in float32 on a CPU and bfloat16 on a GPU, without dropout. Raises NotLoadable."""
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    try:
        model = AutoModelForCausalLM.from_pretrained(path, dtype=dtype, local_files_only=True)
    except (OSError, ValueError, KeyError, ImportError, RuntimeError) as fault:
        raise NotLoadable(f"The base model cannot be loaded: {_said(fault, path)}") from None
    return model.to(device).eval()


def context_of(model: Any) -> int | None:
    """How many tokens fit; None when the model does not say."""
    found = getattr(model.config, "max_position_embeddings", None)
    return found if isinstance(found, int) else None


def with_adapter(model: Any, base: BaseModel, seed: int, adapter: str | None) -> Any:
    """The model with an adapter that can be trained: a fresh one, or a copy of `adapter`. Raises NotLoadable."""
    torch.manual_seed(seed)
    if adapter is not None:
        try:
            return PeftModel.from_pretrained(model, adapter, is_trainable=True)
        except (OSError, ValueError, KeyError, RuntimeError) as fault:
            raise NotLoadable(f"The adapter to go on from cannot be loaded: {_said(fault, adapter)}") from None
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=base.rank,
        lora_alpha=base.alpha,
        target_modules=list(base.targets) or "all-linear",
        modules_to_save=list(base.saved) or None,
    )
    try:
        return get_peft_model(model, config)
    except ValueError as fault:
        raise NotLoadable(f"The model takes no adapter of this recipe: {_said(fault, base.path)}") from None


def trained_parameters(model: Any) -> list[Any]:
    """What the optimizer may change."""
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def save_adapter(model: Any, tokenizer: Any, folder: Path) -> None:
    """Writes it in the format of PEFT, with the chat template that it was taught by."""
    model.save_pretrained(str(folder), safe_serialization=True)
    # PEFT writes a card with a date in it; nobody reads it, and a folder is easier to compare without.
    (folder / "README.md").unlink(missing_ok=True)
    (folder / "chat_template.jinja").write_text(tokenizer.chat_template, "utf-8")


def restore_adapter(model: Any, folder: Path) -> None:
    """Gives the model the weights that `save_adapter` wrote, to the last bit."""
    set_peft_model_state_dict(model, load_file(folder / WEIGHTS))


def sha256_of(folder: Path) -> str:
    """Of the weights alone: the same training gives the same."""
    digest = hashlib.sha256()
    for part in _parts(folder / WEIGHTS):
        digest.update(part)
    return digest.hexdigest()


def _parts(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while part := file.read(1 << 20):
            yield part


def _said(fault: BaseException, path: str) -> str:
    """What a library says, without where things lie on this machine: callers read it."""
    return str(fault).strip().partition("\n")[0].replace(path, Path(path).name)[:300]
