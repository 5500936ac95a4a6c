import pytest

from gateway.core.errors import InvalidRequest
from gateway.identity.terms import FREE, PATHS, checked_terms, written_terms


def test_what_is_written_is_kept_once_and_in_order() -> None:
    terms = checked_terms(["b*", "a", "b*"], ["rag", "direct", "rag"], {"unit": "eu", "env": "prod"})
    assert terms.allowed_models == ("b*", "a")
    assert terms.allowed_paths == ("rag", "direct")
    assert terms.metadata == (("env", "prod"), ("unit", "eu"))


def test_nothing_written_binds_to_nothing() -> None:
    assert checked_terms(None, None, None) == checked_terms([], [], {}) == written_terms("[]", "[]", "{}") == FREE


def test_the_paths_are_those_of_decisions() -> None:
    assert PATHS == ("fine_tuned", "rag", "direct", "passthrough")


@pytest.mark.parametrize(
    ("models", "paths", "metadata", "told"),
    [
        ([""], [], {}, "allowed_models"),
        (["a*b"], [], {}, "one `\\*` at the end"),
        (["**"], [], {}, "one `\\*` at the end"),
        (["a\nb"], [], {}, "allowed_models"),
        (["x" * 257], [], {}, "allowed_models"),
        ([f"m{number}" for number in range(101)], [], {}, "at most 100"),
        ([], ["sideways"], {}, "fine_tuned, rag, direct, passthrough"),
        ([], ["/v1/files"], {}, "fine_tuned, rag, direct, passthrough"),
        ([], [], {"": "x"}, "metadata"),
        ([], [], {"k" * 65: "x"}, "metadata"),
        ([], [], {"k": "v" * 513}, "metadata"),
        ([], [], {"k": "a\x00"}, "metadata"),
        ([], [], {f"k{number}": "" for number in range(17)}, "at most 16"),
    ],
)
def test_what_cannot_be_is_refused_with_what_would_be_right(
    models: list[str], paths: list[str], metadata: dict[str, str], told: str
) -> None:
    with pytest.raises(InvalidRequest, match=told):
        checked_terms(models, paths, metadata)
