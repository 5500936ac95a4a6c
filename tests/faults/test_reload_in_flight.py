"""A call that has begun keeps the policy, and the upstreams, that it began with."""

import threading

import httpx2
import pytest

from tests.fakes.offline_server import OfflineServer
from tests.fakes.running_gateway import running_gateway, until

SPARE = "upstreams:\n  spare: {base_url: env:UPSTREAM_URL, api_key: env:UPSTREAM_KEY}\n"
SPARE_MODEL = "models:\n  spare-model: {upstream: spare}\n"
FIRST = (
    "rules:\n  - {name: slow, when: {model: auto, metadata: {task: slow}}, "
    "use: {path: direct, model: shaky-model, fallback: [{path: direct, model: spare-model}]}}\n"
)
BODY = {"model": "auto", "messages": [{"role": "user", "content": "Hello"}]}


def test_an_upstream_that_a_reload_takes_away_still_answers_who_was_promised_it(
    tmp_path_factory: pytest.TempPathFactory, running_upstream: OfflineServer
) -> None:
    """The first arm hangs and fails while the file that names the fallback's upstream is replaced."""
    environment = {"SCRIPTED_URL": running_upstream.base_url, "CLOSED_URL": running_upstream.base_url}
    folder = tmp_path_factory.mktemp("in-flight")
    with running_gateway(folder, running_upstream.base_url, environment=environment) as gateway:
        models, routing = gateway.policies / "models.yaml", gateway.policies / "routing.yaml"
        before, rules = models.read_text(), routing.read_text()
        models.write_text(before.replace("upstreams:\n", SPARE, 1).replace("models:\n", SPARE_MODEL, 1))
        routing.write_text(rules.replace("rules:\n", FIRST, 1))
        body = BODY | {"metadata": {"task": "slow"}}
        until(
            lambda: gateway.post("/v1/chat/completions", body).headers.get("x-gateway-rule") == "slow" or None,
            5,
            what="the policy with a spare upstream",
        )
        running_upstream.lay(status=500, delay_ms=1500, model="shaky-model", times=2)
        replies: list[httpx2.Response] = []
        asking = threading.Thread(target=lambda: replies.append(gateway.post("/v1/chat/completions", body)))
        asking.start()
        until(lambda: not running_upstream.faults() or None, 5, what="the first arm's request")
        routing.write_text(rules)
        models.write_text(before)
        asking.join(20)
        assert [reply.status_code for reply in replies] == [200]
        assert replies[0].headers["x-gateway-model"] == "spare-model"
