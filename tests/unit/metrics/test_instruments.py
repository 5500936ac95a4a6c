from prometheus_client import CollectorRegistry

from gateway.metrics.instruments import Instruments

# Dashboards hold on to these: docs say them, and a change is an ADR.
CONTRACT = {
    "gateway_requests": {"team", "path", "model", "status_class", "error_type"},
    "gateway_tokens": {"team", "path", "model", "kind"},
    "gateway_cost_usd": {"team", "path", "model", "kind"},
    "gateway_request_duration_seconds": {"path"},
    "gateway_time_to_first_token_seconds": {"path"},
    "gateway_overhead_seconds": {"path"},
    "gateway_policy_decisions": {"rule", "path"},
    "gateway_shadows": {"rule", "result"},
    "gateway_policy_reloads": {"result"},
    "gateway_policy_info": {"hash"},
    "gateway_usage_missing": {"reason"},
    "gateway_unpriced": {"model"},
    "gateway_budget_used_ratio": {"team"},
    "gateway_retrieval_seconds": set(),
    "gateway_retrieval_results": {"collection", "result"},
    "gateway_answer_support_ratio": set(),
    "gateway_citations_unknown": {"rule"},
    "gateway_knowledge_gaps": {"kind", "outcome"},
    "gateway_judgements": {"rule", "result"},
    "gateway_answer_judged_ratio": set(),
    "gateway_knowledge_freshness_seconds": {"source"},
    "gateway_model_shutdown_timestamp_seconds": {"line"},
    "gateway_model_line_weight": {"line", "version"},
    "gateway_line_successions": {"line"},
    "gateway_line_rollbacks": {"line"},
    "gateway_captured_calls": {"team", "result"},
    "gateway_feedback": {"team", "sentiment"},
    "gateway_journal_pending_events": set(),
    "gateway_upstream_attempts": {"upstream", "outcome"},
    "gateway_breaker_state": {"upstream"},
    "gateway_in_flight": set(),
}


def test_names_and_labels_are_those_of_the_contract() -> None:
    made = vars(Instruments(CollectorRegistry())).values()
    assert {one._name: set(one._labelnames) for one in made} == CONTRACT
