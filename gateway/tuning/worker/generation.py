"""Answers, a token after the other. Everything here runs on one thread: a model has one adapter at a time."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel

from gateway.core.values import Value
from gateway.tuning.worker.asked import Ask, Refused
from gateway.tuning.worker.chat import NotChat, rendered
from gateway.tuning.worker.model import NotLoadable, context_of, load_base, load_tokenizer

# Adapters of a model that stay in memory; what was called longest ago leaves first, and comes back when it is called.
MOST_ADAPTERS = 32

Left = Callable[[], bool]


class Piece(Value, frozen=True):
    """Some of an answer. finish: at the last one, why it ends. tokens: so far, of the answer; prompt: before it."""

    text: str
    prompt: int
    tokens: int
    finish: str | None = None


class Loaded:
    """A base model in memory with the adapters that were called last. Raises NotLoadable."""

    def __init__(self, path: str, device: torch.device) -> None:
        self._device = device
        self._tokenizer = load_tokenizer(path)
        self._model = load_base(path, device)
        self._ends = _end_tokens(self._tokenizer, self._model)
        self._adapters: dict[Path, str] = {}
        self._count = 0

    def use(self, adapter: Path | None) -> None:
        """Answers with this adapter from now on; None is the base alone. Raises NotLoadable."""
        if adapter is None:
            return
        if adapter not in self._adapters:
            self._add(adapter)
        name = self._adapters[adapter] = self._adapters.pop(adapter)
        self._model.set_adapter(name)

    def forget(self, adapter: Path) -> None:
        """Takes an adapter out of memory."""
        name = self._adapters.pop(adapter, None)
        if name is not None:
            self._model.delete_adapter(name)

    def answer(self, ask: Ask, adapter: Path | None, left: Left) -> Iterator[Piece]:
        """The answer in pieces; ends early when the caller has left. Raises Refused, NotLoadable."""
        self.use(adapter)
        if adapter is None and isinstance(self._model, PeftModel):
            with self._model.disable_adapter():
                yield from self._pieces(ask, left)
        else:
            yield from self._pieces(ask, left)

    def _add(self, adapter: Path) -> None:
        while len(self._adapters) >= MOST_ADAPTERS:
            self.forget(next(iter(self._adapters)))
        self._count += 1
        # Names of modules: an adapter's own has dots and colons, which torch does not take.
        name = f"adapter{self._count}"
        try:
            if isinstance(self._model, PeftModel):
                self._model.load_adapter(str(adapter), adapter_name=name)
            else:
                self._model = PeftModel.from_pretrained(self._model, str(adapter), adapter_name=name)
        except (OSError, ValueError, KeyError, RuntimeError) as fault:
            said = str(fault).partition("\n")[0].replace(str(adapter), adapter.name)[:300]
            raise NotLoadable(f"The adapter cannot be loaded: {said}") from None
        self._model.eval()
        self._adapters[adapter] = name

    def _pieces(self, ask: Ask, left: Left) -> Iterator[Piece]:
        prompt = self._prompt(ask)
        room = context_of(self._model)
        most = ask.most if room is None else min(ask.most or room, room - len(prompt))
        if most is not None and most < 1:
            raise Refused(
                400,
                f"The prompt has {len(prompt)} tokens; the model takes {room} with the answer.",
                code="context_length_exceeded",
                param="messages",
            )
        text = _Text(self._tokenizer, ask.stops)
        count = 0
        finish = "length"
        for token in self._tokens(prompt, ask):
            if left():
                return
            count += 1
            if token in self._ends:
                finish = "stop"
                break
            if new := text.add(token):
                yield Piece(new, len(prompt), count)
            if text.is_over:
                finish = "stop"
                break
            if count == most:
                break
        yield Piece(text.rest(), len(prompt), count, finish)

    def _prompt(self, ask: Ask) -> list[int]:
        try:
            text = rendered(self._tokenizer, ask.turns, ask.tools, asks=True)
        except NotChat as fault:
            raise Refused(400, f"{fault}.", param="messages") from None
        found: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return found

    def _tokens(self, prompt: list[int], ask: Ask) -> Iterator[int]:
        dice = torch.Generator().manual_seed(ask.seed) if ask.seed is not None else None
        ids = torch.tensor([prompt], device=self._device)
        cache = None
        while True:
            with torch.no_grad():
                out = self._model(input_ids=ids, cache=cache, use_cache=True)
            cache = out.cache
            token = _chosen(out.logits[0, -1].float().cpu(), ask, dice)
            yield token
            ids = torch.tensor([[token]], device=self._device)


class _Text:
    """Tokens as text that may go out: no half letters, and nothing that may turn out to be a stop."""

    def __init__(self, tokenizer: Any, stops: tuple[str, ...]) -> None:
        self._tokenizer = tokenizer
        self._stops = stops
        self._ids: list[int] = []
        self._whole = ""
        self._sent = 0
        self.is_over = False

    def add(self, token: int) -> str:
        self._ids.append(token)
        self._whole = self._tokenizer.decode(self._ids, skip_special_tokens=True)
        found = [place for stop in self._stops if (place := self._whole.find(stop)) >= 0]
        if found:
            self._whole = self._whole[: min(found)]
            self.is_over = True
            return ""
        return self._out(len(self._whole.rstrip("\ufffd")) - self._held())

    def rest(self) -> str:
        return self._out(len(self._whole))

    def _held(self) -> int:
        """How much of the end is the beginning of a stop."""
        longest = max(map(len, self._stops), default=1) - 1
        sizes = range(min(longest, len(self._whole)), 0, -1)
        return next((size for size in sizes if any(one.startswith(self._whole[-size:]) for one in self._stops)), 0)

    def _out(self, end: int) -> str:
        new = self._whole[self._sent : end]
        self._sent = max(self._sent, end)
        return new


def _chosen(logits: Any, ask: Ask, dice: Any) -> int:
    if ask.temperature == 0:
        return int(logits.argmax())
    chances = torch.softmax(logits / ask.temperature, -1)
    ordered, places = chances.sort(descending=True)
    # The one that passes top_p still belongs to it: there is always one left.
    ordered[ordered.cumsum(-1) - ordered >= ask.top_p] = 0
    return int(places[torch.multinomial(ordered, 1, generator=dice)])


def _end_tokens(tokenizer: Any, model: Any) -> frozenset[int]:
    named = getattr(model.generation_config, "eos_token_id", None)
    named = [named] if isinstance(named, int) else named or []
    return frozenset({tokenizer.eos_token_id, *named})
