import pytest

from gateway.core.document import read_document, validate
from gateway.core.errors import BadConfiguration
from gateway.policy.knowledge_file import KnowledgeFile, OnnxEmbedderEntry, UpstreamEmbedderEntry
from tests.fakes.rulebook import KNOWLEDGE, rulebook


def embedder_of(entry: str) -> UpstreamEmbedderEntry | OnnxEmbedderEntry:
    file = validate(read_document(f"embedders: {{e: {entry}}}", "knowledge.yaml"), KnowledgeFile)
    return file.embedders["e"]


def test_an_embedder_is_at_an_upstream_or_in_a_folder() -> None:
    at_upstream = embedder_of("{upstream: main, model: embed-1}")
    assert at_upstream == UpstreamEmbedderEntry(upstream="main", model="embed-1")
    assert at_upstream == embedder_of("{kind: openai, upstream: main, model: embed-1}")
    in_folder = embedder_of("{kind: onnx, path: models/minilm}")
    assert in_folder == OnnxEmbedderEntry(kind="onnx", path="models/minilm", max_tokens=256, threads=1)


@pytest.mark.parametrize(
    ("entry", "fault"),
    [
        ("{kind: onnx}", "1:13: 'path' is missing."),
        ("{kind: onnx, path: ''}", "1:29: path is ''; string should have at least 1 character."),
        ("{kind: onnx, path: m, max_tokens: 4}", "1:38: max_tokens is 4; input should be greater than or equal to 8."),
        ("{kind: onnx, path: m, threads: 0}", "1:38: threads is 0; input should be greater than or equal to 1."),
        ("{kind: onnx, path: m, upstream: main}", "1:38: 'upstream' is not a key here."),
        ("{upstream: main}", "1:13: 'model' is missing."),
        ("{path: m}", "1:13: 'upstream' is missing."),
        ("{kind: torch, path: m}", "1:13: e: an embedder is `{upstream, model}`, or `{kind: onnx, path}`"),
        ("{kind: [onnx], path: m}", "1:13: e: an embedder is `{upstream, model}`, or `{kind: onnx, path}`"),
        ("minilm", "1:13: e is 'minilm'; an embedder is `{upstream, model}`, or"),
    ],
)
def test_a_faulty_embedder_is_named_with_its_place(entry: str, fault: str) -> None:
    with pytest.raises(BadConfiguration) as bad:
        embedder_of(entry)
    assert any(found.startswith(f"knowledge.yaml:{fault}") for found in bad.value.faults), bad.value.faults


def test_only_an_embedder_at_an_upstream_needs_one() -> None:
    embedders = "{far: {upstream: nowhere, model: m}, near: {kind: onnx, path: m}}"
    with pytest.raises(BadConfiguration) as bad:
        rulebook(knowledge=f"embedders: {embedders}\n{KNOWLEDGE}")
    assert bad.value.faults == ["policies/knowledge.yaml:1:19: upstream 'nowhere' is not in models.yaml."]


def test_a_reranker_that_is_not_there_or_at_no_upstream_is_named_with_its_place() -> None:
    written = "collections: {a: {reranker: blunt}}\nrerankers: {sharp: {upstream: nowhere, model: m}}\n"
    with pytest.raises(BadConfiguration) as bad:
        rulebook(knowledge=written)
    told = [fault.removeprefix("policies/knowledge.yaml:") for fault in bad.value.faults]
    assert "1:19: reranker 'blunt' is not defined under rerankers." in told
    assert "2:21: upstream 'nowhere' is not in models.yaml." in told


def test_what_is_used_is_billed_where_its_entry_says() -> None:
    """An embedder and a reranker may have one name; what is gone may have been any, and is not called free."""
    written = (
        "embedders: {a: {upstream: main, model: embed-1}, b: {kind: onnx, path: m}}\n"
        "rerankers: {a: {upstream: lab, model: rank-1}}\n"
    )
    file = validate(read_document(written, "knowledge.yaml"), KnowledgeFile)
    assert file.billed("a:embed-1") == ("main", "embed-1", False)
    assert file.billed("a:rank-1", is_reranker=True) == ("lab", "rank-1", False)
    assert file.billed("b:0123") == ("", "b:0123", True)
    assert file.billed("gone:x") == ("", "gone:x", False)
