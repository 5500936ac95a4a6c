"""The direct path: to a base model, with the body as it came but for the model's name."""

from gateway.core.call import Call
from gateway.core.decision import Arm
from gateway.upstream.prepared import Prepared
from gateway.wire.rewrite import rewritten


def prepare_direct(call: Call, arm: Arm, *, may_ask_usage: bool) -> Prepared:
    """The request for `arm`."""
    body, injected = rewritten(call, arm, may_ask_usage=may_ask_usage)
    return Prepared(arm=arm, body=body, usage_injected=injected)
