"""Sources of knowledge.yaml: one entry for each kind, and faults with their places."""

import jsonschema
import pytest

from gateway.cli.policy_schema import schemas
from gateway.core.document import read_document, validate
from gateway.core.errors import BadConfiguration
from gateway.knowledge.sources import KINDS as CONNECTORS
from gateway.policy.knowledge_file import KnowledgeFile
from gateway.policy.sources_file import KINDS, seconds_of

ENTRIES = {
    "folder": "{path: handbook}",
    "jsonl": "{kind: jsonl, path: t.jsonl}",
    "git": "{kind: git, url: 'https://git.example.com/a/b.git', branch: main, include: ['docs/*'], token: env:T}",
    "website": "{kind: website, url: 'https://docs.example.com', every: 1h, exclude: ['/old/*'], pages: 9}",
    "zendesk": "{kind: zendesk, url: 'https://x.zendesk.com', locale: de, restricted: [agents]}",
    "zendesk_tickets": "{kind: zendesk_tickets, url: 'https://x.zendesk.com', username: a@b.c, token: env:T}",
    "freshdesk": "{kind: freshdesk, url: 'https://x.freshdesk.com', token: file:/k}",
    "freshdesk_tickets": "{kind: freshdesk_tickets, url: 'https://x.freshdesk.com', token: env:T, since: '2026-01-01'}",
    "confluence": "{kind: confluence, url: 'https://x.atlassian.net', username: a@b.c, token: env:T, spaces: ['7']}",
    "google_docs": "{kind: google_docs, folders: [a1], credentials: env:G}",
    "notion": "{kind: notion, token: env:N, requests_per_second: 2}",
}


def written(entry: str) -> KnowledgeFile:
    return validate(read_document(f"collections: {{c: {{sources: [{entry}]}}}}", "knowledge.yaml"), KnowledgeFile)


@pytest.mark.parametrize("kind", ENTRIES)
def test_each_kind_is_taken_by_the_gateway_and_by_editors(kind: str) -> None:
    (source,) = written(ENTRIES[kind]).collections["c"].sources
    assert source.kind == kind
    validator = jsonschema.Draft202012Validator(schemas()["knowledge"])
    data = read_document(f"collections: {{c: {{sources: [{ENTRIES[kind]}]}}}}", "knowledge.yaml").data
    assert list(validator.iter_errors(data)) == []


def test_there_is_an_entry_for_each_connector() -> None:
    assert ENTRIES.keys() == KINDS.keys() == CONNECTORS.keys()


@pytest.mark.parametrize(
    ("entry", "fault"),
    [
        ("{kind: gopher, path: x}", "1:29: sources: a source has a `kind`, which is one of confluence, folder,"),
        ("{kind: website}", "1:29: 'url' is missing."),
        ("{kind: website, url: 'ftp://x.example.com'}", "1:45: url is 'ftp://x.example.com'; it must be http(s)://"),
        ("{kind: website, url: 'https://x.example.com', path: y}", "1:75: 'path' is not a key here."),
        (
            "{kind: website, url: 'https://x.example.com', every: 5}",
            "1:75: every is 5; input should be a valid string.",
        ),
        (
            "{kind: website, url: 'https://x.example.com', every: soon}",
            "1:75: every is 'soon'; it must be a number with",
        ),
        ("{kind: website, url: 'https://x.example.com', pages: 0}", "1:75: pages is 0; input should be greater"),
        ("{kind: zendesk_tickets, url: 'https://x.zendesk.com'}", "1:29: zendesk: tickets are read with `token`"),
        ("{kind: notion, token: ntn_abc}", "1:44: token: a secret is never written out; it must be env:NAME or"),
        ("{kind: freshdesk, url: 'https://x.freshdesk.com'}", "1:29: 'token' is missing."),
        ("{kind: google_docs, credentials: env:G, folders: []}", "1:69: folders: list should have at least 1 item"),
        ("{kind: confluence, url: 'https://x.atlassian.net', token: env:T}", "1:29: 'username' is missing."),
        ("{kind: git, url: '-oProxyCommand=x'}", "1:41: url is '-oProxyCommand=x'; it must be a folder, https://"),
        ("{kind: git, url: 'ext::sh -c x'}", "1:41: url is 'ext::sh -c x'; it must be a folder, https://"),
        ("{kind: git, url: x, branch: '--upload-pack=x'}", "1:49: branch is '--upload-pack=x'; string should match"),
        (
            "{kind: zendesk, url: 'https://x.zendesk.com', restricted: []}",
            "1:75: restricted: list should have at least",
        ),
    ],
)
def test_a_faulty_source_is_named_with_its_place(entry: str, fault: str) -> None:
    with pytest.raises(BadConfiguration) as bad:
        written(entry)
    assert any(found.startswith(f"knowledge.yaml:{fault}") for found in bad.value.faults), bad.value.faults


@pytest.mark.parametrize(
    "entry",
    [
        "{kind: website, url: 'https://me:hunter2@docs.example.com'}",
        "{kind: git, url: 'https://me:hunter2@git.example.com/a.git'}",
        "{kind: git, url: 'https://hunter2@git.example.com/a.git'}",
        "{kind: git, url: 'ssh://me:hunter2@git.example.com/a.git'}",
        "{kind: notion, token: hunter2}",
        "{kind: google_docs, folders: [a], credentials: hunter2}",
    ],
)
def test_a_secret_that_was_written_out_is_not_repeated(entry: str) -> None:
    with pytest.raises(BadConfiguration) as bad:
        written(entry)
    assert "secret is never written out" in str(bad.value)
    assert "hunter2" not in str(bad.value)


@pytest.mark.parametrize(
    "url",
    ["https://h.example.com/a.git", "ssh://git@h.example.com/a.git", "git@h.example.com:a/b.git", "../docs", "/srv/r"],
)
def test_repositories_are_written_as_git_takes_them(url: str) -> None:
    assert written(f"{{kind: git, url: '{url}'}}").collections["c"].sources[0].kind == "git"


@pytest.mark.parametrize(("text", "seconds"), [("30s", 30), ("5m", 300), ("2h", 7200), ("1d", 86400)])
def test_durations_have_a_unit(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "5", "m", "0m", "-5m", "5 m", "1.5h", "5M", "1w"])
def test_what_has_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="unit"):
        seconds_of(text)
