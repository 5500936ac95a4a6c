"""The report of questions that nothing answered: what it compares, and where."""

import threading

from gateway.answered import MOST_COMPARED, Answers
from gateway.ledger.answers.store import AnswerStore, Unanswered
from tests.fakes.calls import NOON


class Books(AnswerStore):
    """Books with these questions, newest first."""

    def __init__(self, *questions: str) -> None:
        self.questions = questions

    async def unanswered(
        self,
        since: float | None,  # noqa: ARG002  # as the store has it
        until: float | None,  # noqa: ARG002  # the same
        team: str | None,  # noqa: ARG002  # the same
        most: int,
        collection: str | None = None,  # noqa: ARG002  # the same
    ) -> list[Unanswered]:
        return [
            Unanswered(f"call_{number}", NOON - number, "support", ("help",), "no_match", "abstain", question, 0.05)
            for number, question in enumerate(self.questions[:most])
        ]


async def nowhere(_document: str) -> dict[str, str]:
    return {}


class Told(str):
    """A question that knows in which thread it was read."""

    __slots__ = ()
    threads: set[int] = set()  # noqa: RUF012  # of all that were read

    def lower(self) -> str:
        self.threads.add(threading.get_ident())
        return super().lower()


async def test_questions_are_compared_beside_the_loop() -> None:
    await Answers(Books(Told("Where is my parcel?")), nowhere).gaps()
    assert Told.threads
    assert threading.get_ident() not in Told.threads


async def test_the_latest_are_compared_and_the_report_says_how_many() -> None:
    many = [f"Where is parcel {number}?" for number in range(MOST_COMPARED)]
    report = await Answers(Books("", *many, "An old question"), nowhere).gaps()
    assert (report.total, report.without_words, report.compared) == (MOST_COMPARED + 2, 1, MOST_COMPARED)
    assert [one.count for one in report.clusters] == [MOST_COMPARED]
