"""What can stand under `when`, as a table: from the conditions themselves, so that it cannot be out of date."""

from gateway.policy.routing_file import CONDITIONS


def conditions_table() -> str:
    """A Markdown table of all conditions, in the order of their names."""
    lines = ["| key | holds when | example |", "|---|---|---|"]
    lines += [f"| `{key}` | {condition.summary} | `{condition.example}` |" for key, condition in CONDITIONS.items()]
    return "\n".join(lines)
