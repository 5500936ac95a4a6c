"""Confluence: pages by version 2 of the API, restrictions by version 1."""

from tests.fakes.api_server import Answer, Asked, in_json
from tests.fakes.places import Edits


class ConfluencePlace(Edits):
    """readers: pages that name who reads them. parents: name -> name of the page above."""

    def __init__(self, page_size: int = 40) -> None:
        super().__init__()
        self.page_size = page_size
        self.readers: set[str] = set()
        self.parents: dict[str, str] = {}
        self.bodies: dict[str, str] = {}

    def answer(self, asked: Asked) -> Answer:
        if self.is_away:
            return in_json({"message": "Unauthorized"}, 401)
        if "/restriction/" in asked.path:
            name = self.name_of(asked.path.split("/")[5])
            users = [{"type": "known"}] if name in self.readers else []
            return in_json(
                {"operation": "read", "restrictions": {"user": {"results": users}, "group": {"results": []}}}
            )
        if asked.path != "/wiki/api/v2/pages":
            found = self.there(asked.path.rsplit("/", 1)[1])
            return in_json(self._page(found) if found else {}, 200 if found else 404)
        names = self.in_order(newest_first=asked.one("sort") == "-modified-date")
        start = int(asked.one("cursor", "0"))
        page, rest = names[start : start + self.page_size], names[start + self.page_size :]
        link = f"/wiki/api/v2/pages?sort={asked.one('sort')}&body-format=storage&cursor={start + self.page_size}"
        return in_json({"results": [self._page(name) for name in page], "_links": {"next": link} if rest else {}})

    def _page(self, name: str) -> dict[str, object]:
        above = self.parents.get(name)
        body = self.bodies.get(name, f"<p>{self.texts[name]}</p>")
        return {
            "id": str(self.numbers[name]),
            "status": "current",
            "title": name,
            "spaceId": "42",
            "parentId": None if above is None else str(self.numbers[above]),
            "parentType": None if above is None else "page",
            "version": {"number": 1, "createdAt": self.stamps[name]},
            "body": {"storage": {"representation": "storage", "value": body}},
            "_links": {"webui": f"/spaces/HELP/pages/{self.numbers[name]}"},
        }
