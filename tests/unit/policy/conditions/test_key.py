from tests.fakes.calls import chat
from tests.fakes.rulebook import held


def test_holds_for_keys_of_these_names() -> None:
    assert held("key: [web]", chat())
    assert not held("key: [nightly-batch]", chat())
    assert not held("key: [key_1]", chat()), "a key is named by its name, not by its id"
