from tests.fakes.calls import chat
from tests.fakes.rulebook import held


def test_holds_for_calls_with_or_without_tools() -> None:
    with_tools = chat(tools=[{"type": "function", "function": {"name": "f"}}])
    assert held("has_tools: true", with_tools)
    assert not held("has_tools: true", chat())
    assert held("has_tools: false", chat(tools=[]))
    assert not held("has_tools: false", with_tools)
