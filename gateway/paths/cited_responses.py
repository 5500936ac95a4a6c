"""Citations and the search itself in a response of the Responses API, whole or streamed."""

from collections.abc import Iterator
from typing import Any

import msgspec

from gateway.paths.edited_events import EditedEvents, listed, read_reply
from gateway.paths.sources import CitedSources, Heard, Json
from gateway.wire.answer import search_events
from gateway.wire.json_object import edited

DELTA = "response.output_text.delta"
DONE = "response.output_text.done"
ENDS = frozenset({"response.completed", "response.incomplete"})
# What comes before the first item of the output.
BEGINS = frozenset({"response.created", "response.queued", "response.in_progress"})
WHERE = ("item_id", "output_index", "content_index")


class ResponsesEditor(EditedEvents):
    """Adds a `file_search_call`, `file_citation` annotations and the `gateway` object; takes out unknown markers.

    Streamed, the search comes as the first item of the output, with its own events, and the annotations of a text
    as `response.output_text.annotation.added` events before its `done`. Events after an inserted one are numbered on,
    because `sequence_number` must have no doubles, and later items stand one place further down.
    """

    def __init__(self, sources: CitedSources) -> None:
        super().__init__()
        self._sources = sources
        self._heard: dict[tuple[str, str], Heard] = {}
        self._last: dict[tuple[str, str], Json] = {}
        self._inserted = 0
        self._number = 0
        self._searched = False

    def whole(self, body: bytes) -> bytes:
        """A whole reply. One that is not understood goes on as it came."""
        reply = read_reply(body)
        if reply is None or not isinstance(reply.get("output"), list):
            return body
        self._output(reply["output"], counts=True)
        output = [self._sources.file_search_call(), *reply["output"]]
        return edited(body, {"output": output, "gateway": self._sources.told()})

    def edit(self, event: bytes, data: bytes, told: Json) -> bytes:
        """See EditedEvents."""
        kind = told.get("type")
        if not isinstance(kind, str) or not kind.startswith("response."):
            return event
        before = [] if self._searched or kind in BEGINS else list(self._search_events(told))
        changed = self._moved(told)
        if kind == DONE:
            before += self._insertions(told)
        changed |= self._change(kind, told)
        if isinstance(told.get("sequence_number"), int):
            told["sequence_number"] += self._inserted
            self._number = told["sequence_number"] + 1
            changed |= bool(self._inserted)
        return b"".join(before) + (event.replace(data, msgspec.json.encode(told)) if changed else event)

    def held(self) -> bytes:
        """See EditedEvents."""
        out = []
        for key, heard in self._heard.items():
            rest = heard.finish()
            if rest:
                where = {name: self._last[key].get(name) for name in WHERE}
                event: Json = {"type": DELTA, **where, "delta": rest, "logprobs": [], "sequence_number": self._number}
                self._number += 1
                out.append(_written(event))
        return b"".join(out)

    def _search_events(self, told: Json) -> Iterator[bytes]:
        """The search as it would have been told while it was made; it was, before the upstream was asked."""
        self._searched = True
        for kind, event in search_events(self._sources.file_search_call()):
            yield self._inserted_event(told, {"type": kind, **event})

    def _moved(self, told: Json) -> bool:
        place = told.get("output_index")
        if not self._searched or not isinstance(place, int) or isinstance(place, bool):
            return False
        told["output_index"] = place + 1
        return True

    def _change(self, kind: str, told: Json) -> bool:
        if kind == DELTA and isinstance(told.get("delta"), str):
            given = self._reader(told).feed(told["delta"])
            changed: bool = given != told["delta"]
            told["delta"] = given
            return changed
        if kind == DONE and isinstance(told.get("text"), str):
            told["text"] = self._cleaned(told["text"], counts=False).text
            return True
        if kind == "response.content_part.done" and isinstance(told.get("part"), dict):
            return self._part(told["part"], counts=False)
        if kind == "response.output_item.done" and isinstance(told.get("item"), dict):
            return self._output([told["item"]], counts=False)
        response = told.get("response")
        if kind in ENDS and isinstance(response, dict) and isinstance(response.get("output"), list):
            # What no delta has said is heard of here for the first time.
            self._output(response["output"], counts=not self._heard)
            response["output"].insert(0, self._sources.file_search_call())
            response["gateway"] = self._sources.told()
            return True
        return False

    def _insertions(self, told: Json) -> Iterator[bytes]:
        """The text that was held back, and the annotations, of a text that is done."""
        heard = self._reader(told)
        where = {key: told.get(key) for key in WHERE}
        rest = heard.finish()
        if rest:
            yield self._inserted_event(told, {"type": DELTA, **where, "delta": rest, "logprobs": []})
        for place, annotation in enumerate(self._sources.file_citations(heard.markers)):
            kind = "response.output_text.annotation.added"
            yield self._inserted_event(
                told, {"type": kind, **where, "annotation_index": place, "annotation": annotation}
            )

    def _inserted_event(self, told: Json, event: Json) -> bytes:
        number = told.get("sequence_number")
        event["sequence_number"] = (number if isinstance(number, int) else 0) + self._inserted
        self._inserted += 1
        return _written(event)

    def _output(self, items: list[Any], *, counts: bool) -> bool:
        changed = False
        for item in items:
            content = item.get("content") if isinstance(item, dict) else None
            for part in content if isinstance(content, list) else []:
                changed |= isinstance(part, dict) and self._part(part, counts=counts)
        return changed

    def _part(self, part: Json, *, counts: bool) -> bool:
        if part.get("type") != "output_text" or not isinstance(part.get("text"), str):
            return False
        cleaned = self._cleaned(part["text"], counts=counts)
        changed: bool = cleaned.text != part["text"]
        part["text"] = cleaned.text
        if not self._sources.annotates:
            return changed
        part["annotations"] = [*listed(part.get("annotations")), *cleaned.annotations]
        return True

    def _cleaned(self, text: str, *, counts: bool) -> "_Cleaned":
        """A whole text. counts: it is heard for the first time, and not a repetition of what was streamed."""
        scanner = self._sources.heard() if counts else self._sources.scanner()
        given = scanner.feed(text) + scanner.finish()
        return _Cleaned(given, self._sources.file_citations(scanner.markers))

    def _reader(self, told: Json) -> Heard:
        key = (str(told.get("item_id")), str(told.get("content_index")))
        if key not in self._heard:
            self._heard[key] = self._sources.heard()
        self._last[key] = told
        return self._heard[key]


def _written(event: Json) -> bytes:
    return b"event: " + str(event["type"]).encode() + b"\ndata: " + msgspec.json.encode(event) + b"\n\n"


class _Cleaned(msgspec.Struct):
    text: str
    annotations: list[Json]
