"""A good edit of the policy is live within a second; a bad one never is, and fails no call."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.offline_server import OfflineServer
from tests.fakes.running_gateway import A_SECOND, RunningGateway, running_gateway, until

ASKED = {"model": "auto", "messages": [{"role": "user", "content": "Hello there"}]}
BAD = (
    b"",
    b"rules: [",
    b"rules: []\n",
    b"rules:\n  - name: x\n    use: {path: sideways}\n",
    b"rules:\n  - name: x\n    use: {path: direct, model: gpt-4.1-mini}\n    refuse: both\n",
    b"rules:\n  - name: x\n    use: {path: rag, collections: [no-such-collection], model: gpt-4.1-mini}\n",
    b"rules: !!python/object/apply:os.system ['touch /tmp/owned']\n",
    b"a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b]\nrules: [*c,*c]\n",
    b"\xff\xfe\x00",
    b"rules: [{name: a, use: {path: direct}}]\ntests: [{name: t, call: {team: a}, expect: {path: rag}}]\n",
)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, upstream: OfflineServer) -> Iterator[RunningGateway]:
    """A gateway whose policy is this story's to edit."""
    with running_gateway(tmp_path_factory.mktemp("reload"), upstream.base_url) as running:
        yield running


@pytest.fixture
def routing(gateway: RunningGateway) -> Iterator[Path]:
    """routing.yaml, put back afterwards."""
    path = gateway.policies / "routing.yaml"
    text = path.read_bytes()
    yield path
    path.write_bytes(text)
    until(lambda: rule_of(gateway) == "auto-is-a-small-model", 3.0)


def rule_of(gateway: RunningGateway) -> str:
    reply = gateway.post("/v1/chat/completions", ASKED)
    assert reply.status_code == 200, reply.text
    rule: str = reply.headers["x-gateway-rule"]
    return rule


def test_a_saved_policy_decides_within_a_second(gateway: RunningGateway, routing: Path) -> None:
    assert rule_of(gateway) == "auto-is-a-small-model"
    routing.write_text(routing.read_text().replace("name: auto-is-a-small-model", "name: renamed"))
    until(lambda: rule_of(gateway) == "renamed", A_SECOND, what="the new rule")
    assert gateway.counted("gateway_policy_info") == 1
    assert gateway.counted("gateway_policy_reloads_total", result="ok") >= 2


def test_a_bad_policy_never_goes_live_and_fails_no_call(gateway: RunningGateway, routing: Path) -> None:
    """Under light traffic all the while."""
    good = routing.read_bytes()
    outcomes: list[tuple[int, str]] = []
    is_over = threading.Event()

    def traffic() -> None:
        while not is_over.is_set():
            reply = gateway.post("/v1/chat/completions", ASKED)
            outcomes.append((reply.status_code, reply.headers.get("x-gateway-rule", "")))

    caller = threading.Thread(target=traffic)
    caller.start()
    try:
        for bad in BAD:
            rejected = gateway.counted("gateway_policy_reloads_total", result="rejected")
            routing.write_bytes(bad)
            until(
                lambda before=rejected: gateway.counted("gateway_policy_reloads_total", result="rejected") > before,  # type: ignore[misc]
                2.0,
                what=f"the refusal of {bad[:60]!r}",
            )
        routing.unlink()
        rejected = gateway.counted("gateway_policy_reloads_total", result="rejected")
        until(lambda: gateway.counted("gateway_policy_reloads_total", result="rejected") >= rejected, 2.0)
        routing.write_bytes(good)
    finally:
        is_over.set()
        caller.join(timeout=20)
    assert len(outcomes) > 20
    assert set(outcomes) == {(200, "auto-is-a-small-model")}
    assert not Path("/tmp/owned").exists()


def test_the_log_names_the_line_that_is_wrong(gateway: RunningGateway, routing: Path) -> None:
    routing.write_text("rules:\n  - name: x\n    use: {path: sideways}\n")
    until(lambda: "routing.yaml:3:" in gateway.log(), 2.0, what="the fault's place")
    assert "policy_rejected" in gateway.log()


def test_a_models_file_goes_live_like_the_rules(gateway: RunningGateway) -> None:
    models = gateway.policies / "models.yaml"
    text = models.read_text()
    try:
        models.write_text(
            text.replace("house-model: {upstream: main, id: gpt-4.1-mini}", "brand-new: {upstream: main}")
        )

        def names() -> set[str]:
            return {model.id for model in gateway.client().models.list()}

        until(lambda: "brand-new" in names(), A_SECOND, what="the new model")
        assert "house-model" not in names()
    finally:
        models.write_text(text)


def test_a_team_in_a_file_exists_within_a_second(gateway: RunningGateway) -> None:
    teams = gateway.policies / "teams.yaml"
    teams.write_text("teams:\n  from-a-file: {title: From a file, monthly_budget_usd: 12.5}\n")
    found = until(
        lambda: [team for team in gateway.admin("GET", "/admin/teams") if team["name"] == "from-a-file"],
        A_SECOND,
        what="the team",
    )
    assert found[0]["monthly_budget_nano_usd"] == 12_500_000_000
