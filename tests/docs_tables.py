"""Writes the generated table of policies/README.md: `python -m tests.docs_tables`."""

from pathlib import Path

from gateway.policy.describe import conditions_table

README = Path(__file__).parents[1] / "policies" / "README.md"
BEGIN = "<!-- conditions: written by `python -m tests.docs_tables`; a test compares -->\n"
END = "<!-- end of conditions -->"


def with_table(text: str) -> str:
    """The page with its table as it should be."""
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}{conditions_table()}\n{END}{tail}"


if __name__ == "__main__":
    README.write_text(with_table(README.read_text(encoding="utf-8")), encoding="utf-8")
