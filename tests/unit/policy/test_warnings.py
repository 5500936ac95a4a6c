"""What `gateway policy check` finds odd about a policy that would go live."""

import re
from datetime import date
from pathlib import Path

from gateway.core.document import validate
from gateway.policy.load import document_of, load
from gateway.policy.routing_file import RoutingFile
from gateway.policy.warnings import Files, Known, Warned, warnings_of
from tests.fakes.rulebook import DIRECT, KNOWLEDGE, MODELS, SAMPLES, sample, texts

TODAY = date(2026, 11, 23)
CALM = """
upstreams: {main: {base_url: "http://main.test/v1"}}
models: {small: {upstream: main}, "*": {upstream: main}}
"""


def told(
    routing: str = DIRECT,
    models: str = CALM,
    knowledge: str = "",
    today: date = TODAY,
    unpriced: tuple[str, ...] = (),
    teams: tuple[str, ...] = (),
    days: int = 60,
) -> list[Warned]:
    given = texts(routing, models, knowledge)
    documents = {name: document_of(given, f"{name}.yaml") for name in ("routing", "models", "knowledge")}
    files = Files(
        routing=validate(documents["routing"], RoutingFile),
        catalogue=load(given).policy.catalogue,
        rules=documents["routing"],
        models=documents["models"],
        knowledge=documents["knowledge"],
    )
    known = Known(today=today, has_price=lambda model: model not in unpriced, teams=frozenset(teams), days=days)
    return warnings_of(files, known)


def rules(*written: str) -> str:
    """Rules on a line each, from line 2 on; what is not taken goes direct."""
    lines = [f"  - {{name: {name}, {rest}}}" for name, rest in zip("abcdefghij", written, strict=False)]
    return "\n".join(["rules:", *lines, "  - {name: rest, use: {path: direct}}"])


def lines(found: list[Warned]) -> list[str]:
    """Each as `routing:12 what`; a note says so."""
    kinds = {"warning": "", "note": "note: "}
    parts = [(one, re.fullmatch(r"policies/(\w+)\.yaml:(\d+):\d+", one.place)) for one in found]
    return [f"{place[1]}:{place[2]} {kinds[one.severity]}{one.message}" for one, place in parts if place]


def test_each_has_its_file_line_and_column() -> None:
    use = "use: {path: rag, collections: [help-centre], model: small}"
    (found,) = told(rules(f"when: {{team: x}}, {use}"), knowledge=KNOWLEDGE)
    assert (found.severity, found.place) == ("warning", "policies/routing.yaml:2:32")


def test_a_plain_policy_has_no_warnings() -> None:
    assert told() == []


def test_a_rule_that_an_earlier_one_covers_is_never_reached() -> None:
    routing = rules(
        "when: {team: [x, y]}, refuse: x", "when: {team: x, model: auto}, use: {path: direct, model: small}"
    )
    assert lines(told(routing)) == ["routing:3 rule 'b' is never reached: 'a' (line 2) takes all its calls."]


def test_the_endpoints_that_a_path_serves_count_as_its_conditions() -> None:
    rag = "use: {path: rag, collections: [help-centre], model: small, fallback: [{path: direct, model: small}]}"
    every = f"when: {{model: '*', team: x}}, {rag}"
    assert lines(told(rules(every, "when: {team: x, endpoint: chat}, refuse: x"), knowledge=KNOWLEDGE)) == [
        "routing:2 `model` holds for every call as it is written; it says nothing.",
        "routing:3 rule 'b' is never reached: 'a' (line 2) takes all its calls.",
    ]
    assert not told(
        rules(f"when: {{team: x}}, {rag}", "when: {team: x, endpoint: embeddings}, refuse: x"), knowledge=KNOWLEDGE
    )


def test_a_rule_whose_conditions_exclude_each_other_never_holds() -> None:
    fallback = "fallback: [{path: direct, model: small}]"
    rag = f"use: {{path: rag, collections: [help-centre], model: small, {fallback}}}"
    never = "rule 'a' never holds: what it asks for excludes itself."
    for when in ("endpoint: embeddings", "team: x, not: {team: [x, y]}", "team: x, all: [{team: y}]"):
        found = lines(told(rules(f"when: {{{when}}}, {rag}"), knowledge=KNOWLEDGE))
        assert found == [f"routing:2 {never}"], when


def test_rules_that_may_take_the_same_calls_are_noted_once_with_the_earlier_ones() -> None:
    routing = rules(
        "when: {team: x}, use: {path: direct, model: one}",
        "when: {team: y}, use: {path: direct, model: two}",
        "when: {model: auto, team: [x, y]}, use: {path: direct, model: three}",
    )
    assert lines(told(routing)) == [
        "routing:4 note: rule 'c' overlaps with 'a' (line 2), 'b' (line 3): what both take goes to the earlier one."
    ]


def test_only_the_first_of_many_overlapping_rules_are_named() -> None:
    split = [f"when: {{team: x, metadata: {{task: t{n}}}}}, use: {{path: direct, model: m{n}}}" for n in range(8)]
    (note,) = told(rules(*split, "when: {team: x}, use: {path: direct, model: last}"))
    assert "'e' (line 6) and 3 more: " in note.message


def test_rules_with_one_destination_and_rules_that_ask_for_other_things_do_not_overlap() -> None:
    same = rules(
        "when: {team: x}, use: {path: direct, model: one}", "when: {team: [x, y]}, use: {path: direct, model: one}"
    )
    assert told(same) == []
    other = rules(
        "when: {team: x}, use: {path: direct, model: one}", "when: {has_tools: true}, use: {path: direct, model: two}"
    )
    assert told(other) == []


def test_rules_that_look_things_up_overlap_whatever_they_look_up() -> None:
    fallback = "fallback: [{path: direct, model: small}]"
    routing = rules(
        f"when: {{task: {{line: tone}}}}, use: {{path: fine_tuned, line: tone, {fallback}}}",
        "when: {knowledge: {collections: [help-centre]}}, "
        f"use: {{path: rag, collections: [help-centre], model: small, {fallback}}}",
    )
    found = [one for one in told(routing, MODELS, KNOWLEDGE) if one.severity == "note"]
    assert [one.message.partition(":")[0] for one in found] == ["rule 'b' overlaps with 'a' (line 2)"]


def test_a_tuned_model_or_sources_without_a_fallback_are_warned_of() -> None:
    routing = rules("when: {team: x}, use: {path: rag, collections: [help-centre], model: small}")
    assert lines(told(routing, knowledge=KNOWLEDGE)) == [
        "routing:2 rule 'a': path rag has no `fallback`: when its upstream fails, the call fails."
    ]


def test_a_pattern_that_takes_every_text_is_warned_of_wherever_it_stands() -> None:
    (found,) = told(rules("when: {team: x, any: [{has_tools: true}, {not: {text_matches: '.*'}}]}, refuse: x"))
    assert lines([found]) == ["routing:2 `text_matches` matches every text as it is written; it says nothing."]
    assert told(rules("when: {text_matches: '(?i)refund'}, refuse: x")) == []


def test_a_line_near_or_past_its_end_says_what_comes_then() -> None:
    found = [
        one for one in told(models=MODELS, knowledge=KNOWLEDGE, today=date(2026, 12, 1)) if "version" in one.message
    ]
    assert [one.partition(" ")[2] for one in lines(found)] == [
        "line 'tone', version 2, ends on 2027-01-14, in 44 days; its calls then go to its successor, rag with small.",
        "line 'lonely', version 1, ended on 2026-01-01; it names no `successor`: its calls are then a 404.",
        "line 'chained', version 1, ended on 2026-01-01; its calls then go to its successor, fine_tuned with tone.",
        "line 'ring', version 1, ended on 2026-01-01; its calls then go to its successor, fine_tuned with ring.",
    ]


def test_how_long_before_its_end_a_line_is_spoken_of_can_be_said() -> None:
    def spoken_of(today: date, days: int) -> bool:
        found = told(models=MODELS, knowledge=KNOWLEDGE, today=today, days=days)
        return any("'tone', version 2" in one.message for one in found)

    assert spoken_of(date(2026, 11, 15), 60)
    assert not spoken_of(date(2026, 11, 14), 60)
    assert spoken_of(date(2026, 10, 16), 90)


def test_a_version_that_nobody_names_may_end_in_peace() -> None:
    models = (
        CALM
        + """
lines:
  tone:
    versions:
      - {id: old, upstream: main, base: b, shutdown_date: 2026-01-01}
      - {id: new, upstream: main, base: b}
    champion: 2
"""
    )
    assert told(models=models) == []
    use = "use: {path: fine_tuned, line: tone@v1, fallback: [{path: direct, model: small}]}"
    (found,) = told(rules(f"when: {{team: x}}, {use}"), models)
    assert "version 1, ended on 2026-01-01" in found.message
    assert "version 1" in told(models=models + "aliases: {reply: tone@v1}\n")[0].message


def test_each_model_without_a_price_is_named_once_where_it_stands() -> None:
    models = CALM.replace("small: {upstream: main}", "small: {upstream: main, id: big-7b}")
    routing = rules(
        "when: {team: x}, use: {path: direct, targets: [{model: small}, {model: odd}]}",
        "when: {team: y}, use: {path: direct, model: odd}",
    )
    knowledge = "embedders: {e: {upstream: main, model: vectors}}"
    found = lines(told(routing, models, knowledge, unpriced=("big-7b", "odd", "vectors")))
    assert [one.partition(": ")[0] for one in found] == [
        "routing:2 model 'odd' has no price",
        "models:3 model 'big-7b' has no price",
        "knowledge:1 model 'vectors' has no price",
    ]


def test_a_shadow_without_a_price_is_said_to_be_never_made() -> None:
    shadow = "shadow: {path: direct, model: odd, monthly_budget_usd: 5}"
    found = told(rules(f"when: {{team: x}}, use: {{path: direct, model: small, {shadow}}}"), unpriced=("odd",))
    assert "rule 'a': the shadow is never made: its model has no price to keep a budget with." in [
        one.message for one in found
    ]


def test_a_team_that_nobody_made_is_named_where_teams_are_known() -> None:
    routing = rules(
        "when: {team: [support, suport]}, refuse: x", "when: {not: {team: ghosts}}, use: {path: direct, model: small}"
    )
    knowledge = "collections: {a: {teams: ['*', suport]}}"
    found = told(routing, knowledge=knowledge, teams=("support",))
    assert [one for one in lines(found) if "note" not in one] == [
        "routing:2 there is no team 'suport'.",
        "routing:3 there is no team 'ghosts'.",
        "knowledge:1 there is no team 'suport'.",
    ]
    assert [one for one in told(routing, knowledge=knowledge) if "team" in one.message] == []


def test_what_we_ship_warns_of_nothing_but_what_it_shows() -> None:
    """The sample has a line with an end and a rule whose answer must come from the sources or not at all."""
    given = sample(SAMPLES[0])
    documents = {name: document_of(given, f"{name}.yaml") for name in ("routing", "models", "knowledge")}
    files = Files(
        validate(documents["routing"], RoutingFile),
        load(given).policy.catalogue,
        documents["routing"],
        documents["models"],
        documents["knowledge"],
    )
    found = warnings_of(files, Known(date(2026, 6, 1), lambda _model: True, frozenset({"support"})))
    assert not [one for one in found if "never" in one.message]
    assert {Path(one.place.partition(":")[0]).name for one in found} <= {"routing.yaml"}
