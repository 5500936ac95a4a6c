"""Policy folders for a run."""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.bodies import PLAIN_MODEL, STREAM_MODEL
from bench.place import ROOT

BIG_BUDGET_USD = 1_000_000


def rules(count: int) -> list[dict[str, object]]:
    """`count` rules that look only at the call, none of which holds but the last.

    Eight kinds in turn, as people write them: team, model, header, metadata, key, prompt length, tools with
    endpoint, and a pattern over the text.
    """
    made: list[dict[str, object]] = []
    for number in range(count - 1):
        made.append(
            {
                "name": f"rule-{number}",
                "when": _conditions(number),
                "use": {"path": "direct", "model": PLAIN_MODEL},
            }
        )
    made.append({"name": "everything-else", "use": {"path": "direct"}})
    return made


def _conditions(number: int) -> dict[str, object]:
    kinds: Sequence[dict[str, object]] = (
        {"team": [f"other-{number}", f"more-{number}"]},
        {"model": [f"model-{number}"]},
        {"header": {"x-channel": f"channel-{number}"}},
        {"metadata": {"feature": f"feature-{number}"}},
        {"key": [f"job-{number}"]},
        {"prompt_tokens_over": 8000 + number},
        {"has_tools": True, "endpoint": ["chat"]},
        {"text_matches": f"(?i)\\bticket-{number}\\b"},
    )
    return kinds[number % len(kinds)]


def write_policies(
    folder: Path,
    upstreams: Mapping[str, str],
    *,
    rule_count: int = 100,
    collections: Mapping[str, Path] | None = None,
    teams: Sequence[str] = ("bench",),
) -> Path:
    """A policies folder. upstreams: base URLs of `plain` and `stream`. collections: a folder or a JSONL file each.

    JSON is YAML: what is written here needs no care for quotes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files: dict[str, object] = {
        "routing.yaml": {"rules": rules(rule_count)},
        "models.yaml": {
            "upstreams": {
                name: {"base_url": url, "api_key": "env:BENCH_UPSTREAM_KEY", "provider": "openai"}
                for name, url in upstreams.items()
            },
            "models": {PLAIN_MODEL: {"upstream": "plain"}, STREAM_MODEL: {"upstream": "stream"}},
        },
        "knowledge.yaml": {
            "collections": {
                name: {
                    "title": name,
                    "sources": [{"kind": "folder" if path.is_dir() else "jsonl", "path": str(path)}],
                    "teams": ["*"],
                    "model": PLAIN_MODEL,
                }
                for name, path in (collections or {}).items()
            }
        },
        "teams.yaml": {"teams": {name: {"monthly_budget_usd": BIG_BUDGET_USD} for name in teams}},
    }
    for name, data in files.items():
        (folder / name).write_text(json.dumps(data, indent=1))
    shutil.copy(ROOT / "policies" / "prices.yaml", folder / "prices.yaml")
    return folder
