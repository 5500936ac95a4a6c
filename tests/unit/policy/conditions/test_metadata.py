from tests.fakes.calls import chat
from tests.fakes.rulebook import held


def test_holds_when_every_named_pair_is_there() -> None:
    call = chat(metadata={"task": "tone", "desk": "3"})
    assert held("metadata: {task: tone}", call)
    assert held("metadata: {task: tone, desk: '3'}", call)
    assert not held("metadata: {task: tone, desk: '4'}", call)
    assert not held("metadata: {task: tone}", chat())
