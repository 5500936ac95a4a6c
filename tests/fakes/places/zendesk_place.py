"""Zendesk: help centre articles with cursor paging, the incremental export of tickets, and their comments."""

from tests.fakes.api_server import Answer, Asked, in_json
from tests.fakes.places import FIRST, Edits


class ZendeskPlace(Edits):
    """page_size: how many articles a page has whatever was asked for, so that few documents fill many pages."""

    def __init__(self, page_size: int = 40) -> None:
        super().__init__()
        self.page_size = page_size
        self.more: dict[str, dict[str, object]] = {}
        self.url = ""
        self.status: dict[str, str] = {}
        self.comments: dict[str, list[dict[str, object]]] = {}

    def answer(self, asked: Asked) -> Answer:
        if self.is_away:
            return in_json({"error": "Couldn't authenticate you"}, 401)
        if asked.path.startswith("/api/v2/help_center/"):
            return self._articles(asked)
        if asked.path == "/api/v2/incremental/tickets.json":
            return self._tickets(asked)
        return self._comments(asked.path.split("/")[4])

    def _articles(self, asked: Asked) -> Answer:
        if not asked.path.endswith("/articles.json"):
            name = self.there(asked.path.rsplit("/", 1)[1].removesuffix(".json"))
            return in_json({"article": self._article(name)} if name else {}, 200 if name else 404)
        assert asked.one("sort_by") == "updated_at"
        newest_first = asked.one("sort_order") == "desc"
        names = self.in_order(newest_first=newest_first)
        # A cursor is a place between two times: what was edited since stands elsewhere now.
        after = asked.one("page[after]")
        if after:
            names = [
                name for name in names if (self.stamps[name] < after if newest_first else self.stamps[name] > after)
            ]
        page, rest = names[: self.page_size], names[self.page_size :]
        last = self.stamps[page[-1]] if page else ""
        query = f"page[after]={last}&sort_by=updated_at&sort_order={asked.one('sort_order')}"
        return in_json(
            {
                "articles": [self._article(name) for name in page],
                "meta": {"has_more": bool(rest), "after_cursor": "x" if rest else None},
                "links": {"next": f"{self.url}{asked.path}?{query}" if rest else None},
            }
        )

    def _article(self, name: str) -> dict[str, object]:
        return {
            "id": self.numbers[name],
            "html_url": f"https://help.example.com/{name}",
            "title": name,
            "body": f"<p>{self.texts[name]}</p>",
            "draft": False,
            "updated_at": self.stamps[name],
            "section_id": 77,
            "locale": "en-us",
            "user_segment_id": None,
            "label_names": ["b", "a"],
            "vote_sum": 3,
        } | self.more.get(name, {})

    def _tickets(self, asked: Asked) -> Answer:
        start = int(asked.one("start_time"))
        names = [*self.texts, *self.gone]
        stamps = self.stamps | self.gone
        times = {name: seconds_of(stamps[name]) for name in names}
        page = sorted((name for name in names if times[name] >= start), key=lambda name: times[name])
        rest = page[self.page_size :]
        page = page[: self.page_size]
        tickets = [
            {
                "id": self.numbers[name],
                "status": "deleted" if name in self.gone else self.status.get(name, "solved"),
                "updated_at": stamps[name],
                "subject": f"Jane Roe: {name}",
                "description": "My parcel is late. Write to jane.roe@example.com or call +49 170 1234567.",
                "requester_id": 5,
                "tags": ["parcel"],
            }
            for name in page
        ]
        end = max((times[name] for name in page), default=None)
        return in_json({"tickets": tickets, "end_time": end, "end_of_stream": not rest, "count": len(tickets)})

    def _comments(self, number: str) -> Answer:
        name = self.name_of(number)
        asked: dict[str, object] = {"author_id": 5, "plain_body": "My parcel is late.", "public": True}
        note: dict[str, object] = {"author_id": 9, "plain_body": "internal note", "public": False}
        solved: dict[str, object] = {"author_id": 9, "plain_body": self.texts.get(name, ""), "public": True}
        return in_json({"comments": self.comments.get(name, [asked, note, solved]), "meta": {"has_more": False}})


def seconds_of(stamp: str) -> int:
    return int(FIRST.fromisoformat(stamp).timestamp())
