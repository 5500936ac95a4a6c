"""Citations in a response of the Responses API, whole or streamed."""

from collections.abc import Iterator
from typing import Any

import msgspec

from gateway.knowledge.cite import CitationScanner
from gateway.paths.edited_events import EditedEvents, listed, read_reply
from gateway.paths.sources import CitedSources, Json
from gateway.wire.json_object import edited

DELTA = "response.output_text.delta"
DONE = "response.output_text.done"
ENDS = frozenset({"response.completed", "response.incomplete"})


class ResponsesEditor(EditedEvents):
    """Adds `file_citation` annotations and the `gateway` object; takes out markers that name no source.

    Streamed, the annotations of a text come as `response.output_text.annotation.added` events before its
    `done`; events after an inserted one are numbered on, because `sequence_number` must have no doubles.
    """

    def __init__(self, sources: CitedSources) -> None:
        super().__init__()
        self._sources = sources
        self._scanners: dict[tuple[str, str], CitationScanner] = {}
        self._inserted = 0

    def whole(self, body: bytes) -> bytes:
        """A whole reply. One that is not understood goes on as it came."""
        reply = read_reply(body)
        if reply is None or not isinstance(reply.get("output"), list):
            return body
        self._output(reply["output"])
        return edited(body, {"output": reply["output"], "gateway": self._sources.told()})

    def edit(self, event: bytes, data: bytes, told: Json) -> bytes:
        """See EditedEvents."""
        before = b"".join(self._insertions(told)) if told.get("type") == DONE else b""
        changed = self._change(told)
        if self._inserted and isinstance(told.get("sequence_number"), int):
            told["sequence_number"] += self._inserted
            changed = True
        return before + (event.replace(data, msgspec.json.encode(told)) if changed else event)

    def _change(self, told: Json) -> bool:
        kind = str(told.get("type"))
        if kind == DELTA and isinstance(told.get("delta"), str):
            given = self._scanner(told).feed(told["delta"])
            changed: bool = given != told["delta"]
            told["delta"] = given
            return changed
        if kind == DONE and isinstance(told.get("text"), str):
            told["text"] = self._cleaned(told["text"]).text
            return True
        if kind == "response.content_part.done" and isinstance(told.get("part"), dict):
            return self._part(told["part"])
        if kind == "response.output_item.done" and isinstance(told.get("item"), dict):
            return self._output([told["item"]])
        response = told.get("response")
        if kind in ENDS and isinstance(response, dict) and isinstance(response.get("output"), list):
            self._output(response["output"])
            response["gateway"] = self._sources.told()
            return True
        return False

    def _insertions(self, told: Json) -> Iterator[bytes]:
        """The text that was held back, and the annotations, of a text that is done."""
        scanner = self._scanner(told)
        where = {key: told.get(key) for key in ("item_id", "output_index", "content_index")}
        rest = scanner.finish()
        if rest:
            yield self._inserted_event(told, {"type": DELTA, **where, "delta": rest, "logprobs": []})
        for place, annotation in enumerate(self._sources.file_citations(scanner.markers)):
            kind = "response.output_text.annotation.added"
            yield self._inserted_event(
                told, {"type": kind, **where, "annotation_index": place, "annotation": annotation}
            )

    def _inserted_event(self, told: Json, event: Json) -> bytes:
        number = told.get("sequence_number")
        event["sequence_number"] = (number if isinstance(number, int) else 0) + self._inserted
        self._inserted += 1
        return b"event: " + str(event["type"]).encode() + b"\ndata: " + msgspec.json.encode(event) + b"\n\n"

    def _output(self, items: list[Any]) -> bool:
        changed = False
        for item in items:
            content = item.get("content") if isinstance(item, dict) else None
            for part in content if isinstance(content, list) else []:
                changed |= isinstance(part, dict) and self._part(part)
        return changed

    def _part(self, part: Json) -> bool:
        if part.get("type") != "output_text" or not isinstance(part.get("text"), str):
            return False
        cleaned = self._cleaned(part["text"])
        part["text"] = cleaned.text
        part["annotations"] = [*listed(part.get("annotations")), *cleaned.annotations]
        return True

    def _cleaned(self, text: str) -> "_Cleaned":
        scanner = self._sources.scanner()
        given = scanner.feed(text) + scanner.finish()
        return _Cleaned(given, self._sources.file_citations(scanner.markers))

    def _scanner(self, told: Json) -> CitationScanner:
        key = (str(told.get("item_id")), str(told.get("content_index")))
        if key not in self._scanners:
            self._scanners[key] = self._sources.scanner()
        return self._scanners[key]


class _Cleaned(msgspec.Struct):
    text: str
    annotations: list[Json]
