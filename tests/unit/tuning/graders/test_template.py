"""Templates: filled from the item and the sample; what is not there is a fault and never an empty text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.json_value import Json
from gateway.tuning.graders.template import Subject, TemplateFault, UnknownVariable, filled, parts_of, sample_of

ITEM: Json = {"x": {"y": [1, {"z": "deep"}]}, "n": None, "t": True, "odd key.here": "odd", "list": ["a", "b"]}
SUBJECT = Subject(ITEM, sample_of('{"answer": {"days": 5}}'))


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("plain } { text", "plain } { text"),
        ("{{item.x.y[1].z}}", "deep"),
        ("{{ item.x.y[0] }}", "1"),
        ("{{item.list[-1]}}", "b"),
        ("{{item[\"odd key.here\"]}} {{item['odd key.here']}}", "odd odd"),
        ("{{item.x}}", '{"y":[1,{"z":"deep"}]}'),
        ("{{item.n}}/{{item.t}}", "null/true"),
        ("{{sample.output_json.answer.days}}", "5"),
        ("{{sample.output_text}}", '{"answer": {"days": 5}}'),
        ("{{sample.choices[0].message.content}}", '{"answer": {"days": 5}}'),
        ("{{sample.output_tools}}", "[]"),
    ],
)
def test_what_is_named_stands_there(template: str, text: str) -> None:
    assert filled(template, SUBJECT) == text


@pytest.mark.parametrize(
    "template", ["{{item.nothing}}", "{{item.x.y[2]}}", "{{item.x[0]}}", "{{item.list.a}}", "{{sample.x}}"]
)
def test_what_is_not_there_is_a_fault(template: str) -> None:
    with pytest.raises(UnknownVariable) as caught:
        filled(template, SUBJECT)
    assert caught.value.flag == "invalid_variable_error"


def test_an_answer_that_is_no_json_has_its_own_fault() -> None:
    with pytest.raises(UnknownVariable) as caught:
        filled("{{sample.output_json.a}}", Subject({}, sample_of("words")))
    assert caught.value.flag == "sample_parse_error"
    with pytest.raises(UnknownVariable, match="no sample"):
        filled("{{sample.output_text}}", Subject({}))


@pytest.mark.parametrize(
    "template",
    [
        "{{",
        "a {{item.x",
        "{{other.x}}",
        "{{}}",
        "{{item.}}",
        "{{item[x]}}",
        "{{item.x | upper}}",
        "{{item" + ".a" * 50 + "}}",
    ],
)
def test_what_cannot_be_read_is_refused(template: str) -> None:
    with pytest.raises(TemplateFault):
        parts_of(template)


@given(st.text(alphabet="{}item.sample[]0\"' |x", max_size=40))
def test_any_text_is_a_template_or_refused(text: str) -> None:
    try:
        filled(text, SUBJECT)
    except (TemplateFault, UnknownVariable):
        return


def test_a_filled_text_is_not_a_template_again() -> None:
    """What a model says must not reach into what it is graded by."""
    assert filled("{{sample.output_text}}", Subject({"secret": "s"}, sample_of("{{item.secret}}"))) == "{{item.secret}}"
