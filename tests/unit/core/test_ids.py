from gateway.core.ids import new_id


def test_ids_name_their_kind_and_are_never_given_twice() -> None:
    made = [new_id("call") for _ in range(1_000)]
    assert len(set(made)) == len(made)
    assert all(one.startswith("call_") and len(one) == 5 + 32 for one in made)


def test_ids_sort_by_their_millisecond() -> None:
    made = [new_id("call")[:17] for _ in range(1_000)]
    assert made == sorted(made)
