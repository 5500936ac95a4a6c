import pytest
from pydantic import Field

from gateway.core.document import Written, read_document, validate
from gateway.core.errors import BadConfiguration


class Inner(Written):
    limit: int = Field(ge=0)


class Outer(Written):
    name: str
    inner: Inner
    many: tuple[int, ...] = ()


def faults_of(text: str | bytes, name: str = "a.yaml") -> list[str]:
    with pytest.raises(BadConfiguration) as caught:
        validate(read_document(text, name), Outer)
    return caught.value.faults


def test_every_fault_has_its_line_and_column_in_reading_order() -> None:
    text = "many: [1, two]\ninner:\n  limit: -3\n  colour: red\n"
    assert faults_of(text) == [
        "a.yaml:1:1: 'name' is missing.",
        "a.yaml:1:11: many is 'two'; input should be a valid integer, unable to parse string as an integer.",
        "a.yaml:3:3: limit is -3; input should be greater than or equal to 0.",
        "a.yaml:4:3: 'colour' is not a key here.",
    ]


def test_a_colon_in_the_name_of_the_folder_does_no_harm() -> None:
    assert faults_of("inner: {limit: 1}\nx: 1\n", "/srv/a:b/c.yaml") == [
        "/srv/a:b/c.yaml:1:1: 'name' is missing.",
        "/srv/a:b/c.yaml:2:1: 'x' is not a key here.",
    ]


def test_a_key_that_stands_twice_is_a_fault() -> None:
    """YAML takes the last in silence: half of what was written would not be in force."""
    assert faults_of("name: a\nname: b\ninner: {limit: 1}\n") == ["a.yaml:2:1: the key 'name' stands twice."]


@pytest.mark.parametrize(
    "text",
    [
        b"[" * 100_000,
        b"{a: " * 100_000,
        b"- " * 100_000,
        "\n".join(" " * depth + "a:" for depth in range(3_000)).encode(),
        b"a: " + b"[" * 61 + b"]" * 61,
    ],
    ids=["open brackets", "open braces", "dashes", "indents", "just too deep"],
)
def test_depth_is_refused_before_it_can_end_the_process(text: bytes) -> None:
    """libyaml's composer recurses without a limit: 100 kB of brackets were a segmentation fault."""
    (fault,) = faults_of(text)
    assert "nested too deeply" in fault


def test_a_bomb_of_aliases_is_refused() -> None:
    rows = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    rows += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
    (fault,) = faults_of("\n".join(rows))
    assert "too large or too deep" in fault


def test_an_alias_that_contains_itself_is_refused() -> None:
    (fault,) = faults_of("name: &a [*a]")
    assert "too large or too deep" in fault


@pytest.mark.parametrize(
    "value",
    [
        "!!timestamp never",
        "!!bool maybe",
        "!!int ''",
        "!!float ''",
        "!!python/object:os.system x",
        "2026-13-45",
        "9" * 5_000,
        "!!binary é",
        "=",
    ],
)
def test_a_value_that_does_not_fit_its_tag_is_a_fault(value: str) -> None:
    (fault,) = faults_of(f"name: a\ninner: {{limit: 1}}\nmany: [{value}]\n")
    assert fault.startswith("a.yaml:3:8: ")


@pytest.mark.parametrize(
    "text", [b"\xff\xfe\x00", b"a: \x00", "a: [", "a: b: c", "\tx", "? [a]\n: b", "- 1", "word", "*nobody", "a: &a"]
)
def test_what_is_no_mapping_of_words_to_values_is_a_fault(text: str | bytes) -> None:
    for fault in faults_of(text):
        name, line, column, _ = fault.split(":", 3)
        assert name == "a.yaml"
        assert int(line) >= 1
        assert int(column) >= 1


def test_nan_and_infinity_are_no_numbers_here() -> None:
    class Weighted(Written):
        weight: float

    for text in ("weight: .nan", "weight: .inf"):
        with pytest.raises(BadConfiguration, match="finite"):
            validate(read_document(text, "a.yaml"), Weighted)


def test_an_empty_file_is_an_empty_mapping() -> None:
    assert read_document("", "a.yaml").data == {}
    assert read_document("# only a comment\n", "a.yaml").data == {}
