import random

import pytest

from gateway.knowledge.chunks import CHUNK_BYTES, cut, estimate_tokens
from gateway.knowledge.document import read_markdown, write_document

WORDS = "Refunds are paid back to the card that was used within five working days. "


def test_a_short_document_is_one_chunk_under_its_title() -> None:
    (chunk,) = cut(read_markdown("a.md", "# Returns\n\nThirty days."))
    assert (chunk.path, chunk.text) == ("Returns", "Thirty days.")


def test_chunks_keep_to_their_size_and_lose_nothing() -> None:
    text = "# T\n\n" + "\n\n".join(WORDS * 3 for _ in range(20))
    chunks = cut(read_markdown("a.md", text))
    assert all(len(chunk.text.encode()) <= CHUNK_BYTES[1] for chunk in chunks)
    assert " ".join(" ".join(chunk.text for chunk in chunks).split()) == " ".join(text[4:].split())
    assert [chunk.ordinal for chunk in chunks] == list(range(len(chunks)))


def test_the_path_names_the_headings_above_and_not_those_beside() -> None:
    text = f"# Bank\n\n## Cards\n\n{WORDS * 9}\n\n### Fees\n\n{WORDS * 9}\n\n{WORDS * 9}\n\n## Loans\n\n{WORDS * 20}"
    paths = [chunk.path for chunk in cut(read_markdown("a.md", text))]
    assert "Bank > Cards > Fees" in paths
    assert paths[-1] == "Bank > Loans"
    assert not any("Cards" in path and "Loans" in path for path in paths)


def test_other_scripts_get_chunks_of_like_size() -> None:
    chunks = cut(write_document("j", "払い戻し", "返金は五営業日以内に行われます。" * 200))
    assert all(chunk.tokens <= 300 for chunk in chunks)


def test_a_one_line_edit_changes_one_or_two_hashes() -> None:
    paragraphs = [f"Paragraph {n}. {WORDS * 5}" for n in range(20)]
    before = {chunk.hash for chunk in cut(write_document("a", "T", "\n\n".join(paragraphs)))}
    paragraphs[7] = paragraphs[7].replace("five", "six", 1)
    after = {chunk.hash for chunk in cut(write_document("a", "T", "\n\n".join(paragraphs)))}
    assert 1 <= len(after - before) <= 2


def sentence(chance: random.Random) -> str:
    words = "refund card day limit order parcel member policy travel office secure device salary team project".split()  # noqa: SIM905
    return " ".join(chance.choice(words) for _ in range(chance.randint(5, 16))).capitalize() + "."


def parts_of(kind: str, chance: random.Random) -> tuple[list[str], str]:
    """A synthetic document of 40 to 130 chunks in parts, and what stands between them."""
    if kind == "line":
        return [sentence(chance) for _ in range(600)], " "
    if kind == "list":
        return [f"- {sentence(chance)}" for _ in range(500)], "\n"
    parts = [" ".join(sentence(chance) for _ in range(chance.randint(2, 6))) for _ in range(160)]
    if kind == "headings":
        for place in range(160, 0, -chance.randint(2, 5)):
            parts.insert(place - 1, f"## {sentence(chance)[:30]}")
    return parts, "\n\n"


@pytest.mark.parametrize("kind", ["paragraphs", "headings", "list", "line"])
def test_an_edit_changes_few_chunks_wherever_it_is(kind: str) -> None:
    changed = []
    sizes = []
    for seed in range(60):
        chance = random.Random(f"{kind} {seed}")
        parts, between = parts_of(kind, chance)
        before = cut(write_document("a", "T", between.join(parts)))
        edited = chance.choice([n for n, part in enumerate(parts) if not part.startswith("## ")])
        parts[edited] += f" {sentence(chance)}"
        after = cut(write_document("a", "T", between.join(parts)))
        changed.append(len({chunk.hash for chunk in after} - {chunk.hash for chunk in before}))
        sizes += [len(chunk.text) for chunk in before]
    assert min(changed) >= 1
    assert sorted(changed)[int(60 * 0.7)] <= 2
    assert sorted(changed)[int(60 * 0.85)] <= 3
    assert max(changed) <= 6
    assert max(sizes) <= CHUNK_BYTES[1]
    assert sum(sizes) / len(sizes) > 700
    assert sum(size < 400 for size in sizes) < len(sizes) / 50


def test_a_heading_stays_with_what_it_heads() -> None:
    chance = random.Random(1)
    parts, between = parts_of("headings", chance)
    chunks = cut(write_document("a", "T", between.join(parts)))
    assert not [chunk for chunk in chunks if chunk.text.splitlines()[-1].startswith("## ")]


def test_a_long_text_without_structure_is_cut_in_time() -> None:
    """Cut as one piece this took the splitter seconds, and the event loop with it."""
    chunks = cut(write_document("a", "T", "a" * 400_000))
    assert len(cut(write_document("a", "T", "word and other things " * 100_000))) < 5_000
    assert sum(len(chunk.text) for chunk in chunks) == 400_000
    assert all(len(chunk.text) <= CHUNK_BYTES[1] for chunk in chunks)


def test_a_long_document_loses_nothing_and_keeps_its_headings() -> None:
    text = "\n\n".join(f"## Part {n}\n\n{WORDS * 40}" for n in range(30))
    chunks = cut(write_document("a", "T", text))
    assert " ".join(" ".join(chunk.text for chunk in chunks).split()) == " ".join(text.split())
    assert {f"T > Part {n}" for n in range(30)} <= {chunk.path for chunk in chunks}


def test_a_document_without_text_is_found_by_its_title() -> None:
    (chunk,) = cut(write_document("a", "Empty page", ""))
    assert (chunk.path, chunk.text) == ("Empty page", "")


def test_tokens_are_bytes_over_four_rounded_up() -> None:
    assert [estimate_tokens(text) for text in ("", "a", "abcd", "abcde", "日本")] == [0, 1, 1, 2, 2]
    assert estimate_tokens("\ud800") == 1
