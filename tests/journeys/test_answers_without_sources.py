"""What a rule does when nothing is found or can be looked up, and when an answer is not from its sources."""

import contextlib
import json
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.fakes.answering_gateway import FOUND, LOST, AnsweringGateway, answering_gateway

USE = "path: rag, collections: [help], model: gpt-4.1-mini"
GAPS = "SELECT id, team, collections, kind, outcome, question, score FROM knowledge_gaps ORDER BY at"
SOURCES = "SELECT document, cited FROM answer_sources ORDER BY id"


def said(body: dict[str, Any]) -> str:
    text: str = body["choices"][0]["message"]["content"]
    return text


async def test_abstaining_says_what_the_rule_says_and_asks_nobody(tmp_path: Path) -> None:
    use = f"{{{USE}, on_no_match: abstain, no_match_text: 'Ask the desk.'}}"
    async with answering_gateway(tmp_path, use) as it:
        body, headers = await it.chat(LOST)
        assert (said(body), it.asked, headers["x-gateway-knowledge"]) == ("Ask the desk.", [], "no-match")
        assert body["gateway"]["grounding"]["status"] == "no_match"
        (gap,) = await it.rows(GAPS)
        assert (gap["team"], gap["collections"], gap["kind"], gap["outcome"], gap["question"]) == (
            "support", "help", "no_match", "abstain", LOST,
        )  # fmt: skip
        assert it.metric("gateway_knowledge_gaps_total", kind="no_match", outcome="abstain") == 1


async def test_a_reply_in_json_that_abstains_is_a_refusal_and_no_broken_json(tmp_path: Path) -> None:
    async with answering_gateway(tmp_path, f"{{{USE}, on_no_match: abstain}}") as it:
        body, _ = await it.chat(LOST, response_format={"type": "json_object"})
        message = body["choices"][0]["message"]
        assert message["content"] is None
        assert "do not have" in message["refusal"]


@pytest.mark.parametrize(("way", "word"), [("abstain", "Say so"), ("clarify", "short question")])
async def test_the_model_can_be_told_to_say_it(tmp_path: Path, way: str, word: str) -> None:
    use = f"{{{USE}, on_no_match: {way}, no_match_reply: instructed}}"
    async with answering_gateway(tmp_path, use) as it:
        body, _ = await it.chat(LOST, "Nichts gefunden [1].")
        assert said(body) == "Nichts gefunden."
        told, question = it.asked[0]["messages"]
        assert word in told["content"]
        assert question["content"] == LOST
        assert [gap["outcome"] for gap in await it.rows(GAPS)] == [way]
        assert it.metric("gateway_citations_unknown_total", rule="the-rule") == 1


async def test_asking_back_costs_nothing(tmp_path: Path) -> None:
    async with answering_gateway(tmp_path, f"{{{USE}, on_no_match: clarify}}") as it:
        body, _ = await it.chat(LOST)
        assert said(body).endswith("?")
        assert it.asked == []


async def test_the_next_way_answers_and_the_gap_is_kept(tmp_path: Path) -> None:
    use = f"{{{USE}, on_no_match: fallback, fallback: [{{path: direct, model: spare}}]}}"
    async with answering_gateway(tmp_path, use) as it:
        body, headers = await it.chat(LOST, "From memory.")
        assert (said(body), it.asked[0]["model"], headers["x-gateway-path"]) == ("From memory.", "spare", "direct")
        assert [(gap["outcome"], gap["question"]) for gap in await it.rows(GAPS)] == [("fallback", LOST)]
        assert await it.rows(SOURCES) == []


async def streamed(it: AnsweringGateway, *replies: Any) -> tuple[str, list[dict[str, Any]], str | None]:
    """What a stream said, its `gateway` objects, and `x-gateway-knowledge`."""
    it.replies[:] = replies
    asked = await it.client.chat.completions.with_raw_response.create(
        model="auto", messages=[{"role": "user", "content": LOST}], stream=True
    )
    words, told = "", []
    async for chunk in asked.parse():
        words += chunk.choices[0].delta.content or ""
        told += [(chunk.model_extra or {})["gateway"]] if "gateway" in (chunk.model_extra or {}) else []
    return words, told, asked.headers.get("x-gateway-knowledge")


async def test_the_next_way_says_that_nothing_was_found_before_it(tmp_path: Path) -> None:
    use = f"{{{USE}, on_no_match: fallback, fallback: [{{path: direct, model: spare}}]}}"
    async with answering_gateway(tmp_path, use) as it:
        body, headers = await it.chat(LOST, "From memory, as in [1].")
        assert (said(body), headers["x-gateway-knowledge"]) == ("From memory, as in [1].", "no-match")
        assert headers["x-gateway-collections"] == "help"
        assert (body["gateway"]["sources"], body["gateway"]["grounding"]["status"]) == ([], "no_match")
        words, told, knowledge = await streamed(it, ["From memory, ", "as in [1", "]."])
        assert (words, knowledge) == ("From memory, as in [1].", "no-match")
        assert [one["grounding"]["action"] for one in told] == ["fallback"]


async def test_a_next_way_with_sources_of_its_own_tells_of_those(tmp_path: Path) -> None:
    spare = "{path: rag, collections: [quiet], model: spare}"
    use = f"{{{USE}, match_over: 0.99, on_no_match: fallback, fallback: [{spare}]}}"
    async with answering_gateway(tmp_path, use) as it:
        body, headers = await it.chat(FOUND, GOOD)
        assert "x-gateway-knowledge" not in headers
        assert headers["x-gateway-collections"] == "quiet"
        assert body["gateway"]["grounding"]["status"] == "supported"


async def test_a_gap_is_kept_also_when_the_next_way_fails(tmp_path: Path) -> None:
    use = f"{{{USE}, on_no_match: fallback, fallback: [{{path: direct, model: spare}}]}}"
    async with answering_gateway(tmp_path, use) as it:
        status, _, _ = await it.post(LOST, 500)
        assert status >= 500
        assert len(await it.rows(GAPS)) == 1


async def test_a_collection_that_keeps_no_questions_is_only_counted(tmp_path: Path) -> None:
    use = "{path: rag, collections: [quiet], model: gpt-4.1-mini, on_no_match: abstain}"
    async with answering_gateway(tmp_path, use) as it:
        await it.chat(LOST)
        assert [gap["question"] for gap in await it.rows(GAPS)] == [""]


async def test_a_store_that_is_down_is_an_error_unless_the_rule_names_who_answers(tmp_path: Path) -> None:
    async with answering_gateway(tmp_path, f"{{{USE}}}") as it:
        await it.gateway.library.close()
        status, body, _ = await it.post(FOUND, "From memory.")
        assert (status, it.asked) == (503, [])
        assert body["error"]["code"] == "knowledge_unavailable"


async def test_who_answers_while_the_store_is_down_says_so(tmp_path: Path) -> None:
    use = f"{{{USE}, on_store_down: fallback_model, fallback_model: spare}}"
    async with answering_gateway(tmp_path, use) as it:
        await it.gateway.library.close()
        body, headers = await it.chat(FOUND, "From memory.")
        assert (said(body), it.asked[0]["model"]) == ("From memory.", "spare")
        assert headers["x-gateway-knowledge"] == "unavailable"
        assert "cannot be searched" in headers["x-gateway-knowledge-reason"]
        assert headers["x-gateway-model"] == "spare"
        assert it.asked[0]["messages"] == [{"role": "user", "content": FOUND}]


@pytest.mark.parametrize("falls_back", [True, False])
async def test_a_rule_that_asks_what_a_collection_holds_says_who_answers_while_nobody_can_look(
    tmp_path: Path,
    falls_back: bool,  # noqa: FBT001  # a parameter of the test
) -> None:
    asks = "when: {model: [auto], knowledge: {collections: [help]}}"
    more = ", on_store_down: fallback_model, fallback_model: spare" if falls_back else ""
    rules = f"{{{USE}{more}}}\n    {asks}\n  - name: other\n    use: {{path: direct, model: gpt-4.1}}"
    async with answering_gateway(tmp_path, rules) as it:
        await it.gateway.library.close()
        status, _, headers = await it.post(FOUND, "From memory.")
        if falls_back:
            assert (status, it.asked[0]["model"], headers["x-gateway-knowledge"]) == (200, "spare", "unavailable")
        else:
            assert (status, it.asked) == (503, [])


async def test_a_rule_says_how_good_a_hit_must_be_to_count(tmp_path: Path) -> None:
    async with answering_gateway(tmp_path, f"{{{USE}, match_over: 0.99, on_no_match: abstain}}") as it:
        body, _ = await it.chat("Which colour does the quokka like on sunny holidays with friends?")
        assert body["gateway"]["grounding"]["status"] == "no_match"
        (gap,) = await it.rows(GAPS)
        assert 0 < gap["score"] < 0.99


GOOD = "A refund to a credit card takes five business days [1]."
BAD = "Penguins usually migrate towards Antarctica during winter [1]."


async def test_an_answer_says_how_far_its_sources_bear_it(tmp_path: Path) -> None:
    async with answering_gateway(tmp_path, f"{{{USE}}}") as it:
        good, _ = await it.chat(FOUND, GOOD)
        bad, _ = await it.chat(FOUND, BAD)
        assert good["gateway"]["grounding"]["status"] == "supported"
        assert good["gateway"]["grounding"]["score"] > 0.9
        assert bad["gateway"]["grounding"] == {
            "status": "unsupported", "score": bad["gateway"]["grounding"]["score"], "missing_numbers": [],
            "action": None,
        }  # fmt: skip
        assert bad["gateway"]["grounding"]["score"] < 0.2
        assert it.metric("gateway_answer_support_ratio_count") == 2
        assert [gap["kind"] for gap in await it.rows(GAPS)] == ["low_support"]


async def test_a_number_from_nowhere_is_told_and_can_be_enough_to_refuse(tmp_path: Path) -> None:
    use = f"{{{USE}, grounding: {{numbers: require, action: refuse}}, no_match_text: 'Ask the desk.'}}"
    async with answering_gateway(tmp_path, use) as it:
        body, _ = await it.chat(FOUND, "A refund to a credit card takes 45 business days [1].")
        assert said(body) == "Ask the desk."
        told = body["gateway"]["grounding"]
        assert (told["status"], told["missing_numbers"], told["action"]) == ("unsupported", ["45"], "refuse")
        assert said((await it.chat(FOUND, GOOD))[0]) == GOOD
        rows = await it.rows("SELECT attempt, error, last, cost_nano_usd FROM usage_events ORDER BY at, attempt DESC")
        assert [(row["error"], bool(row["last"])) for row in rows] == [
            ("answer_unsupported", False), ("", True), ("", True),
        ]  # fmt: skip
        assert rows[0]["cost_nano_usd"] == 1_040_000
        assert [row["document"] for row in await it.rows(SOURCES)] == ["refunds.md"]


async def test_a_second_try_has_more_context_and_is_booked(tmp_path: Path) -> None:
    async with answering_gateway(tmp_path, f"{{{USE}, grounding: {{action: retry}}}}") as it:
        body, _ = await it.chat(FOUND, BAD, GOOD)
        assert said(body) == GOOD
        assert body["gateway"]["grounding"]["action"] == "retry"
        rows = await it.rows("SELECT attempt, error, last FROM usage_events ORDER BY attempt")
        assert [(row["attempt"], row["error"], bool(row["last"])) for row in rows] == [
            (1, "answer_unsupported", False), (2, "", True),
        ]  # fmt: skip


async def test_a_second_try_that_fails_leaves_the_first_answer(tmp_path: Path) -> None:
    async with answering_gateway(tmp_path, f"{{{USE}, grounding: {{action: retry}}}}") as it:
        body, _ = await it.chat(FOUND, BAD, 500)
        assert said(body) == BAD
        assert body["gateway"]["grounding"]["status"] == "unsupported"
        assert sum(bool(row["last"]) for row in await it.rows("SELECT last FROM usage_events")) == 1


async def test_an_answer_without_its_sources_is_passed_on_to_the_next_way(tmp_path: Path) -> None:
    use = f"{{{USE}, grounding: {{action: fallback}}, fallback: [{{path: direct, model: spare}}]}}"
    async with answering_gateway(tmp_path, use) as it:
        body, headers = await it.chat(FOUND, BAD, "From memory.")
        assert (said(body), headers["x-gateway-path"]) == ("From memory.", "direct")
        assert headers["x-gateway-knowledge"] == "unsupported"
        told = body["gateway"]
        assert (told["sources"], told["grounding"]["status"], told["grounding"]["action"]) == (
            [], "unsupported", "fallback",
        )  # fmt: skip
        assert told["grounding"]["score"] < 0.2
        assert [(gap["kind"], gap["outcome"]) for gap in await it.rows(GAPS)] == [("low_support", "fallback")]
        assert await it.rows(SOURCES) == []


JUDGED = f"{{{USE}, judge: {{model: gpt-4.1, share: 1}}}}"


async def test_a_judge_looks_after_the_reply_on_the_operators_account(tmp_path: Path) -> None:
    async with answering_gateway(tmp_path, JUDGED) as it:
        body, _ = await it.chat(FOUND, GOOD, "7")
        assert said(body) == GOOD
        await it.until(lambda: it.metric("gateway_judgements_total", rule="the-rule", result="judged") == 1)
        assert it.metric("gateway_answer_judged_ratio_sum") == 0.7
        shown = "\n".join(message["content"] for message in it.asked[1]["messages"])
        assert (it.asked[1]["model"], FOUND in shown, GOOD in shown, "Zephyrine" in shown) == (
            "gpt-4.1",
            True,
            True,
            True,
        )
        rows = await it.rows("SELECT id, call_id, team, endpoint, cost_nano_usd FROM usage_events ORDER BY endpoint")
        assert [(row["team"], row["endpoint"]) for row in rows] == [("support", "chat"), ("gateway", "judge")]
        assert rows[0]["call_id"] == rows[1]["call_id"]
        assert rows[0]["id"] != rows[1]["id"]
        assert rows[1]["cost_nano_usd"] == 1_040_000


@pytest.mark.parametrize(("reply", "result"), [("Seven or 8, perhaps 9.", "unreadable"), (500, "failed")])
async def test_a_judge_that_gives_no_number_scores_nothing(tmp_path: Path, reply: Any, result: str) -> None:
    async with answering_gateway(tmp_path, JUDGED) as it:
        await it.chat(FOUND, GOOD, reply)
        await it.until(lambda: it.metric("gateway_judgements_total", rule="the-rule", result=result) == 1)
        assert it.metric("gateway_answer_judged_ratio_count") == 0


async def test_the_sources_are_an_amount_of_their_own_and_no_token_counts_twice(tmp_path: Path) -> None:
    async with answering_gateway(tmp_path, f"{{{USE}}}") as it:
        await it.chat(FOUND, GOOD)
        (row,) = await it.rows("SELECT context_tokens, input_tokens, cost_nano_usd, cost_by_kind FROM usage_events")
        where = {"team": "support", "path": "rag", "model": "gpt-4.1-mini"}
        kinds = {
            kind: (
                it.metric("gateway_tokens_total", kind=kind, **where),
                it.metric("gateway_cost_usd_total", kind=kind, **where),
            )
            for kind in ("input", "retrieval", "output")
        }
        assert kinds["retrieval"][0] == row["context_tokens"] > 50
        assert sum(tokens for tokens, _ in kinds.values()) == row["input_tokens"] + 20
        assert round(sum(usd for _, usd in kinds.values()) * 10**9) == row["cost_nano_usd"]
        costs = json.loads(row["cost_by_kind"])
        assert sum(costs.values()) == row["cost_nano_usd"]
        assert costs["retrieval"] == row["context_tokens"] * 1_000


async def test_a_stream_that_breaks_off_gives_out_what_was_held_back(tmp_path: Path) -> None:
    async with answering_gateway(tmp_path, f"{{{USE}}}") as it:
        it.replies[:] = [["A refund takes", " five days [1", None]]
        heard = ""
        stream = await it.client.chat.completions.create(
            model="auto", messages=[{"role": "user", "content": FOUND}], stream=True
        )
        with contextlib.suppress(openai.APIError):
            async for chunk in stream:
                heard += chunk.choices[0].delta.content or ""
        assert heard == "A refund takes five days [1"
        (row,) = await it.rows("SELECT outcome FROM usage_events")
        assert row["outcome"] == "upstream_error"
        assert [row["document"] for row in await it.rows(SOURCES)] == ["refunds.md"]


async def test_a_stream_is_measured_at_its_end(tmp_path: Path) -> None:
    """Nothing that was said can be taken back: a stream is only told about."""
    async with answering_gateway(tmp_path, f"{{{USE}, grounding: {{action: refuse}}}}") as it:
        it.replies[:] = [["Penguins migrate", " in winter [1", "]."]]
        told: list[dict[str, Any]] = []
        async for chunk in await it.client.chat.completions.create(
            model="auto", messages=[{"role": "user", "content": FOUND}], stream=True
        ):
            more = chunk.model_extra or {}
            told += [more["gateway"]] if "gateway" in more else []
        assert [one["grounding"]["status"] for one in told] == ["unsupported"]
        assert it.metric("gateway_answer_support_ratio_count") == 1
        assert [gap["kind"] for gap in await it.rows(GAPS)] == ["low_support"]


async def test_a_changed_document_leads_to_the_answers_that_it_was_in(tmp_path: Path) -> None:
    async with answering_gateway(tmp_path, f"{{{USE}}}") as it:
        await it.chat(FOUND, GOOD)
        await it.rows(SOURCES)
        report = await it.admin("/admin/knowledge/impact?document=refunds.md")
        assert (report["affected"], report["up_to_date"]) == (0, 1)
        it.write("refunds.md", "# Refunds\n\nA refund to a credit card takes three business days.\n")
        await it.gateway.library.sync()
        report = await it.admin("/admin/knowledge/impact?document=refunds.md")
        assert (report["affected"], report["cited"], report["teams"]) == (1, 1, {"support": 1})
        (listed,) = report["listed"]
        assert listed["current_version"] == report["current"]["help"] != listed["version"]
        assert (await it.admin("/admin/knowledge/gaps"))["total"] == 0
