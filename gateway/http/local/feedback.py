"""POST /v1/feedback: what a team says of an answer that it got."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, Literal

import msgspec

from gateway.core.call import Inbound, Principal
from gateway.core.clock import Clock
from gateway.core.errors import InvalidRequest, NotFound, RouteNotFound
from gateway.core.values import Value
from gateway.http.local.reading import body_of
from gateway.http.local.replies import Json
from gateway.tuning.feedback.store import FeedbackStore
from gateway.tuning.feedback.values import Feedback

WORDS = {"up": 1.0, "down": -1.0}
MOST_CHARACTERS = 32_768
MOST_ID = 256
# A call's rows are in the database a moment after its reply; who answers at once shall not hear that it never was.
SHIPPED_SECONDS = 3.0
LOOK_SECONDS = 0.1
# A call may stream for so long before it ends and is shipped.
LONGEST_CALL_SECONDS = 900.0
IDS = ("call_id", "decision_id", "response_id")

Identity = Annotated[str, msgspec.Meta(min_length=1, max_length=MOST_ID)]
Text = Annotated[str, msgspec.Meta(max_length=MOST_CHARACTERS)]


class NewFeedback(msgspec.Struct, forbid_unknown_fields=True):
    """The body. One of the ids says which answer; score from -1 to 1, or up or down."""

    score: Annotated[float, msgspec.Meta(ge=-1, le=1)] | Literal["up", "down"]
    call_id: Identity | None = None
    decision_id: Identity | None = None
    response_id: Identity | None = None
    comment: Text = ""
    corrected: Text = ""


class Answer(Value, frozen=True):
    """An answer that something can be said of."""

    call_id: str
    decision_id: str
    team: str
    at: float
    line: str | None
    version: int | None
    model: str


# Finds an answer of any team by an id and what kind of id it is.
Find = Callable[[str, str], Awaitable[Answer | None]]
# Replaces personal data in texts of a team's; gives them as they are where the team wants that.
Redact = Callable[[str, tuple[str, ...]], tuple[str, ...]]

_new = msgspec.json.Decoder(NewFeedback)


class SaidOfAnswers:
    """Answers the route. observe: told (team, sentiment) of each."""

    def __init__(
        self, store: FeedbackStore, find: Find, redact: Redact, observe: Callable[[str, str], None], clock: Clock
    ) -> None:
        self._store = store
        self._find = find
        self._redact = redact
        self._observe = observe
        self._clock = clock

    async def serve(self, rest: list[str], inbound: Inbound, principal: Principal) -> Json:
        """The reply. Raises InvalidRequest (400), NotFound (404) for a call of another team too."""
        if rest or inbound.method != "POST":
            raise RouteNotFound(f"Unknown request URL: {inbound.method} {inbound.path}.")
        body = body_of(inbound, _new)
        given = [name for name in IDS if getattr(body, name) is not None]
        if len(given) != 1:
            raise InvalidRequest(f"Say of which answer: one of {', '.join(IDS)}; {len(given)} are given.", param=IDS[0])
        answer = await self._found(given[0], getattr(body, given[0]))
        if answer is None or answer.team != principal.team:
            hint = " Ids of replies are known of captured calls only." if given[0] == "response_id" else ""
            raise NotFound(f"No call found with {given[0]} {getattr(body, given[0])!r}.{hint}", param=given[0])
        comment, corrected = self._redact(principal.team, (body.comment, body.corrected))
        said = Feedback(
            call_id=answer.call_id,
            decision_id=answer.decision_id,
            team=principal.team,
            key_id=principal.key_id,
            at=self._clock.wall(),
            called_at=answer.at,
            score=WORDS[body.score] if isinstance(body.score, str) else body.score,
            comment=comment,
            corrected=corrected,
            line=answer.line,
            version=answer.version,
            model=answer.model,
        )
        await self._store.put(said)
        self._observe(said.team, said.sentiment)
        return {
            "object": "feedback",
            "call_id": said.call_id,
            "decision_id": said.decision_id,
            "score": said.score,
            "created_at": int(said.at),
        }

    async def _found(self, kind: str, identity: str) -> Answer | None:
        deadline = self._clock.monotonic() + SHIPPED_SECONDS
        while True:
            answer = await self._find(kind, identity)
            if answer is not None or not self._is_fresh(kind, identity) or self._clock.monotonic() >= deadline:
                return answer
            await asyncio.sleep(LOOK_SECONDS)

    def _is_fresh(self, kind: str, identity: str) -> bool:
        """Whether an id may be of a call that is on its way to the database: ours say when they were made."""
        if kind == "response_id":
            return True
        try:
            made = int(identity.partition("_")[2][:12], 16) / 1000
        except ValueError:
            return False
        return abs(self._clock.wall() - made) <= LONGEST_CALL_SECONDS
