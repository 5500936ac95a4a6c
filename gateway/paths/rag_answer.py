"""The RAG path: sources before the last user turn, the answer cited and weighed; or what a rule wants without any."""

from collections.abc import Callable

import msgspec

from gateway.core.call import Call, Headers, Principal
from gateway.core.decision import Arm, Decision, Grounding, RagTerms
from gateway.core.errors import KnowledgeUnavailable
from gateway.core.facts import Facts, KnowledgeSignal
from gateway.core.grounds import Gap, GapKind, Grounds
from gateway.knowledge.chunks import estimate_tokens
from gateway.knowledge.context import Context, build_context
from gateway.paths.cited_chat import ChatEditor
from gateway.paths.cited_responses import ResponsesEditor
from gateway.paths.rag import HITS, LEAST_SCORE, Sources, question
from gateway.paths.sources import CitedSources, Searched
from gateway.upstream.prepared import Judging, Prepared, ReplyEditor, Weighed
from gateway.wire.answer import JSON, own_answer
from gateway.wire.responses import wants_results
from gateway.wire.rewrite import rewritten

# Of a question, in the list of those that nothing answered.
MOST_QUESTION = 500
SPREAD = 6133.0
ABSTAINS = "I do not have information about that in the documents I can use."
ASKS_BACK = (
    "I found nothing about that in the documents I can use. Could you say in other words what you are looking for?"
)
TOLD_TO = {
    "abstain": "The documents that may be used were searched for the next message, and none of them is about it. Say "
    "so in the language of the message, in one or two sentences. Do not answer from memory, and cite nothing.",
    "clarify": "The documents that may be used were searched for the next message, and none of them is about it. Ask "
    "one short question, in the language of the message, that would help to find what is meant. Answer nothing yet.",
}
NO_MATCH = (b"x-gateway-knowledge", b"no-match")
UNSUPPORTED = (b"x-gateway-knowledge", b"unsupported")
UNAVAILABLE = (
    (b"x-gateway-knowledge", b"unavailable"),
    (b"x-gateway-knowledge-reason", b"the sources cannot be searched; answered without them"),
)


class RagAnswer:
    """One call's way through its sources: what is found, what is sent, and what is made of the answer."""

    def __init__(
        self,
        call: Call,
        principal: Principal,
        decision: Decision,
        arm: Arm,
        facts: Facts,
        sources: Sources,
        *,
        may_ask_usage: bool,
    ) -> None:
        self.call = call
        self.principal = principal
        self.arm = arm
        self.terms = arm.terms or RagTerms()
        self._decision = decision
        self._facts = facts
        self._sources = sources
        self._may_ask_usage = may_ask_usage
        self._version = ""

    async def prepared(self) -> Prepared:
        """The request for the arm with its sources; see `prepare_rag`."""
        known = self._facts.signal(self.arm.collections)
        if known is not None and known.is_away:
            raise KnowledgeUnavailable("The sources could not be searched.")
        signal = known or await self._sources.find(self.call, self.principal, self.arm.collections)
        self._version = signal.version
        context = self._context(signal, 1)
        if not context.sources:
            return self._nothing(signal)
        return self._asked(context, self.terms.grounding, is_first=True)

    async def _with_more(self) -> Prepared | None:
        """The request with twice the context, of twice the hits; None when there is no more."""
        found = await self._sources.find(self.call, self.principal, self.arm.collections, 2 * HITS)
        context = self._context(found, 2)
        return self._asked(context, self.terms.grounding, is_first=False) if context.sources else None

    def _gap(self, kind: GapKind, score: float | None, outcome: str) -> Gap:
        """The question as it is kept where nothing answered it."""
        permitted = self._sources.library.permitted(self.arm.collections, self.principal.team)
        asked = "" if self._sources.unrecorded.intersection(permitted) else self.call.text[:MOST_QUESTION]
        return Gap(self._facts.now, permitted, kind, asked, score, outcome)

    def _headers(self) -> Headers:
        """What the reply says of where was looked. Another collection must look like one that does not exist."""
        permitted = self._sources.library.permitted(self.arm.collections, self.principal.team)
        return (
            (b"x-gateway-collections", ",".join(permitted).encode()),
            (b"x-gateway-knowledge-version", self._version.encode()),
        )

    def _cited(self, context: Context, wanted: Grounding | None, gap: Gap | None = None) -> CitedSources:
        """What becomes of these sources in an answer."""
        action = "annotate" if wanted is None else wanted.action
        return CitedSources(
            self._decision.id,
            context.sources,
            is_json=self.call.wants_json,
            search=Searched(question(self.call), self._wants_results()),
            wanted=wanted,
            gap=gap,
            low=lambda score: self._gap("low_support", score, action),
        )

    def _wants_results(self) -> bool:
        asked = self.call.file_search
        return wants_results(self.call) or (asked is not None and asked.wants_results)

    def _editor(self, cited: CitedSources) -> ReplyEditor:
        """What puts the citations into a reply of the call's endpoint."""
        return ResponsesEditor(cited) if self.call.endpoint == "responses" else ChatEditor(cited)

    def _telling(self, gap: Gap | None) -> ReplyEditor:
        """What tells of a search in a reply that stands on no source, and leaves its words as they are."""
        search = Searched(question(self.call), self._wants_results())
        return self._editor(CitedSources(self._decision.id, (), is_unread=True, search=search, gap=gap))

    def _sent(self, block: str | None) -> tuple[bytes, bool]:
        """The body that goes upstream, with this block before the last user turn."""
        return rewritten(self.call, self.arm, may_ask_usage=self._may_ask_usage, block=block)

    def _context(self, signal: KnowledgeSignal, times: int) -> Context:
        hits = [hit for hit in signal.hits if hit.score >= LEAST_SCORE]
        best = max((hit.score for hit in hits), default=0.0)
        if self.terms.match_over is not None and best <= self.terms.match_over:
            hits = []
        return build_context(hits, times * self._sources.context_tokens, wants_json=self.call.wants_json)

    def _asked(self, context: Context, wanted: Grounding | None, *, is_first: bool) -> Prepared:
        cited = self._cited(context, wanted)
        body, injected = self._sent(context.text)
        acts = wanted is not None and wanted.action != "annotate" and is_first
        if not is_first:
            cited.done = "retry"
        return Prepared(
            arm=self.arm,
            body=body,
            usage_injected=injected,
            context_tokens=context.tokens,
            headers=self._headers(),
            editor=self._editor(cited),
            grounds=cited.grounds,
            judging=self._judging(cited),
            weigh=(lambda reply: self._weighed(context, wanted, reply)) if acts and wanted is not None else None,
        )

    def _judging(self, cited: CitedSources) -> Judging | None:
        """Who looks at this answer, if the draw falls on it."""
        judge = self.terms.judge
        # Spread anew, so that those that are judged are not those that drew a certain target.
        if judge is None or self._facts.draw * SPREAD % 1.0 >= self.terms.judge_share:
            return None
        return Judging(judge, lambda: cited.for_judge(self.call.text))

    def _nothing(self, signal: KnowledgeSignal) -> Prepared:
        """What the rule wants when nothing was found."""
        way = self.arm.on_no_match
        best = max((hit.score for hit in signal.hits), default=None)
        cited = self._cited(Context(""), None, self._gap("no_match", best, way))
        if way in TOLD_TO and self.terms.no_match_reply == "instructed":
            block = self.terms.no_match_text or TOLD_TO[way]
            prepared = self._instructed(cited, block)
        elif way == "direct":
            body, injected = self._sent(None)
            # The reply is nobody's but the model's; only who asked for a search is told in it what came of that.
            editor = self._telling(cited.gap) if self.call.file_search is not None else None
            prepared = Prepared(self.arm, body, injected, headers=self._headers(), editor=editor, grounds=cited.grounds)
        else:
            text = self.terms.no_match_text or (ASKS_BACK if way == "clarify" else ABSTAINS)
            prepared = self._own(text, cited, cited.grounds)
            if way == "fallback":
                prepared = msgspec.structs.replace(prepared, passes_on=True, editor=self._telling(cited.gap))
        return msgspec.structs.replace(prepared, headers=(*prepared.headers, NO_MATCH))

    def _instructed(self, cited: CitedSources, block: str) -> Prepared:
        body, injected = self._sent(block)
        return Prepared(
            arm=self.arm,
            body=body,
            usage_injected=injected,
            context_tokens=estimate_tokens(block),
            headers=self._headers(),
            # Nothing can be cited: a marker that the model makes up is taken out.
            editor=self._editor(cited),
            grounds=cited.grounds,
        )

    def _own(self, text: str, cited: CitedSources, grounds: Callable[[], Grounds]) -> Prepared:
        answer = own_answer(self.call, text, cited.told(), cited.file_search_call())
        return Prepared(arm=self.arm, body=b"", headers=self._headers(), answer=answer, grounds=grounds)

    async def _weighed(self, context: Context, wanted: Grounding, reply: bytes) -> Weighed:
        """What becomes of a whole reply by the rule's measure."""
        cited = self._cited(context, wanted)
        given = self._editor(cited).whole(reply)
        found = cited.support()
        if found is None or found.is_enough:
            return Weighed()
        if wanted.action == "retry":
            try:
                again = await self._with_more()
            except KnowledgeUnavailable:
                again = None
            first = Prepared(self.arm, b"", headers=self._headers(), answer=(JSON, given), grounds=cited.grounds)
            return Weighed() if again is None else Weighed(first, again)
        cited.done = wanted.action
        gap = self._gap("low_support", found.score, wanted.action)
        goes_on = wanted.action == "fallback"
        grounds = Grounds(gap=gap) if goes_on else Grounds(gap=gap, support=found)
        refusal = self._own(self.terms.no_match_text or ABSTAINS, cited, lambda: grounds)
        if goes_on:
            headers = (*refusal.headers, UNSUPPORTED)
            refusal = msgspec.structs.replace(refusal, headers=headers, editor=self._telling(gap), passes_on=True)
        return Weighed(refusal)


async def prepare_rag(
    call: Call,
    principal: Principal,
    decision: Decision,
    arm: Arm,
    facts: Facts,
    sources: Sources,
    *,
    may_ask_usage: bool,
) -> Prepared:
    """The request for `arm` with its sources, or what its rule wants when there are none.

    While they cannot be searched, the arm that the rule names for that, if it names one and the key may take it; the
    reply says so. Raises KnowledgeUnavailable (503): a call is never silently answered without its sources.
    """
    rag = RagAnswer(call, principal, decision, arm, facts, sources, may_ask_usage=may_ask_usage)
    try:
        return await rag.prepared()
    except KnowledgeUnavailable:
        instead = rag.terms.store_down
        if instead is None or (principal.allowed_paths and instead.path not in principal.allowed_paths):
            raise
        return Prepared(arm=arm, body=b"", headers=UNAVAILABLE, instead=instead)
