from tests.fakes.calls import HELLO, chat, read
from tests.fakes.rulebook import held


def test_holds_for_the_path_that_the_caller_asks_for() -> None:
    call = read(HELLO, headers=((b"x-gateway-path", b"rag"),))
    assert held("asked_path: [rag, direct]", call)
    assert not held("asked_path: direct", call)
    assert not held("asked_path: [rag]", chat()), "who asks for nothing asks for no path"
