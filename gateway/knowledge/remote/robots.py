"""robots.txt (RFC 9309): what a site asks a crawler to leave alone."""

import re
from urllib.parse import unquote

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
    is_whole = pattern.endswith("$")
    parts = [re.escape(part) for part in pattern.removesuffix("$").split("*")]
    return re.match("[^\n]*?".join(parts) + ("$" if is_whole else ""), path) is not None
