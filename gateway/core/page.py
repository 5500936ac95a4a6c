"""A page of a list, as OpenAI's lists are paged: by the last item's id."""

from typing import Generic, Literal, TypeVar

from gateway.core.values import Value

Item = TypeVar("Item")
Order = Literal["asc", "desc"]


class PageAsked(Value, frozen=True):
    """Which part of a list is wanted. after, before: ids of items; at most one of them is used, `after` first."""

    limit: int = 20
    order: Order = "desc"
    after: str | None = None
    before: str | None = None


class Page(Value, Generic[Item], frozen=True):
    """Items in the order asked for, and whether there are more in the direction that was gone."""

    items: tuple[Item, ...]
    has_more: bool
