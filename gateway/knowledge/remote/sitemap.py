"""Sitemaps (sitemaps.org): the pages that a site names, with when each was changed."""

import gzip
import io
import zlib
from urllib.parse import urlsplit, urlunsplit
from xml.etree import ElementTree as ET

from gateway.core.values import Value

MOST_UNPACKED = 64 * 1024 * 1024


class UnreadableSitemap(Exception):
    """What came is no sitemap."""


class Sitemap(Value, frozen=True):
    """pages: canonical URL -> lastmod or "". maps: further sitemaps, when this one is an index."""

    pages: dict[str, str]
    maps: tuple[str, ...] = ()


def read_sitemap(data: bytes) -> Sitemap:
    """A sitemap or an index of them, gzipped or not; a plain list of URLs is one too. Raises UnreadableSitemap."""
    text = _unpacked(data)
    head = text.lstrip(b"\xef\xbb\xbf \t\r\n")
    if not head.startswith(b"<"):
        lines = [line.strip() for line in head.decode("utf-8", errors="replace").splitlines()]
        pages = {page: "" for line in lines if line.startswith("http") and (page := canonical(line))}
        if not pages:
            raise UnreadableSitemap("neither XML nor a list of addresses")
        return Sitemap(pages)
    if b"<!DOCTYPE" in head[:4096].upper() or b"<!ENTITY" in head.upper():
        raise UnreadableSitemap("a document type is declared; a sitemap needs none")
    try:
        root = ET.fromstring(head)  # noqa: S314 - entities cannot be declared, see above
    except (ET.ParseError, ValueError, LookupError) as fault:
        raise UnreadableSitemap(f"not sound XML ({fault})") from None
    entries = [(_child(entry, "loc"), _child(entry, "lastmod")) for entry in root]
    if _name(root) == "sitemapindex":
        return Sitemap({}, tuple(place for place, _ in entries if place))
    if _name(root) != "urlset":
        raise UnreadableSitemap(f"its root is <{_name(root)}>")
    return Sitemap({page: changed for place, changed in entries if (page := canonical(place))})


def canonical(url: str) -> str:
    """One spelling for one page: no fragment, host in lower case, no default port, no empty path.

    "" for what is no address on the web.
    """
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError:
        return ""
    if parts.scheme.lower() not in {"http", "https"} or not parts.hostname:
        return ""
    default = {"http": 80, "https": 443}.get(parts.scheme)
    host = (parts.hostname or "") + (f":{port}" if port is not None and port != default else "")
    return urlunsplit((parts.scheme.lower(), host, parts.path or "/", parts.query, ""))


def _unpacked(data: bytes) -> bytes:
    if not data.startswith(b"\x1f\x8b"):
        return data
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            text = file.read(MOST_UNPACKED + 1)
    except (OSError, EOFError, zlib.error) as fault:
        raise UnreadableSitemap(f"not sound gzip ({fault})") from None
    if len(text) > MOST_UNPACKED:
        raise UnreadableSitemap(f"more than {MOST_UNPACKED} bytes when unpacked")
    return text


def _name(element: ET.Element) -> str:
    return element.tag.rpartition("}")[2].lower()


def _child(element: ET.Element, name: str) -> str:
    for child in element:
        if _name(child) == name:
            return (child.text or "").strip()
    return ""
