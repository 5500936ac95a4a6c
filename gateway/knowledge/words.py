"""The words of a question that are worth looking up."""

import re

MOST_WORDS = 64
MOST_CHARACTERS = 20_000

_WORD = re.compile(r"[^\W_]+")
# English function words, and what people say around a question. Looked up, they cost most and tell least.
STOP_WORDS = frozenset(
    """
    a about above after again all also am an and any are as at be because been before being below between both
    but by can could d did do does doing don down during each few for from further had has have having he her
    here hers him his how i if in into is isn it its itself just ll m may me might more most must my myself no
    nor not now of off on once only or other our ours out over own re s same shall she should so some such t
    than that the their theirs them then there these they this those through to too under until up ve very was
    we were what when where which while who whom whose why will with would you your yours
    explain give hello help hey hi let like many much need ok okay please show tell thank thanks us want
    """.split()  # noqa: SIM905 - 180 quoted words would be read by nobody
)


def question_words(text: str) -> tuple[str, ...]:
    """The distinct words of a text in order, lower case, without stop-words; all if nothing else is left.

    Letters and digits only, so that each can stand in quotes in a full-text query. Of a long text the first
    and the last 32 words: the matter stands at one end, the question at the other.
    """
    if len(text) > MOST_CHARACTERS:
        text = text[: MOST_CHARACTERS // 2] + " " + text[-MOST_CHARACTERS // 2 :]
    found = dict.fromkeys(_WORD.findall(text.lower()))
    words = [word for word in found if word not in STOP_WORDS] or list(found)
    if len(words) > MOST_WORDS:
        words = words[: MOST_WORDS // 2] + words[-MOST_WORDS // 2 :]
    return tuple(words)
