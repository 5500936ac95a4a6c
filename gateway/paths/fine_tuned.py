"""The fine-tuned path: the tuned model of a line, under the id it has at its provider."""

from gateway.core.call import Call
from gateway.core.decision import Arm
from gateway.upstream.prepared import Prepared
from gateway.wire.rewrite import rewritten


def prepare_fine_tuned(call: Call, arm: Arm, *, may_ask_usage: bool) -> Prepared:
    """The request for `arm`; the reply says which line and version answered."""
    body, injected = rewritten(call, arm, may_ask_usage=may_ask_usage)
    told = f"{arm.line}@v{arm.version}".encode()
    return Prepared(arm=arm, body=body, usage_injected=injected, headers=((b"x-gateway-line", told),))
