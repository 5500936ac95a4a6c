"""What a site asks a crawler to leave alone: robots.txt (RFC 9309), and what a page says of itself."""

import re
from collections.abc import Container
from urllib.parse import unquote, urljoin

from gateway.knowledge.remote.fetch import Reply
from gateway.knowledge.remote.sitemap import canonical

MOST_HEAD = 64 * 1024
_TAG = re.compile(r"<(?:meta|link)\s[^<>]{1,2000}>", re.IGNORECASE)
_ATTRIBUTE = re.compile(r"([a-zA-Z-]{1,40})\s{0,5}=\s{0,5}(\"[^\"]{0,2000}\"|'[^']{0,2000}'|[^\s\"'>]{1,2000})")

Rule = tuple[str, bool]


class Robots:
    """The rules for one agent. The longest pattern that fits decides; of two as long the one that allows."""

    def __init__(self, text: str, agent: str) -> None:
        groups = _groups(text)
        named = [rules for agents, rules in groups if any(name != "*" and name in agent for name in agents)]
        everyone = [rules for agents, rules in groups if "*" in agents]
        self._rules = [rule for rules in (named or everyone) for rule in rules]
        self.sitemaps = tuple(value for key, value in _lines(text) if key == "sitemap" and value)

    def allows(self, path: str) -> bool:
        """Whether a path with its query may be asked for."""
        target = unquote(path)
        fitting = [(len(pattern), allowed) for pattern, allowed in self._rules if _fits(pattern, target)]
        return max(fitting)[1] if fitting else True


def is_elsewhere(url: str, reply: Reply, wanted: Container[str]) -> bool:
    """Whether a page says that it is not to be found, or that another page that is wanted is the real one."""
    if "noindex" in reply.headers.get("x-robots-tag", "").lower():
        return True
    if "html" not in reply.headers.get("content-type", "html"):
        return False
    head = reply.body[:MOST_HEAD].decode("utf-8", errors="replace")
    for tag in _TAG.findall(head):
        told = {name.lower(): value.strip("\"' ") for name, value in _ATTRIBUTE.findall(tag)}
        if told.get("name", "").lower() == "robots" and "noindex" in told.get("content", "").lower():
            return True
        if told.get("rel", "").lower() == "canonical" and told.get("href"):
            try:
                real = canonical(urljoin(url, told["href"]))
            except ValueError:
                continue
            return real != url and real in wanted
    return False


def _groups(text: str) -> list[tuple[list[str], list[Rule]]]:
    groups: list[tuple[list[str], list[Rule]]] = []
    is_open = False
    for key, value in _lines(text):
        if key == "user-agent":
            if not is_open:
                groups.append(([], []))
            is_open = True
            groups[-1][0].append(value.lower())
        elif key in {"allow", "disallow"}:
            is_open = False
            if groups and value:
                groups[-1][1].append((unquote(value), key == "allow"))
    return groups


def _lines(text: str) -> list[tuple[str, str]]:
    found = []
    for line in text.splitlines():
        key, colon, value = line.partition("#")[0].partition(":")
        if colon:
            found.append((key.strip().lower(), value.strip()))
    return found


def _fits(pattern: str, path: str) -> bool:
    """Whether a pattern with `*` and a closing `$` fits; part by part and never back, as its author may be hostile."""
    first, *others = pattern.removesuffix("$").split("*")
    if not path.startswith(first):
        return False
    at, last = len(first), ""
    if pattern.endswith("$"):
        if not others:
            return at == len(path)
        last = others.pop()
    for part in others:
        found = path.find(part, at)
        if found < 0:
            return False
        at = found + len(part)
    return len(path) - at >= len(last) and path.endswith(last)
