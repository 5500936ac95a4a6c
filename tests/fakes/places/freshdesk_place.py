"""Freshdesk: solutions in categories and folders, tickets by the time of their last update; no page beyond 300."""

from tests.fakes.api_server import Answer, Asked, in_json
from tests.fakes.places import Edits


class FreshdeskPlace(Edits):
    """Articles stand in two folders. visibility: of each; 1 is everybody."""

    def __init__(self) -> None:
        super().__init__()
        self.visibility = {1: 1, 2: 1}
        self.status: dict[str, int] = {}
        self.highest_page = 0
        self._last: tuple[object, list[dict[str, object]]] | None = None

    def answer(self, asked: Asked) -> Answer:
        if self.is_away:
            return in_json({"code": "invalid_credentials", "message": "You have to be logged in"}, 401)
        number, size = int(asked.one("page", "1")), int(asked.one("per_page", "30"))
        self.highest_page = max(self.highest_page, number)
        if number > 300 or size > 100:
            return in_json({"description": "Validation failed", "code": "invalid_value"}, 400)
        if asked.path.startswith("/api/v2/solutions/articles/"):
            name = self.there(asked.path.rsplit("/", 1)[1])
            return in_json(self._article(name) if name else {}, 200 if name else 404)
        key = (
            asked.path,
            str(self.visibility),
            str(self.status) if len(self.status) < 9 else "",
            asked.one("updated_since"),
            asked.one("filter"),
            self._ticks,
            id(self.stamps),
        )
        if self._last is None or self._last[0] != key:
            self._last = key, self._list(asked)
        found = self._last[1]
        return in_json(found[(number - 1) * size : number * size])

    def _list(self, asked: Asked) -> list[dict[str, object]]:
        parts = asked.path.removeprefix("/api/v2/").split("/")
        if parts == ["solutions", "categories"]:
            return [{"id": 10, "name": "General"}]
        if parts[:2] == ["solutions", "categories"]:
            return [{"id": one, "name": f"Folder {one}", "visibility": seen} for one, seen in self.visibility.items()]
        if parts[:2] == ["solutions", "folders"]:
            return [self._article(name) for name in self.texts if self.numbers[name] % 2 == int(parts[2]) % 2]
        if parts[-1] == "conversations":
            return self._conversations(self.name_of(parts[1]))
        assert asked.one("order_by") == "updated_at"
        assert asked.one("order_type") == "asc"
        stamps = self.gone if asked.one("filter") == "deleted" else {name: self.stamps[name] for name in self.texts}
        names = sorted((name for name in stamps if stamps[name] >= asked.one("updated_since")), key=lambda n: stamps[n])
        return [
            {
                "id": self.numbers[name],
                "status": self.status.get(name, 4),
                "updated_at": stamps[name],
                "subject": name,
                "description": "<div>My parcel is late.</div>",
                "description_text": "My parcel is late.",
                "tags": [],
                "deleted": name in self.gone,
            }
            for name in names
        ]

    def _article(self, name: str) -> dict[str, object]:
        return {
            "id": self.numbers[name],
            "title": name,
            "description": f"<p>{self.texts[name]}</p>",
            "description_text": self.texts[name],
            "status": self.status.get(name, 2),
            "updated_at": self.stamps[name],
            "folder_id": 2 - self.numbers[name] % 2,
            "tags": ["faq"],
        }

    def _conversations(self, name: str) -> list[dict[str, object]]:
        return [
            {"body_text": "it is still late", "incoming": True, "private": False},
            {"body_text": "internal note", "incoming": False, "private": True},
            {"body_text": self.texts.get(name, ""), "incoming": False, "private": False},
        ]
