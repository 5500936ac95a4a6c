"""A Freshdesk export: tickets with their conversations, as its API gives them or as its account export wraps them."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from gateway.tuning.datasets.exchanges import Exchange, Said, conversation
from gateway.tuning.datasets.exports.export_text import first, name, objects, plain
from gateway.tuning.datasets.rows import is_object

# Freshdesk's API, "Ticket properties": 2 open, 3 pending, 4 resolved, 5 closed.
RESOLVED = frozenset({4, 5})


def read_freshdesk(path: Path) -> Iterator[Exchange]:
    """An exchange a ticket. What comes in is asked, what goes out and is not private is answered."""
    for _, entry in objects(path, "tickets"):
        wrapped = entry.get("helpdesk_ticket")
        ticket = wrapped if is_object(wrapped) else entry
        identity = name(first(ticket, "id", "display_id"))
        subject, text = plain(ticket.get("subject")), _words(ticket, "description_text", "description")
        opening = text if not subject or subject in text else f"{subject}\n\n{text}".strip()
        messages, answer = conversation([Said("user", opening), *_said(ticket)])
        status = ticket.get("status")
        yield Exchange(
            identity,
            f"ticket:{identity}",
            messages,
            answer,
            name(ticket.get("created_at")),
            status in RESOLVED if isinstance(status, int) else None,
        )


def _words(holder: Mapping[str, object], text: str, markup: str) -> str:
    written = holder.get(text)
    return written.strip() if isinstance(written, str) and written.strip() else plain(holder.get(markup))


def _said(ticket: Mapping[str, object]) -> Iterator[Said]:
    notes = first(ticket, "conversations", "notes")
    for entry in notes if isinstance(notes, list) else ():
        wrapped = entry.get("helpdesk_note") if is_object(entry) else None
        note = wrapped if is_object(wrapped) else entry
        # A private note is for colleagues; one that does not say is not taken for public.
        if is_object(note) and note.get("private") is False:
            role = "user" if note.get("incoming") is True else "assistant"
            yield Said("user" if role == "user" else "assistant", _words(note, "body_text", "body"))
