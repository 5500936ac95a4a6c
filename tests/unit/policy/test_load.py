from pathlib import Path

import pytest

from gateway.core.errors import BadConfiguration
from gateway.policy.explain import run_tests
from gateway.policy.load import Texts, load, read_texts
from tests.fakes.calls import NOON
from tests.fakes.rulebook import DIRECT, KNOWLEDGE, MODELS, SAMPLES, rulebook, sample

UPSTREAM = "upstreams: {a: {base_url: 'http://h'}}\n"
VERSIONS = "[{id: x, upstream: a, base: b}]"


def faults_of(routing: str = DIRECT, models: str = MODELS, knowledge: str = KNOWLEDGE, **more: str) -> list[str]:
    with pytest.raises(BadConfiguration) as caught:
        rulebook(routing, models, knowledge, **more)
    return caught.value.faults


@pytest.mark.parametrize("folder", SAMPLES, ids=lambda folder: folder.parent.name)
def test_what_we_ship_is_good_and_passes_its_own_tests(folder: Path) -> None:
    assert run_tests(load(sample(folder)).policy, NOON) == []


def test_faults_of_all_files_come_at_once() -> None:
    faults = faults_of(
        "rules: [{name: r, use: {path: direct}, wenn: {}}]",
        "upstreams: {main: {base_url: ftp://x}}",
        "collections: {a: {team: [x]}}",
        teams="teams: {a: {monthly_budget_usd: -1}}",
    )
    assert [fault.partition(":")[0] for fault in faults] == [
        "policies/models.yaml",
        "policies/knowledge.yaml",
        "policies/teams.yaml",
        "policies/routing.yaml",
    ]


@pytest.mark.parametrize(
    ("routing", "fault"),
    [
        ("rules: []", "policies/routing.yaml:1:1: rules: list should have at least 1 item"),
        ("rules: [{name: r, when: {team: a}, use: {path: direct}}]", "policies/routing.yaml:1:9: the last rule, 'r'"),
        (
            "rules: [{name: r, use: {path: direct}}, {name: s, use: {path: direct}}]",
            "policies/routing.yaml:1:9: rule 'r' holds for every call",
        ),
        (
            "rules: [{name: r, when: {team: a}, refuse: x}, {name: r, use: {path: direct}}]",
            "policies/routing.yaml:1:49: rule 'r' stands twice",
        ),
        ("rules: [{name: r}]", "policies/routing.yaml:1:9: rules: a rule has either use or refuse"),
        ("rules: [{name: r, use: {path: rag}}]", "policies/routing.yaml:1:19: use: path rag names its collections"),
        ("rules: [{name: r, use: {path: direct, line: tone}}]", "line belongs to path fine_tuned"),
        ("rules: [{name: r, use: {path: fine_tuned, line: tune}}]", "'tune' is no line, or no version of one"),
        ("rules: [{name: r, use: {path: rag, collections: [x]}}]", "collection 'x' is not in knowledge.yaml"),
        ("rules: [{name: r, use: {path: direct, targets: [{}]}}]", "a target names either a model or a line"),
        ("rules: [{name: r, use: {path: direct, targets: [{model: a, weight: 0}]}}]", "weight is 0"),
        (
            "rules: [{name: r, when: {team: }, refuse: x}, {name: s, use: {path: direct}}]",
            "policies/routing.yaml:1:26: team",
        ),
        ("rules: [{name: r, when: {knowledge: }, refuse: x}, {name: s, use: {path: direct}}]", ":1:26: knowledge"),
        ("rules: [{name: r, when: {team: []}, refuse: x}, {name: s, use: {path: direct}}]", ":1:26: team"),
        ("rules: [{name: a b, use: {path: direct}}]", "policies/routing.yaml:1:10: name is 'a b'"),
    ],
)
def test_each_fault_of_a_rule_is_named_at_its_place(routing: str, fault: str) -> None:
    assert any(fault in told for told in faults_of(routing)), faults_of(routing)


@pytest.mark.parametrize(
    ("models", "fault"),
    [
        ("upstreams: {}", "policies/models.yaml:1:1: upstreams"),
        ("upstreams: {a: {base_url: 'http://h:99999'}}", "policies/models.yaml:1:17: base_url is"),
        ("upstreams: {a: {base_url: 'http://h:x'}}", "policies/models.yaml:1:17: base_url is"),
        ("upstreams: {a: {base_url: 'http://[::1'}}", "policies/models.yaml:1:17: base_url is"),
        ("upstreams: {a: {base_url: 'http://h/ü'}}", "policies/models.yaml:1:17: base_url is"),
        ("upstreams: {a: {base_url: 'http://h', api_key: sk-secret}}", "a secret is never written out"),
        ("upstreams: {a: {base_url: 'http://h'}}\nmodels: {m: {upstream: b}}", ":2:14: upstream 'b' is not defined"),
        ("upstreams: {a: {base_url: 'http://h', attempts: 9}}", "attempts is 9"),
        ("upstreams: {a: {base_url: 'http://h', timeouts: {total: 0}}}", "total is 0"),
        (
            f"{UPSTREAM}lines: {{l: {{versions: {VERSIONS}, champion: 2}}}}",
            "policies/models.yaml:2:9: l: champion is 2, but there are 1 versions",
        ),
        (
            f"{UPSTREAM}lines: {{l: {{versions: {VERSIONS}, successor: {{path: fine_tuned, line: other}}}}}}",
            "'other' is no line, or no version of one",
        ),
    ],
)
def test_each_fault_of_the_models_is_named_at_its_place(models: str, fault: str) -> None:
    assert any(fault in told for told in faults_of(models=models)), faults_of(models=models)


def test_a_written_out_secret_is_not_repeated_by_its_fault() -> None:
    """A log of the check must not become the place where the key leaks."""
    (fault,) = [
        fault
        for fault in faults_of(models="upstreams: {a: {base_url: 'http://h', api_key: sk-live-0123456789}}")
        if "secret" in fault
    ]
    assert "sk-live" not in fault


def test_knowledge_names_only_what_exists() -> None:
    (fault,) = faults_of(knowledge="collections: {help-centre: {embedder: small}}")
    assert fault == "policies/knowledge.yaml:1:29: embedder 'small' is not defined under embedders."


def test_a_missing_folder_and_a_missing_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(BadConfiguration, match="no such folder"):
        read_texts(tmp_path / "nowhere")
    (tmp_path / "models.yaml").write_text("")
    with pytest.raises(BadConfiguration, match=r"routing\.yaml: this file is missing"):
        read_texts(tmp_path)
    (tmp_path / "routing.yaml").mkdir()
    with pytest.raises(BadConfiguration, match=r"routing\.yaml: Is a directory"):
        read_texts(tmp_path)


def test_the_hash_names_the_bytes_and_not_the_place() -> None:
    one = Texts("/a", {"models.yaml": b"x", "routing.yaml": b"y"})
    assert one.hash == Texts("/b", {"routing.yaml": b"y", "models.yaml": b"x"}).hash
    assert one.hash != Texts("/a", {"models.yaml": b"xy", "routing.yaml": b""}).hash
    assert one.hash != Texts("/a", {"models.yaml": b"x"}).hash
