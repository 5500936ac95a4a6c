"""Citations in a chat completion, whole or streamed."""

import msgspec

from gateway.paths.edited_events import EditedEvents, listed, read_reply
from gateway.paths.sources import CitedSources, Heard, Json
from gateway.wire.json_object import edited


class ChatEditor(EditedEvents):
    """Adds `annotations` and the `gateway` object; takes out markers that name no source.

    Streamed, all annotations of a choice come in one chunk just before its finish, each with `index`: the
    official accumulator raises otherwise. An answer in JSON loses all markers and gets no annotations.
    """

    def __init__(self, sources: CitedSources) -> None:
        super().__init__()
        self._sources = sources
        self._heard: dict[int, Heard] = {}
        self._head: Json = {}

    def whole(self, body: bytes) -> bytes:
        """A whole reply. One that is not understood goes on as it came."""
        reply = read_reply(body)
        choices = reply.get("choices") if reply is not None else None
        if not isinstance(choices, list):
            return body
        changed = self._sources.annotates
        for choice in choices:
            message = choice.get("message") if isinstance(choice, dict) else None
            if isinstance(message, dict) and isinstance(message.get("content"), str):
                heard = self._sources.heard()
                given = heard.feed(message["content"]) + heard.finish()
                changed |= given != message["content"]
                message["content"] = given
                if self._sources.annotates:
                    found = self._sources.url_citations(heard.markers)
                    message["annotations"] = [*listed(message.get("annotations")), *found]
        told = {"gateway": self._sources.told()}
        return edited(body, {"choices": choices, **told} if changed else told)

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
            self._head = told
            return out
        last = {**told, "choices": endings, "gateway": self._sources.told()}
        last.pop("usage", None)
        return b"data: " + msgspec.json.encode(last) + b"\n\n" + out

    def held(self) -> bytes:
        """See EditedEvents."""
        rests = [(index, heard.finish()) for index, heard in self._heard.items()]
        choices = [_choice(index, {"content": rest}) for index, rest in rests if rest]
        if not choices:
            return b""
        told = {key: value for key, value in self._head.items() if key not in {"usage", "obfuscation"}}
        return b"data: " + msgspec.json.encode({**told, "choices": choices}) + b"\n\n"

    def _text(self, choice: Json) -> bool:
        """Passes a delta's text through its choice's reader; True when other text comes out."""
        delta = choice.get("delta")
        if not isinstance(delta, dict) or not isinstance(delta.get("content"), str):
            return False
        heard = self._reader(choice)
        given = heard.feed(delta["content"])
        if choice.get("finish_reason") is not None:
            # Some upstreams say the last words and the end in one chunk: nothing may be held back past it.
            given += heard.finish()
        changed: bool = given != delta["content"]
        delta["content"] = given
        return changed

    def _ending(self, choice: Json) -> Json:
        heard = self._reader(choice)
        rest = heard.finish()
        if not self._sources.annotates:
            return _choice(choice.get("index", 0), {"content": rest} if rest else {})
        found = self._sources.url_citations(heard.markers)
        annotations = [{"index": place, **annotation} for place, annotation in enumerate(found)]
        return _choice(choice.get("index", 0), {"content": rest, "annotations": annotations})

    def _reader(self, choice: Json) -> Heard:
        index = choice.get("index")
        if not isinstance(index, int):
            index = 0
        if index not in self._heard:
            self._heard[index] = self._sources.heard()
        return self._heard[index]


def _choice(index: object, delta: Json) -> Json:
    return {"index": index, "delta": delta, "logprobs": None, "finish_reason": None}
