from hypothesis import given
from hypothesis import strategies as st

from gateway.core.usage import Usage


@given(st.data())
def test_kinds_are_disjoint_and_sum_to_the_whole(data: st.DataObject) -> None:
    """Else a dashboard that adds the kinds would count cached or reasoning tokens twice."""
    tokens_in, tokens_out = data.draw(st.integers(0, 10**9)), data.draw(st.integers(0, 10**9))
    cached, reasoning = data.draw(st.integers(0, tokens_in)), data.draw(st.integers(0, tokens_out))
    usage = Usage(tokens_in, tokens_out, cached_tokens=cached, reasoning_tokens=reasoning)
    kinds = dict(usage.by_kind())
    assert sum(kinds.values()) == tokens_in + tokens_out
    assert (kinds["cached"], kinds["reasoning"]) == (cached, reasoning)
