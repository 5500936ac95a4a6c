"""A Zendesk export: tickets with their comments, as JSON (`tickets`) or a ticket a line."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from gateway.tuning.datasets.exchanges import Exchange, Said, conversation
from gateway.tuning.datasets.exports.export_text import first, name, objects, plain
from gateway.tuning.datasets.rows import is_object

RESOLVED = frozenset({"solved", "closed"})


def read_zendesk(path: Path) -> Iterator[Exchange]:
    """An exchange a ticket. What the requester writes is asked, what others write publicly is answered."""
    for _, ticket in objects(path, "tickets"):
        identity = name(ticket.get("id"))
        requester = _person(ticket, "requester")
        said = [_said(comment, requester) for comment in _public(ticket)]
        description = plain(ticket.get("description"))
        if description and not any(one.text == description for one in said):
            said.insert(0, Said("user", description))
        if said and said[0].role == "user":
            subject = plain(ticket.get("subject"))
            opening = said[0].text if not subject or subject in said[0].text else f"{subject}\n\n{said[0].text}"
            said[0] = Said("user", opening)
        messages, answer = conversation(said)
        status = ticket.get("status")
        yield Exchange(
            identity,
            f"ticket:{identity}",
            messages,
            answer,
            name(ticket.get("created_at")),
            status in RESOLVED if isinstance(status, str) else None,
        )


def _public(ticket: Mapping[str, object]) -> list[Mapping[str, object]]:
    comments = ticket.get("comments")
    return [
        comment
        for comment in (comments if isinstance(comments, list) else ())
        # Notes among colleagues are no answers; a comment that does not say is not taken for public.
        if is_object(comment) and comment.get("public") is True
    ]


def _said(comment: Mapping[str, object], requester: str) -> Said:
    written = first(comment, "plain_body", "body")
    text = written.strip() if isinstance(written, str) else plain(comment.get("html_body"))
    is_requester = bool(requester) and _person(comment, "author") == requester
    return Said("user" if is_requester else "assistant", text)


def _person(holder: Mapping[str, object], who: str) -> str:
    given = holder.get(who)
    return name(holder.get(f"{who}_id")) or (name(given.get("id")) if is_object(given) else "")
