"""Who waits for a gateway that does not run hears of it."""

from gateway.tuning.retraining.reminder import LEFT_SECONDS, Reminder
from tests.fakes.books import Hands


def test_it_is_said_once_and_only_while_nothing_moves() -> None:
    hands, told = Hands(), list[tuple[str, str]]()
    reminder = Reminder(lambda step, text: told.append((step, text)), hands.clock())
    for moves in range(5):
        reminder.look("train", moves=moves)
        hands.turn(LEFT_SECONDS)
        reminder.look("train", moves=moves)
    assert told == []
    for _ in range(3):
        hands.turn(1)
        reminder.look("train", moves=4)
    ((step, text),) = told
    assert step == "train"
    assert "gateway serve" in text
