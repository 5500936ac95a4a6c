"""Rows of training files, as a test needs them."""

import json
from collections.abc import Iterator
from typing import Any

from gateway.tuning.datasets.lint import Report, lint
from gateway.tuning.datasets.targets import target_of

Json = dict[str, Any]
PNG = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC"
)
# The same header with colour type 0: grey.
GREY_PNG = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
)


def said(role: str, content: Any = None, **more: Any) -> Json:
    message: Json = {"role": role, "content": content}
    return message | more


def chat(
    question: str = "How do I reset my password?", answer: str = "Open the menu and press reset.", **more: Any
) -> Json:
    return {"messages": [said("user", question), said("assistant", answer)]} | more


def talk(*messages: Json, **more: Any) -> Json:
    return {"messages": list(messages)} | more


def pair(chosen: str = "With pleasure, here it is.", rejected: str = "No, go away now.", **more: Any) -> Json:
    return {
        "input": {"messages": [said("user", "Please help me with the form.")]},
        "preferred_output": [said("assistant", chosen)],
        "non_preferred_output": [said("assistant", rejected)],
    } | more


def shown(*urls: str, role: str = "user", **more: Any) -> Json:
    """A row with images."""
    parts = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    return talk(said(role, [{"type": "text", "text": "What is this?"}, *parts]), said("assistant", "A dot.", **more))


def tool(name: str = "look_up", parameters: Json | None = None) -> Json:
    schema = {"type": "object", "properties": {"id": {"type": "integer"}}, "required": ["id"]}
    return {"type": "function", "function": {"name": name, "parameters": schema if parameters is None else parameters}}


def call(arguments: Any = '{"id": 1}', identity: str | None = "call_1", name: str = "look_up") -> Json:
    made: Json = {"type": "function", "function": {"name": name, "arguments": arguments}}
    return made if identity is None else {"id": identity} | made


def calling(*calls: Json, tools: list[Json] | None = None, **more: Any) -> Json:
    """A conversation in which the assistant calls, hears, and answers."""
    results = [said("tool", "Found.", tool_call_id=one["id"]) for one in calls if one.get("id")]
    asks = {"role": "assistant", "tool_calls": list(calls)}
    row = talk(said("user", "Find it."), asks, *results, said("assistant", "Here it is."))
    return row | ({"tools": [tool()] if tools is None else tools}) | more


WORDS = ("river", "stone", "lamp", "garden", "window", "bridge", "paper", "copper", "willow", "harbour", "engine")


def distinct(count: int, answer: str = "") -> list[Json]:
    """Rows that have nothing in common but their form."""
    rows = []
    for number in range(count):
        picked = " ".join(WORDS[(number * step + step) % len(WORDS)] + str(number * step) for step in (1, 2, 4, 7))
        rows.append(chat(f"Tell me about {picked}, please.", answer or f"It concerns {picked[::-1]}."))
    return rows


def lines(*rows: Any) -> Iterator[bytes]:
    """The lines of a file of these rows; bytes may be several."""
    for row in rows:
        yield from line(row).splitlines(keepends=True)


def line(row: Any) -> bytes:
    """One row as it stands in a file; bytes stay as they are."""
    return row if isinstance(row, bytes) else json.dumps(row).encode() + b"\n"


def linted(
    *rows: Any,
    target: str = "openai",
    base: str = "gpt-4o-mini",
    method: Any = "supervised",
    validation: list[Any] | None = None,
    limit: int | None = None,
) -> Report:
    """The report on a file of these rows."""
    return lint(
        lines(*rows),
        name="train.jsonl",
        target=target_of(target, base),
        method=method,
        validation=None if validation is None else lines(*validation),
        limit=limit,
    )
