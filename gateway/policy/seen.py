"""What the rules see of one call: live from the call itself, in a replay from what was recorded."""

import hashlib

import msgspec
import re2

from gateway.core.call import Call, Principal
from gateway.core.decision import Features, Names, SignalScore
from gateway.core.facts import Facts, KnowledgeSignal, TaskSignal
from gateway.policy.language import language_of
from gateway.policy.weights import Weights

# A caller chooses the text, and patterns that count may take a microsecond for each of its characters.
MAX_TEXT = 20_000
PATTERN_MEMORY = 64 * 1024 * 1024


class Patterns:
    """All text patterns of a policy, looked for in one pass in linear time whatever they are.

    Apart they take a microsecond each; together one microsecond for a hundred.
    """

    def __init__(self, patterns: list[str]) -> None:
        options = re2.Options()
        options.log_errors = False
        options.max_mem = PATTERN_MEMORY
        self._set = re2.Set.SearchSet(options)
        self._any = bool(patterns)
        for pattern in patterns:
            self._set.Add(pattern)
        if patterns:
            self._set.Compile()

    def found(self, text: str) -> tuple[int, ...]:
        """The numbers of the patterns that are found in a text, ascending."""
        return tuple(sorted(self._set.Match(text[:MAX_TEXT]) or ())) if self._any else ()


class Seen:
    """One call as conditions look at it.

    names, features, facts: what is recorded of it. Patterns, language and draw are worked out when a rule first
    asks, and are then a part of what is recorded.
    """

    __slots__ = (
        "_features",
        "_given_draw",
        "_language",
        "_matched",
        "_patterns",
        "_weights",
        "call",
        "facts",
        "given_trial",
        "names",
    )

    def __init__(
        self,
        names: Names,
        features: Features | None,
        facts: Facts,
        patterns: Patterns,
        weights: Weights,
        call: Call | None = None,
        draw: float | None = None,
        trial: float | None = None,
    ) -> None:
        self.names = names
        self.facts = facts
        self.call = call
        self._features = features
        self._patterns = patterns
        self._weights = weights
        self._given_draw = draw
        # What a replay's call came to in a line's canary; a policy's own tests take none.
        self.given_trial = trial
        matched = features.matched if features is not None else None
        self._matched = frozenset(matched) if matched is not None else None
        self._language = features.language if features is not None else None

    @property
    def features(self) -> Features:
        """The numbers of the call, with what rules have asked for up to now."""
        features = self._features
        if features is None:
            features = self._features = _features(self.call)
        if self._matched is None and self._language is None:
            return features
        matched = None if self._matched is None else tuple(sorted(self._matched))
        return msgspec.structs.replace(features, matched=matched, language=self._language)

    def matches(self, number: int) -> bool:
        """Whether a text pattern is found in the last user turn."""
        found = self._matched
        if found is None:
            text = self.call.text if self.call is not None else ""
            found = self._matched = frozenset(self._patterns.found(text))
        return number in found

    @property
    def language(self) -> str:
        """The language of the last user turn, "" when it cannot be told."""
        if self._language is None:
            self._language = language_of(self.call.text) if self.call is not None else ""
        return self._language

    def knowledge(self, collections: tuple[str, ...]) -> float | None:
        """How sure it is that these collections hold the answer, in [0, 1]; None when nobody has looked yet."""
        signal = self.facts.signal(collections)
        return None if signal is None else self.knowledge_score(signal)

    def knowledge_score(self, signal: KnowledgeSignal) -> float:
        """The score of a signal, by the policy's weights."""
        if signal.evidence is None:
            return signal.score
        model = self._weights.of_knowledge(signal.embedder)
        return max((model.score(evidence) for _, evidence in signal.evidence), default=0.0)

    def task(self, line: str) -> float | None:
        """How much the call is what a line was trained for, in [0, 1]; None when nobody has looked yet.

        0 when it is more like another line that rules ask about: which rule comes first must not decide that.
        """
        if self.facts.tasks is None:
            return None
        scores = {signal.line: self.task_score(signal) for signal in self.facts.tasks}
        score = scores.get(line, 0.0)
        return score if score >= max(scores.values(), default=0.0) else 0.0

    def task_score(self, signal: TaskSignal) -> float:
        """The score of a signal, by the policy's weights."""
        if signal.evidence is None:
            return signal.score
        return self._weights.of_task(signal.embedder).score(signal.evidence)

    def scores(self) -> tuple[SignalScore, ...]:
        """All signals that were looked up for the call, by the policy's weights."""
        found = [self._task_told(signal) for signal in self.facts.tasks or ()]
        for collections, signal in self.facts.knowledge:
            found += self._knowledge_told(collections, signal)
        return tuple(found)

    def _task_told(self, signal: TaskSignal) -> SignalScore:
        told = () if signal.evidence is None else self._weights.of_task(signal.embedder).contributions(signal.evidence)
        return SignalScore("task", signal.line, self.task_score(signal), signal.embedder, told)

    def _knowledge_told(self, collections: tuple[str, ...], signal: KnowledgeSignal) -> list[SignalScore]:
        if signal.evidence is None:
            return [SignalScore("knowledge", ",".join(collections), signal.score, signal.embedder)]
        model = self._weights.of_knowledge(signal.embedder)
        return [
            SignalScore("knowledge", name, model.score(evidence), signal.embedder, model.contributions(evidence))
            for name, evidence in signal.evidence
        ]

    def draw(self, rule: str, field: str | None, principal: Principal | None) -> float:
        """The share of [0, 1) that chooses among a rule's targets: the same for equal values of `field`."""
        if self._given_draw is not None:
            return self._given_draw
        value = sticky_value(field, self.call, principal) if field and self.call and principal else ""
        return _share_of(rule, field or "", value) if value else self.facts.draw

    def trial_draw(self, trial: str) -> float:
        """The share of [0, 1) that decides whether a line's canary has this call.

        The same for all calls of a conversation that has an id, else of a user, else for this call alone. trial: names
        what is on trial, so that another one draws anew; more of the share keeps who had a part in it.
        """
        if self.given_trial is not None:
            return self.given_trial
        call = self.call
        if call is not None and call.conversation:
            return _share_of(trial, "conversation", call.conversation)
        if call is not None and call.user:
            return _share_of(trial, "user", call.user)
        return _share_of(trial, "call", repr(self.facts.draw))


def _share_of(what: str, field: str, value: str) -> float:
    digest = hashlib.blake2b(f"{what}\0{field}\0{value}".encode(errors="replace"), digest_size=8).digest()
    # 53 bits: all that a float holds, so that none is rounded up to 1.
    return (int.from_bytes(digest, "big") >> 11) / 2**53


def sticky_value(field: str, call: Call, principal: Principal) -> str:
    """What a call says in a field that a split can stick to; "" when it says nothing.

    conversation: the id that the caller gives it, else its beginning, which stays while the conversation grows.
    """
    kind, _, name = field.partition(".")
    read = {
        "team": lambda: principal.team,
        "key": lambda: principal.key_name,
        "user": lambda: call.user,
        "conversation": lambda: call.conversation or _beginning(call),
        "metadata": lambda: dict(call.metadata).get(name, ""),
        "header": lambda: (call.inbound.header(name.lower().encode()) or b"").decode("latin-1"),
    }
    return read[kind]()


def _beginning(call: Call) -> str:
    said = []
    for turn in call.turns:
        said.append(f"{turn.role}:{turn.text}")
        if turn.role == "user":
            break
    return "\n".join(said)


def _features(call: Call | None) -> Features:
    if call is None:
        return Features(0, 0, 0, has_image=False, response_format="text")
    turns = 0
    for turn in call.turns:
        turns += turn.role not in {"system", "developer"}
    return Features(len(call.text), call.prompt_tokens_estimate, turns, call.has_image, call.response_format)
