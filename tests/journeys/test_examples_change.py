"""A line's training file is what its calls are compared with; a new one counts from the next second on."""

import json
from pathlib import Path

import pytest

from tests.fakes.offline_server import OfflineServer
from tests.fakes.running_gateway import running_gateway, until

ASKED = "Rhyme this for me: the sea is wide"


def trained(*questions: str) -> str:
    answers = [{"role": "assistant", "content": "A rhyme."}]
    return "\n".join(json.dumps({"messages": [{"role": "user", "content": text}, *answers]}) for text in questions)


def test_an_edited_training_file_changes_what_a_line_is_for(
    tmp_path_factory: pytest.TempPathFactory, upstream: OfflineServer
) -> None:
    folder = tmp_path_factory.mktemp("examples")
    with running_gateway(folder, upstream.base_url) as gateway:
        path: Path = gateway.policies / "rhymes.jsonl"
        path.write_text(trained(*(f"Convert {number} miles to metres" for number in range(12))))
        models = (gateway.policies / "models.yaml").read_text()
        (gateway.policies / "models.yaml").write_text(
            models + "\n  rhymes:\n    versions: [{id: 'ft:gpt-4o-mini-2024-07-18:acme:rhymes:1', upstream: main, "
            "base: gpt-4o-mini-2024-07-18, training_file: rhymes.jsonl}]\n"
        )
        routing = gateway.policies / "routing.yaml"
        text = routing.read_text()
        rule = "rules:\n  - {name: rhymes, when: {task: {line: rhymes}}, use: {path: fine_tuned, line: rhymes}}\n"
        routing.write_text(text.replace("rules:\n", rule, 1))

        def decided() -> str:
            raw = gateway.client().chat.completions.with_raw_response.create(
                model="auto", messages=[{"role": "user", "content": ASKED}]
            )
            return str(raw.headers["x-gateway-rule"])

        assert decided() != "rhymes"
        path.write_text(trained(*(f"Rhyme this for me: the {what} is wide" for what in ["sea", "sky", "road", "bay"])))
        assert until(lambda: decided() == "rhymes" or None, 5, what="the new examples")
