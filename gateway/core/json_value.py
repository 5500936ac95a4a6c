"""Any JSON value, for what callers bring and only they know the shape of."""

from typing import TypeAlias, Union

Json: TypeAlias = Union[bool, int, float, str, list["Json"], dict[str, "Json"], None]  # noqa: UP007  # `|` of a name in quotes is an error at run time
