"""Citations in a chat completion, whole or streamed."""

import msgspec

from gateway.knowledge.cite import CitationScanner
from gateway.paths.edited_events import EditedEvents, listed, read_reply
from gateway.paths.sources import CitedSources, Json
from gateway.wire.json_object import edited


class ChatEditor(EditedEvents):
    """Adds `annotations` and the `gateway` object; takes out markers that name no source.

    Streamed, all annotations of a choice come in one chunk just before its finish, each with `index`: the
    official accumulator raises otherwise.
    """

    def __init__(self, sources: CitedSources) -> None:
        super().__init__()
        self._sources = sources
        self._scanners: dict[int, CitationScanner] = {}

    def whole(self, body: bytes) -> bytes:
        """A whole reply. One that is not understood goes on as it came."""
        reply = read_reply(body)
        choices = reply.get("choices") if reply is not None else None
        if not isinstance(choices, list):
            return body
        for choice in choices:
            message = choice.get("message") if isinstance(choice, dict) else None
            if isinstance(message, dict) and isinstance(message.get("content"), str):
                scanner = self._sources.scanner()
                message["content"] = scanner.feed(message["content"]) + scanner.finish()
                found = self._sources.url_citations(scanner.markers)
                message["annotations"] = [*listed(message.get("annotations")), *found]
        return edited(body, {"choices": choices, "gateway": self._sources.told()})

    def edit(self, event: bytes, data: bytes, told: Json) -> bytes:
        """See EditedEvents."""
        choices = told.get("choices")
        if not isinstance(choices, list):
            return event
        changed = False
        endings: list[Json] = []
        for choice in (choice for choice in choices if isinstance(choice, dict)):
            changed |= self._text(choice)
            if choice.get("finish_reason") is not None:
                endings.append(self._ending(choice))
        out = event if not changed else event.replace(data, msgspec.json.encode(told))
        if not endings:
            return out
        last = {**told, "choices": endings, "gateway": self._sources.told()}
        last.pop("usage", None)
        return b"data: " + msgspec.json.encode(last) + b"\n\n" + out

    def _text(self, choice: Json) -> bool:
        """Passes a delta's text through its choice's scanner; True when other text comes out."""
        delta = choice.get("delta")
        if not isinstance(delta, dict) or not isinstance(delta.get("content"), str):
            return False
        scanner = self._scanner(choice)
        given = scanner.feed(delta["content"])
        if choice.get("finish_reason") is not None:
            # Some upstreams say the last words and the end in one chunk: nothing may be held back past it.
            given += scanner.finish()
        changed: bool = given != delta["content"]
        delta["content"] = given
        return changed

    def _ending(self, choice: Json) -> Json:
        scanner = self._scanner(choice)
        delta: Json = {"content": scanner.finish()}
        found = self._sources.url_citations(scanner.markers)
        delta["annotations"] = [{"index": place, **annotation} for place, annotation in enumerate(found)]
        return {"index": choice.get("index", 0), "delta": delta, "logprobs": None, "finish_reason": None}

    def _scanner(self, choice: Json) -> CitationScanner:
        index = choice.get("index")
        if not isinstance(index, int):
            index = 0
        if index not in self._scanners:
            self._scanners[index] = self._sources.scanner()
        return self._scanners[index]
