from gateway.policy.describe import conditions_table
from gateway.policy.routing_file import CONDITIONS
from tests.fakes.rulebook import rule


def test_each_condition_stands_in_the_table_with_an_example_that_works() -> None:
    table = conditions_table()
    for key, condition in CONDITIONS.items():
        assert f"| `{key}` | {condition.summary} | `{condition.example}` |" in table
        assert condition.example.startswith(f"{key}: ")
        (part,) = rule(condition.example.replace("support-tone", "tone")).policy.rules[0].parts
        assert part.key == key
