"""The sources behind one answer: which were cited, how far they bear it, and how the reply says so."""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from gateway.core.decision import Grounding
from gateway.core.grounds import Gap, Grounds, Support, UsedSource
from gateway.core.values import Value
from gateway.knowledge.cite import CitationScanner, Marker
from gateway.knowledge.cite_json import JsonScanner
from gateway.knowledge.context import Source
from gateway.knowledge.grounding import support
from gateway.knowledge.judge import judge_messages
from gateway.wire.rewrite import own_search_id

Json = dict[str, Any]
# What counts as borne where a rule says nothing of it; see docs/decisions/0020-grounding.md.
LEAST_SUPPORT = 0.4
# Of an answer's text, for its grounding.
MOST_HEARD = 200_000


class Unread:
    """In place of a scanner, for a text that is not from sources: it goes on as it is."""

    def __init__(self) -> None:
        self.markers: list[Marker] = []
        self.unknown = 0

    def feed(self, text: str) -> str:
        """The text."""
        return text

    def finish(self) -> str:
        """Nothing: nothing is held back."""
        return ""


Scanner = CitationScanner | JsonScanner | Unread


class Heard:
    """One text of an answer on its way out."""

    def __init__(self, scanner: Scanner) -> None:
        self.scanner = scanner
        self._pieces: list[str] = []
        self._length = 0

    @property
    def text(self) -> str:
        """What was given out."""
        return "".join(self._pieces)

    @property
    def markers(self) -> list[Marker]:
        """Those in what was given out; of JSON, those that were taken out of it."""
        return self.scanner.markers

    def feed(self, text: str) -> str:
        """What may go out now."""
        return self._kept(self.scanner.feed(text))

    def finish(self) -> str:
        """What was held back."""
        return self._kept(self.scanner.finish())

    def _kept(self, given: str) -> str:
        if given and self._length < MOST_HEARD:
            self._pieces.append(given)
            self._length += len(given)
        return given


class Searched(Value, frozen=True):
    """What was looked for, as Responses tell it. with_results: the caller asked for what was found."""

    question: str = ""
    with_results: bool = False


class CitedSources:
    """Numbered sources, and what an answer's texts make of them.

    annotates: whether the reply tells where its text cites; there is no place for that in JSON.
    gap: what was looked for in vain; status: what `grounding` says when there is nothing to measure. low: makes the
    gap of an answer that its sources do not bear. is_unread: the answer is not from sources at all.
    """

    def __init__(
        self,
        decision_id: str,
        sources: Sequence[Source],
        *,
        is_json: bool = False,
        is_unread: bool = False,
        search: Searched | None = None,
        wanted: Grounding | None = None,
        gap: Gap | None = None,
        low: Callable[[float], Gap] | None = None,
    ) -> None:
        self.annotates = not (is_json or is_unread)
        self._is_json = is_json
        self.wanted = wanted
        self._decision_id = decision_id
        self._sources = {source.n: source for source in sources}
        self._cited: set[int] = set()
        self._heard: list[Heard] = []
        self._search = search or Searched()
        self._item_id = own_search_id(decision_id)
        self.gap = gap
        self._low = low
        self._measured: tuple[int, Support] | None = None
        # What happened to the answer before it was given, such as a second try with more context.
        self.done: str | None = None

    def scanner(self) -> Scanner:
        """A scanner for a text that is told again: nothing of it counts."""
        if self.annotates:
            return CitationScanner(len(self._sources))
        return JsonScanner(len(self._sources)) if self._is_json else Unread()

    def heard(self) -> Heard:
        """A fresh reader for one text of the answer."""
        made = Heard(self.scanner())
        self._heard.append(made)
        return made

    def url_citations(self, markers: Sequence[Marker]) -> list[Json]:
        """Chat's annotations: `url_citation` with code-point offsets of each marker."""
        if not self.annotates:
            return []
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
        if not self.annotates:
            return []
        return [
            {
                "type": "file_citation",
                "index": marker.start,
                "file_id": self._cite(marker).document,
                "filename": _filename(self._cite(marker)),
            }
            for marker in markers
        ]

    def file_search_call(self) -> Json:
        """The search as an item of a response's output."""
        results = self._results() if self._search.with_results else None
        item: Json = {"id": self._item_id, "type": "file_search_call", "status": "completed"}
        return item | {"queries": [self._search.question], "results": results}

    def told(self) -> Json:
        """The reply's top-level `gateway` object."""
        cited = self._all_cited()
        return {
            "decision_id": self._decision_id,
            "sources": [
                {
                    "n": source.n,
                    "file_id": source.document,
                    "filename": _filename(source),
                    "collection": source.collection,
                    "url": source.url,
                    "score": round(source.score, 4),
                    "version": source.version,
                    "cited": source.n in cited,
                }
                for source in self._sources.values()
            ],
            "grounding": self._grounding(),
        }

    def support(self) -> Support | None:
        """How far the sources bear what was given out; None without sources, or when nothing was said."""
        length = sum(len(one.text) for one in self._heard)
        if not self._sources or not length:
            return None
        if self._measured is None or self._measured[0] != length:
            self._measured = (length, self._measure())
        return self._measured[1]

    def grounds(self) -> Grounds:
        """What the books keep of it."""
        cited = self._all_cited()
        found = self.support()
        gap = self.gap
        if found is not None and not found.is_enough and self._low is not None and found.score is not None:
            gap = self._low(found.score)
        by_document: dict[tuple[str, str, str], bool | None] = {}
        for source in self._sources.values():
            key = (source.collection, source.document, source.version)
            if source.n in cited:
                by_document[key] = True
            elif not by_document.get(key):
                # An answer in JSON is not asked to cite: what it does not name, it may have used all the same.
                by_document[key] = None if self._is_json else False
        return Grounds(
            tuple(UsedSource(*key, cited=was) for key, was in by_document.items()),
            gap,
            found,
            sum(one.scanner.unknown for one in self._heard),
        )

    def for_judge(self, question: str) -> list[dict[str, str]]:
        """What a judge is shown of the answer that was given; nothing when nothing was said."""
        answer = "\n".join(one.text for one in self._heard)
        return judge_messages(question, answer, list(self._sources.values())) if answer.strip() else []

    def _all_cited(self) -> set[int]:
        return self._cited | {marker.source_n for one in self._heard for marker in one.markers}

    def _measure(self) -> Support:
        cited = self._all_cited()
        told = [(source.n, f"{source.title}\n{source.text}") for source in self._sources.values()]
        answer = "\n".join(one.text for one in self._heard)
        found = support(answer, [text for n, text in told if n in cited], [text for n, text in told if n not in cited])
        return msgspec.structs.replace(found, is_enough=is_enough(found, self.wanted))

    def _grounding(self) -> Json | None:
        if self.gap is not None:
            is_low = self.gap.kind == "low_support"
            score = self.gap.score if is_low else None
            kind = "unsupported" if is_low else self.gap.kind
            return {"status": kind, "score": score, "missing_numbers": [], "action": self.gap.outcome}
        found = self.support()
        if found is None:
            return None
        status = "supported" if found.is_enough else "unsupported"
        if found.score is None:
            status = "unmeasured"
        return {
            "status": status,
            "score": found.score,
            "missing_numbers": list(found.missing_numbers),
            "action": self.done,
        }

    def _results(self) -> list[Json]:
        return [
            {
                "file_id": source.document,
                "filename": _filename(source),
                "score": round(source.score, 4),
                "text": source.text,
                "attributes": dict(source.attributes),
            }
            for source in self._sources.values()
        ]

    def _cite(self, marker: Marker) -> Source:
        self._cited.add(marker.source_n)
        return self._sources[marker.source_n]


def is_enough(found: Support, wanted: Grounding | None) -> bool:
    """Whether an answer is grounded by a rule's measure."""
    if wanted is not None and wanted.numbers == "require" and found.missing_numbers:
        return False
    least = LEAST_SUPPORT if wanted is None or wanted.least is None else wanted.least
    return found.score is None or found.score >= least


def _filename(source: Source) -> str:
    return source.filename or source.title


def _url(source: Source) -> str:
    # The official types want a string; a document without an address is named inside its collection.
    return source.url or f"kb/{source.collection}/{source.document}"
