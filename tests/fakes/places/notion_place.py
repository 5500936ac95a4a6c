"""Notion: search for pages, and the blocks of a page."""

import json

from tests.fakes.api_server import Answer, Asked, in_json
from tests.fakes.places import Edits


class NotionPlace(Edits):
    """Ids are numbers as text. blocks: of a page or block, in place of one paragraph."""

    def __init__(self, page_size: int = 40) -> None:
        super().__init__()
        self.page_size = page_size
        self.trash: set[str] = set()
        self.blocks: dict[str, list[dict[str, object]]] = {}

    def answer(self, asked: Asked) -> Answer:
        if self.is_away:
            return in_json({"object": "error", "status": 401, "code": "unauthorized"}, 401)
        assert asked.headers["notion-version"]
        if asked.path.startswith("/v1/blocks/"):
            identity = asked.path.split("/")[3]
            return self._part(self._blocks(identity), asked.one("start_cursor"))
        if asked.path.startswith("/v1/pages/"):
            found = self.there(asked.path.rsplit("/", 1)[1])
            return in_json(self._page(found) if found else {}, 200 if found else 404)
        body = json.loads(asked.body)
        order = body.get("sort") or body["sorts"][0]
        names = self.in_order(newest_first=order["direction"] == "descending")
        return self._part([self._page(name) for name in names], body.get("start_cursor", ""))

    def _part(self, found: list[dict[str, object]], start: str) -> Answer:
        first = int(start or "0")
        last = first + self.page_size
        more = last < len(found)
        return in_json({"results": found[first:last], "has_more": more, "next_cursor": str(last) if more else None})

    def _page(self, name: str) -> dict[str, object]:
        return {
            "object": "page",
            "id": str(self.numbers[name]),
            "last_edited_time": self.stamps[name],
            "url": f"https://notion.example.com/{name}",
            "archived": name in self.trash,
            "in_trash": name in self.trash,
            "properties": {"Name": {"type": "title", "title": run(name)}, "Tags": {"type": "multi_select"}},
        }

    def _blocks(self, identity: str) -> list[dict[str, object]]:
        return self.blocks.get(identity) or [block("paragraph", self.texts[self.name_of(identity)])]


def run(text: str) -> list[dict[str, object]]:
    return [{"plain_text": text, "href": None, "annotations": {"bold": False, "code": False, "color": "default"}}]


def block(kind: str, text: str = "", *, identity: str = "", **more: object) -> dict[str, object]:
    below = {"id": identity, "has_children": True} if identity else {"id": "0", "has_children": False}
    return {"object": "block", "type": kind, kind: {"rich_text": run(text), **more}, **below}
