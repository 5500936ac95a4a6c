"""Policies written in a test, as the loader would read them from a folder."""

from pathlib import Path

from gateway.core.call import Call
from gateway.core.decision import Decision
from gateway.core.facts import Facts, Needs
from gateway.policy.decide import decide
from gateway.policy.load import Rulebook, Texts, load, read_texts
from tests.fakes.calls import SUPPORT, facts

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = (ROOT / "policies", ROOT / "tests" / "fixtures" / "policies")

MODELS = """
upstreams:
  main: {base_url: "http://main.test/v1", api_key: env:KEY}
  lab: {base_url: "http://lab.test/v1"}
models:
  small: {upstream: main}
  gpt-4.1-mini: {upstream: main}
  "*": {upstream: main}
  house: {upstream: lab, id: big-7b}
lines:
  tone:
    versions:
      - {id: "ft:base:acme:tone:1", upstream: main, base: base}
      - {id: "ft:base:acme:tone:2", upstream: main, base: base, shutdown_date: 2027-01-14, training_file: tone.jsonl}
    champion: 2
    challenger: 1
    successor: {path: rag, collections: [help-centre], model: small}
  lonely:
    versions: [{id: "ft:base:acme:lonely:1", upstream: main, base: base, shutdown_date: 2026-01-01}]
  chained:
    versions: [{id: "ft:base:acme:chained:1", upstream: main, base: base, shutdown_date: 2026-01-01}]
    successor: {path: fine_tuned, line: tone}
  ring:
    versions: [{id: "ft:base:acme:ring:1", upstream: main, base: base, shutdown_date: 2026-01-01}]
    successor: {path: fine_tuned, line: ring}
"""
KNOWLEDGE = """
collections:
  help-centre: {teams: ["*"], model: small}
  board-minutes: {teams: [board], model: small}
  mute: {teams: ["*"]}
"""
DIRECT = "rules: [{name: everything-else, use: {path: direct}}]"


def texts(routing: str = DIRECT, models: str = MODELS, knowledge: str = KNOWLEDGE, **more: str) -> Texts:
    """The folder `policies` with these files in it."""
    files = {"routing": routing, "models": models, "knowledge": knowledge, **more}
    return Texts("policies", {f"{name}.yaml": text.encode() for name, text in files.items()})


def rulebook(routing: str = DIRECT, models: str = MODELS, knowledge: str = KNOWLEDGE, **more: str) -> Rulebook:
    """What these files mean. Raises BadConfiguration."""
    return load(texts(routing, models, knowledge, **more))


def rule(when: str) -> Rulebook:
    """One rule, called `asked`, that refuses when this holds; everything else goes direct."""
    return rulebook(f"rules: [{{name: asked, when: {{{when}}}, refuse: held}}, {{name: other, use: {{path: direct}}}}]")


def sample(folder: Path) -> Texts:
    """The files of a folder of the repository."""
    return read_texts(folder)


def verdict(when: str, call: Call, known: Facts | None = None) -> bool | Needs:
    """What the one condition says of a call from SUPPORT."""
    policy = rule(when).policy
    (part,) = policy.rules[0].parts
    return part.check(policy.seen(call, SUPPORT, known or facts()))


def held(when: str, call: Call, known: Facts | None = None) -> bool:
    """Whether a rule with this condition decides a call from SUPPORT."""
    decision = decide(rule(when).policy, call, SUPPORT, known or facts(), "dec_1")
    assert isinstance(decision, Decision)
    assert decision.rule in {"asked", "other"}
    return decision.rule == "asked"
