"""A website with an index of sitemaps, ETags and robots.txt."""

from tests.fakes.api_server import Answer, Asked
from tests.fakes.places import Edits


class WebsitePlace(Edits):
    """has_times: whether the sitemap says when a page was changed. robots: robots.txt. more: other answers by path."""

    def __init__(self) -> None:
        super().__init__()
        self.url = ""
        self.has_times = True
        self.robots = "User-agent: *\nDisallow: /closed/\n"
        self.more: dict[str, Answer] = {}
        self.extra = ""

    def answer(self, asked: Asked) -> Answer:
        if self.is_away:
            return Answer(b"no", 403) if asked.path == "/sitemap.xml" else Answer(b"", 404)
        if asked.path in self.more:
            return self.more[asked.path]
        if asked.path == "/robots.txt":
            return Answer(self.robots.encode())
        if asked.path == "/sitemap.xml":
            return self._xml("sitemapindex", f"<sitemap><loc>{self.url}/pages.xml</loc></sitemap>")
        if asked.path == "/pages.xml":
            return self._xml("urlset", "".join(map(self._entry, sorted(self.texts))) + self.extra)
        name = asked.path.removeprefix("/")
        if name not in self.texts:
            return Answer(b"not found", 404)
        tag = f'"{self.stamps[name]}"'
        if asked.headers.get("if-none-match") == tag:
            return Answer(status=304, headers={"etag": tag})
        page = f"<html><title>{name}</title><nav>menu</nav><p>{self.texts[name]}</p></html>"
        return Answer(page.encode(), headers={"etag": tag, "content-type": "text/html; charset=utf-8"})

    def _entry(self, name: str) -> str:
        changed = f"<lastmod>{self.stamps[name]}</lastmod>" if self.has_times else ""
        return f"<url><loc>{self.url}/{name}</loc>{changed}</url>"

    def _xml(self, root: str, inner: str) -> Answer:
        space = "http://www.sitemaps.org/schemas/sitemap/0.9"
        return Answer(f'<?xml version="1.0"?><{root} xmlns="{space}">{inner}</{root}>'.encode())
