"""PDF and DOCX are read by a process of their own, and the worst a file can do is to end that."""

import os
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from gateway.core.errors import UnreadableDocument, UnsupportedDocument
from gateway.knowledge.document import read_file
from gateway.knowledge.packed import unpack
from tests.fakes.files import docx, paragraph, pdf, table


def test_a_pdf_has_a_heading_for_each_page() -> None:
    document = read_file("manual.pdf", pdf("Refunds take 30 days", "Returns are free", title="The manual"))
    assert document.title == "The manual"
    assert document.text == "## Page 1\n\nRefunds take 30 days\n\n## Page 2\n\nReturns are free"


def test_a_pdf_without_a_title_takes_its_name() -> None:
    assert read_file("the_manual.pdf", pdf("words")).title == "the manual"


def test_a_docx_keeps_headings_and_tables() -> None:
    data = docx(
        paragraph("Refunds", "Heading1"),
        paragraph("Within thirty days."),
        paragraph("Prices", "Heading2"),
        table(("Plan", "Price"), ("Pro", "20")),
    )
    document = read_file("policy.docx", data)
    assert document.title == "Refunds"
    assert document.text.startswith("# Refunds\n\nWithin thirty days.\n\n## Prices")
    assert "| Plan | Price |\n| --- | --- |\n| Pro | 20 |" in document.text


def test_the_type_says_what_the_name_does_not() -> None:
    assert "words" in read_file("upload-7", pdf("words"), mime="application/pdf").text
    kind = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
    assert "words" in read_file("upload-8", docx(paragraph("words")), mime=kind).text


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.pdf", b"", "no sound PDF"),
        ("a.pdf", b"%PDF-1.4 nothing", "no sound PDF"),
        ("a.pdf", pdf("x")[:200], "PDF"),
        ("a.pdf", pdf(""), "holds no text"),
        ("a.docx", b"PK nothing", "no sound DOCX"),
        ("a.docx", docx()[:300], "no sound DOCX"),
        ("a.docx", docx(), "holds no text"),
        ("a.docx", docx("<w:p"), "cannot be read"),
    ],
)
def test_what_is_not_what_its_name_says_is_told(name: str, data: bytes, words: str) -> None:
    with pytest.raises(UnreadableDocument, match=words) as fault:
        read_file(name, data)
    assert fault.value.code == "invalid_file"


def test_a_bomb_is_refused_before_it_is_unpacked() -> None:
    data = docx(paragraph("x"), **{"media.bin": b"\0" * 300_000_000})
    assert len(data) < 1_000_000
    with pytest.raises(UnreadableDocument, match="unpacks to more than"):
        read_file("bomb.docx", data)


def test_a_file_that_takes_too_long_is_given_up() -> None:
    with pytest.raises(UnreadableDocument, match="was not read after"):
        unpack("pdf", pdf("words"), seconds=0.001)


def test_a_pdf_that_wants_all_memory_takes_only_its_own_process() -> None:
    """A page of a few hundred bytes whose stream says it unpacks to gigabytes."""
    data = pdf("", packed=zlib.compress(zlib.compress(b"0 " * 300_000_000)))
    assert len(data) < 100_000
    with pytest.raises(UnreadableDocument):
        read_file("bomb.pdf", data)


def test_a_server_does_not_import_what_reads_them() -> None:
    """It would cost each start a third of a second, and hold memory for nothing; so would what signs for Google."""
    heavy = ("pypdf", "mammoth", "joserfc")
    code = f"import sys, gateway.knowledge.library; print([n for n in {heavy} if n in sys.modules])"
    root = Path(__file__).resolve().parents[3]
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        check=True,
    )
    assert done.stdout.strip() == b"[]", done.stderr


class TestKinds:
    @pytest.mark.parametrize("name", ["a.png", "a.zip", "a.exe", "a.doc", "a.xlsx", "noname", "a.unknown"])
    def test_binaries_are_not_read_as_text(self, name: str) -> None:
        with pytest.raises(UnsupportedDocument) as fault:
            read_file(name, b"\x89PNG\r\n\x1a\n")
        assert fault.value.code == "unsupported_file"

    @pytest.mark.parametrize("name", ["a.py", "b.json", "c.yaml", "d.SQL", "e.toml", "f.xml", "g.log"])
    def test_code_and_data_are_read_as_they_stand(self, name: str) -> None:
        assert read_file(name, b"\xef\xbb\xbfkey: [1]\n").text == "key: [1]"

    @pytest.mark.parametrize("data", [b"caf\xe9", b"a\0b"])
    def test_code_that_is_no_text_is_refused(self, data: bytes) -> None:
        with pytest.raises(UnreadableDocument):
            read_file("a.py", data)

    def test_a_text_with_zero_bytes_is_none(self) -> None:
        with pytest.raises(UnreadableDocument, match="zero bytes"):
            read_file("a.txt", b"\0\0\1\2")

    def test_a_type_of_text_is_enough_for_a_name_that_says_nothing(self) -> None:
        assert read_file("upload-9", b"words", mime="text/plain; charset=utf-8").text == "words"
        assert read_file("upload-9", b"# T", mime="text/markdown").title == "T"

    def test_the_name_is_not_the_id(self) -> None:
        document = read_file("file-123", b"# Refunds\n", name="refunds.md")
        assert (document.id, document.title) == ("file-123", "Refunds")


class TestTables:
    def test_each_row_says_what_its_values_are(self) -> None:
        document = read_file("prices.csv", b'Plan,Price,Note\nPro,20,"a, b"\nFree,,\n\n')
        assert document.text == "Plan: Pro; Price: 20; Note: a, b\n\nPlan: Free"

    def test_semicolons_tabs_and_rows_of_another_length(self) -> None:
        assert read_file("a.csv", b"a;b\n1;2\n3;4\n").text == "a: 1; b: 2\n\na: 3; b: 4"
        assert read_file("a.tsv", b"a\tb\n1\t2\t3\n").text == "a: 1; b: 2; column 3: 3"

    def test_a_table_without_rows_is_its_head(self) -> None:
        assert read_file("a.csv", b"plan,price\n").text == "plan, price"
        assert read_file("a.csv", b"").text == ""

    def test_a_field_without_end_is_a_fault(self) -> None:
        with pytest.raises(UnreadableDocument, match="table"):
            read_file("a.csv", b'a,b\n"' + b"x" * 200_000)
