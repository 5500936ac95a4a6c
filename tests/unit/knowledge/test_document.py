import pytest

from gateway.knowledge.document import Document, read_file, read_html, read_jsonl, read_markdown


def test_markdown_title_is_the_first_heading() -> None:
    assert read_markdown("a/refunds.md", "intro\n\n## How refunds work ##\n\ntext").title == "How refunds work"


def test_a_heading_inside_code_is_no_title() -> None:
    text = "```sh\n# not a title\n```\n\n# Title\n"
    assert read_markdown("x.md", text).title == "Title"


def test_markdown_without_heading_takes_the_file_name() -> None:
    assert read_markdown("a/gift_cards-eu.md", "just text").title == "gift cards eu"


def test_version_changes_with_content_and_not_with_line_ends() -> None:
    one = read_markdown("x.md", "# T\n\nthirty days\n")
    assert one.version == read_markdown("x.md", "# T\r\n\r\nthirty days").version
    assert one.version != read_markdown("x.md", "# T\n\nforty days\n").version


def test_html_becomes_markdown_without_page_furniture() -> None:
    page = (
        b"<html><head><title>Opening hours</title><style>p{color:red}</style></head><body><nav>Home Shop</nav>"
        b"<h1>Hours</h1><p>Mon to <b>Fri</b></p><script>alert('x')</script><ul><li>9-17</li></ul></body></html>"
    )
    document = read_file("hours.html", page)
    assert document.title == "Opening hours"
    assert "# Hours" in document.text
    assert "**Fri**" in document.text
    assert "9-17" in document.text
    for furniture in ("alert", "color", "Home Shop", "Opening hours"):
        assert furniture not in document.text


def test_html_title_falls_back_to_h1_then_to_the_file_name() -> None:
    assert read_html("a.html", "<h1>From <i>h1</i></h1>").title == "From h1"
    assert read_html("plain_page.html", "<p>hello").title == "plain page"


@pytest.mark.parametrize(
    "page",
    [
        b"",
        b"<",
        b"<p",
        b"<<<>>><p>fact",
        b"<![if foo]>fact<![endif]>",
        b"<!DOCTYPE [<!ENTITY x 'y'>]> fact",
        b"<div>" * 5000 + b"fact",
        b"\xff\xfe\x00bad fact",
        b"<title></title><p>fact</p></p></div>",
        b"<a href='" + b"x" * 100_000 + b"'>fact",
    ],
    ids=range(10),
)
def test_bad_html_never_raises_and_keeps_its_words(page: bytes) -> None:
    document = read_file("bad.html", page)
    assert isinstance(document, Document)
    assert "fact" in document.text or b"fact" not in page or b"\x00" in page


def test_a_page_of_megabytes_keeps_its_words_and_is_not_taken_apart() -> None:
    page = b"<title>T</title><p>first" + b"<b>word</b> " * 500_000 + b"<p>last"
    text = read_html("big.html", page).text
    assert "first" in text
    assert text.endswith("last")
    assert "<" not in text


def test_text_with_a_byte_order_mark_or_bad_bytes_is_read() -> None:
    assert read_file("a.txt", b"\xef\xbb\xbfhello").text == "hello"
    assert read_file("a.txt", "hello".encode("utf-16")).text == "hello"
    assert read_file("a.txt", b"caf\xe9 open").text == "caf\ufffd open"


def test_jsonl_reads_all_spellings_of_its_keys() -> None:
    lines = [
        b'{"_id": 7, "text": "seven"}',
        b'{"id": "a", "title": "A", "content": "alpha", "url": "https://x/a", "other": [1]}',
        b"",
        b'{"id": "b", "body": "beta"}',
    ]
    found = list(read_jsonl("f.jsonl", lines))
    assert [(d.id, d.title, d.text, d.url) for d in found if isinstance(d, Document)] == [
        ("7", "7", "seven", None),
        ("a", "A", "alpha", "https://x/a"),
        ("b", "b", "beta", None),
    ]


def test_jsonl_faults_name_file_and_line_and_the_rest_is_read() -> None:
    lines = [b'{"id": 1, "text": "ok"}', b"{broken", b'{"text": "no id"}', b'{"id": 2}', b"[1]", b"\xff", b"[" * 5000]
    found = list(read_jsonl("f.jsonl", lines, first_line=10))
    assert sum(isinstance(each, Document) for each in found) == 1
    faults = [each for each in found if isinstance(each, str)]
    assert [fault.split(": ")[0] for fault in faults] == [f"f.jsonl:{n}" for n in (11, 12, 13, 14, 15, 16)]
    assert "no `id`" in faults[1]
    assert "no `text`" in faults[2]
