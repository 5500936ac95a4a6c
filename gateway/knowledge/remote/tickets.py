"""Tickets as documents: what was asked and what solved it, without what names the customer."""

import re

from gateway.core.facts import Attributes
from gateway.knowledge.document import Document, read_html, ticket_text, write_document

# Who asked is nobody's business here. Names in running text stay: no pattern finds them.
# Each has an upper bound: a customer may write a word of a million characters.
_MAIL = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}")
_PHONE = re.compile(r"(?<![\w+])\+\d[\d ()/.-]{6,17}\d(?!\w)")
_CARD = re.compile(r"(?<!\d)\d(?:[ -]?\d){12,18}(?!\d)")
_TAG = re.compile(r"</?[a-zA-Z][^<>]*>")


def write_ticket(
    identity: str, subject: str, question: str, answers: list[str], url: str | None, attributes: Attributes
) -> Document | None:
    """A solved ticket; None for one that nobody answered in writing.

    Its title is its number: a subject may hold a name. Mail addresses, telephone and card numbers are covered.
    """
    asked = [part for part in (_plain(subject), _plain(question)) if part]
    solved = [part for part in map(_plain, answers) if part]
    text = ticket_text("\n\n".join(dict.fromkeys(asked)), "\n\n".join(solved))
    return write_document(identity, f"Ticket {identity}", text, url, attributes=attributes) if text else None


def covered(text: str) -> str:
    """The text with what names a person covered, as far as it has a form."""
    return _PHONE.sub("[phone]", _CARD.sub(_card, _MAIL.sub("[e-mail]", text)))


def _plain(text: str) -> str:
    markdown = read_html("ticket", text).text if _TAG.search(text) else text
    return covered(markdown).strip()


def _card(found: re.Match[str]) -> str:
    """A card number has a sum that works out; an order number mostly has not."""
    digits = [int(character) for character in found[0] if character.isdigit()]
    doubled = [2 * digit - 9 * (digit > 4) if place % 2 else digit for place, digit in enumerate(reversed(digits))]
    return "[card]" if sum(doubled) % 10 == 0 else found[0]
