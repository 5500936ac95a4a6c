"""The sources behind one answer: which were cited, and how the reply says so."""

from collections.abc import Sequence
from typing import Any

from gateway.knowledge.cite import CitationScanner, Marker
from gateway.knowledge.context import Source

Json = dict[str, Any]


class CitedSources:
    """Numbered sources, and the citations that an answer's texts make of them."""

    def __init__(self, decision_id: str, sources: Sequence[Source]) -> None:
        self._decision_id = decision_id
        self._sources = {source.n: source for source in sources}
        self._cited: set[int] = set()

    def scanner(self) -> CitationScanner:
        """A fresh scanner for one text of the answer."""
        return CitationScanner(len(self._sources))

    def url_citations(self, markers: Sequence[Marker]) -> list[Json]:
        """Chat's annotations: `url_citation` with code-point offsets of each marker."""
        return [
            {
                "type": "url_citation",
                "url_citation": {
                    "start_index": marker.start,
                    "end_index": marker.end,
                    "title": self._cite(marker).title,
                    "url": _url(self._cite(marker)),
                },
            }
            for marker in markers
        ]

    def file_citations(self, markers: Sequence[Marker]) -> list[Json]:
        """Responses' annotations: `file_citation` with the offset at which each marker begins."""
        return [
            {
                "type": "file_citation",
                "index": marker.start,
                "file_id": self._cite(marker).document,
                "filename": self._cite(marker).title,
            }
            for marker in markers
        ]

    def told(self) -> Json:
        """The reply's top-level `gateway` object. grounding is null until something measures it."""
        return {
            "decision_id": self._decision_id,
            "sources": [
                {
                    "n": source.n,
                    "file_id": source.document,
                    "filename": source.title,
                    "collection": source.collection,
                    "url": source.url,
                    "score": round(source.score, 4),
                    "version": source.version,
                    "cited": source.n in self._cited,
                }
                for source in self._sources.values()
            ],
            "grounding": None,
        }

    def _cite(self, marker: Marker) -> Source:
        self._cited.add(marker.source_n)
        return self._sources[marker.source_n]


def _url(source: Source) -> str:
    # The official types want a string; a document without an address is named inside its collection.
    return source.url or f"kb/{source.collection}/{source.document}"
