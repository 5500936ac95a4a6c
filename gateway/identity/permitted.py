"""What a key may ask for, and where its calls may go."""

import msgspec

from gateway.core.call import Call, Principal
from gateway.core.decision import Arm, Decision
from gateway.core.errors import NotPermitted

ANY = "*"
UNNAMED = "passthrough"


def names_model(principal: Principal, name: str) -> bool:
    """Whether a key may name this model, as the caller writes it: an alias, a line, `auto` and `kb/...` too."""
    allowed = principal.allowed_models
    if not allowed or name in allowed:
        return True
    return any(one.endswith(ANY) and name.startswith(one.removesuffix(ANY)) for one in allowed)


def permitted(call: Call, principal: Principal) -> Call:
    """The call as its key lets it be made: the key's metadata is among its own, and above it.

    Raises NotPermitted (403) when the call names a model that the key may not use. A call that names none (files,
    batches, jobs) reaches models that nobody can see here: a key that is bound to models may make it only when its
    paths name `passthrough`.
    """
    if principal.allowed_models and not names_model(principal, call.model):
        is_open = not call.model and call.endpoint == UNNAMED and UNNAMED in principal.allowed_paths
        if not is_open:
            told = f"The model {call.model!r} is" if call.model else "A call that names no model is"
            allowed = ", ".join(principal.allowed_models)
            raise NotPermitted(f"{told} not permitted for this key; it may use {allowed}.", param="model")
    if not principal.metadata:
        return call
    metadata = tuple(sorted((dict(call.metadata) | dict(principal.metadata)).items()))
    return msgspec.structs.replace(call, metadata=metadata)


def open_arms(decision: Decision, principal: Principal) -> tuple[Arm, ...]:
    """The decision's arms without the fallbacks that the key may not take. The decision itself stays as it was.

    Raises NotPermitted (403) when the chosen path is closed to the key.
    """
    allowed = principal.allowed_paths
    if not allowed or not decision.arms:
        return decision.arms
    if decision.arm.path not in allowed:
        raise NotPermitted(
            f"Rule {decision.rule!r} sends this call on the path {decision.arm.path!r}, which is not permitted for "
            f"this key; it may take {', '.join(allowed)}."
        )
    return tuple(_within(arm, allowed) for arm in decision.arms if arm.path in allowed)


def _within(arm: Arm, allowed: tuple[str, ...]) -> Arm:
    if arm.successor is None:
        return arm
    successor = _within(arm.successor, allowed) if arm.successor.path in allowed else None
    return msgspec.structs.replace(arm, successor=successor)
