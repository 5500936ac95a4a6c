"""What a call is expected to cost at each arm it could have taken, so that a decision can be judged by it."""

from datetime import date

from gateway.core.call import Call
from gateway.core.decision import Arm, Decision
from gateway.core.event import UsageEvent
from gateway.core.usage import Usage
from gateway.ledger.records import ArmCost
from gateway.pricing.rates import PICO_PER_NANO, Rates, cost_by_kind
from gateway.pricing.table import PriceTable

# What a reply is taken to have before a model has given any.
FIRST_OUTPUT = 256
# Without a cap of the caller's, a reply of this many tokens is reserved for.
ASSUMED_OUTPUT = 4096
# What is set aside for a prompt: in nearly any text a token has two bytes or more, in English about four.
BYTES_PER_TOKEN_BOUND = 2
# How much the latest reply moves the mean: about the last forty count.
SHARE_OF_LATEST = 0.05
# A caller may ask for any number of choices; no journal takes every number.
MOST_TOKENS = 10**12
MOST_NANO_USD = 2**62
# Models are named by callers where `*` is allowed.
MAX_MODELS = 1024
# Rows that are no reply: what was trained, and sums of many replies.
JOBS = frozenset({"training", "batch"})


class Expected:
    """The usual length of each model's replies, learned from those that this process has closed."""

    def __init__(self) -> None:
        self._means: dict[str, float] = {}

    def learn(self, event: UsageEvent, choices: int = 1) -> None:
        """Takes a served reply into its model's mean, a choice's share of its tokens."""
        if event.outcome != "ok" or event.usage is None or event.endpoint in JOBS:
            return
        mean = self._means.get(event.model)
        if mean is None and len(self._means) >= MAX_MODELS:
            return
        tokens = event.usage.output_tokens / choices
        self._means[event.model] = tokens if mean is None else mean + (tokens - mean) * SHARE_OF_LATEST

    def output_tokens(self, model: str, limit: int | None) -> int:
        """How many tokens a reply of this model is expected to have under a caller's own limit."""
        usual = round(self._means.get(model, FIRST_OUTPUT))
        return usual if limit is None else min(usual, max(0, limit))

    def arm_costs(
        self, call: Call, decision: Decision, prices: PriceTable, context_tokens: int, day: date
    ) -> tuple[ArmCost, ...]:
        """Each arm of a decision with what the call was expected to cost there, the chosen one first."""
        first = self._cost("chosen", decision.arms[0], call, prices, context_tokens, day) if decision.arms else None
        if first is not None and len(decision.arms) == 1 and not decision.others and decision.shadow is None:
            return (first,)
        more = [("fallback", arm) for arm in decision.arms[1:]] + [("other", arm) for arm in decision.others]
        if decision.shadow is not None:
            more.append(("shadow", decision.shadow.arm))
        costs = [self._cost(role, arm, call, prices, context_tokens, day) for role, arm in more]
        return (first, *costs) if first is not None else tuple(costs)

    def _cost(self, role: str, arm: Arm, call: Call, prices: PriceTable, context_tokens: int, day: date) -> ArmCost:
        tokens_in = call.prompt_tokens_estimate + (context_tokens if arm.path == "rag" else 0)
        tokens_out = min(MOST_TOKENS, call.choices * self.output_tokens(arm.model, call.output_limit))
        rates = prices.rates(arm.model, day)
        cost = None
        if rates is not None and rates.input is not None and (rates.output is not None or not tokens_out):
            if rates.long_context:
                kinds = cost_by_kind(rates, Usage(tokens_in, tokens_out))
                cost = None if kinds is None else min(MOST_NANO_USD, sum(nano for _, nano in kinds))
            else:
                pico = tokens_in * rates.input + tokens_out * (rates.output or 0)
                cost = min(MOST_NANO_USD, pico // PICO_PER_NANO)
        return ArmCost(role, arm, tokens_in, tokens_out, cost)


def most_cost(rates: Rates | None, call: Call, arm: Arm, context_tokens: int) -> int | None:
    """What a call can cost at an arm at most, in nano-dollars; None without rates.

    context_tokens: what sources may add to the prompt.
    """
    if rates is None:
        return None
    tokens_in = call.prompt_bytes // BYTES_PER_TOKEN_BOUND + 1
    if arm.path == "rag":
        again = arm.terms is not None and arm.terms.grounding is not None and arm.terms.grounding.action == "retry"
        tokens_in += context_tokens * (2 if again else 1)
    limit = ASSUMED_OUTPUT if call.output_limit is None else max(0, call.output_limit)
    if call.service_tier or rates.long_context:
        most = cost_by_kind(rates, Usage(tokens_in, call.choices * limit, service_tier=call.service_tier))
        return None if most is None else sum(nano for _, nano in most) + 1
    pico = tokens_in * (rates.input or 0) + call.choices * limit * (rates.output or 0)
    return -(-pico // 1000)
