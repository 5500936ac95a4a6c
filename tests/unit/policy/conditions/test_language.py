import pytest

from gateway.core.errors import BadConfiguration
from tests.fakes.calls import chat
from tests.fakes.rulebook import held, rule

GERMAN = "Wie lange dauert es, bis ich mein Geld zurückbekomme?"
NORWEGIAN = "Hvor lang tid tar det før jeg får pengene mine tilbake? Jeg har ventet i flere uker nå."


def said(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def test_holds_for_the_language_of_the_last_user_turn() -> None:
    call = chat(messages=[{"role": "user", "content": "How long do refunds take?"}, *said(GERMAN)])
    assert held("language: [de, fr]", call)
    assert held("language: de", call), "one word stands for a list of one"
    assert not held("language: [en]", call)


def test_a_text_in_which_nothing_tells_is_in_no_language() -> None:
    assert not held("language: [en, de, zh]", chat(messages=said("")))


def test_a_bare_no_is_norwegian_and_not_false() -> None:
    """YAML 1.1 reads it as a boolean."""
    for written in ("no", "[no]", "[de, no]", "'no'"):
        assert held(f"language: {written}", chat(messages=said(NORWEGIAN)))
        assert not held(f"language: {written}", chat())


@pytest.mark.parametrize("code", ["german", "DE", "d", "yes", "12", "[]", "de-AT"])
def test_what_is_no_language_code_is_a_fault(code: str) -> None:
    with pytest.raises(BadConfiguration, match="language"):
        rule(f"language: {code}")
