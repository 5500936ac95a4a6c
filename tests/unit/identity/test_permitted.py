"""What a key is bound to, enforced."""

import msgspec
import pytest
from msgspec.structs import replace

from gateway.core.call import Call, Principal
from gateway.core.decision import Arm, Decision, Features, Names, Path
from gateway.core.errors import NotPermitted
from gateway.identity.permitted import names_model, open_arms, permitted
from tests.fakes.calls import SUPPORT, inbound


def bound(*models: str, paths: tuple[str, ...] = (), **metadata: str) -> Principal:
    return msgspec.structs.replace(
        SUPPORT, allowed_models=models, allowed_paths=paths, metadata=tuple(sorted(metadata.items()))
    )


def asking(model: str, **more: object) -> Call:
    call = Call(inbound=inbound(b""), endpoint="chat", model=model)
    return msgspec.structs.replace(call, **more)


@pytest.mark.parametrize("name", ["gpt-4.1-mini", "auto", "kb/help", "tone@v2", "ft:gpt-4o:acme::1", "an-alias", ""])
def test_a_key_that_is_bound_to_nothing_may_name_anything(name: str) -> None:
    assert names_model(SUPPORT, name)
    call = asking(name)
    assert permitted(call, SUPPORT) is call


@pytest.mark.parametrize(
    ("allowed", "name", "may"),
    [
        ("gpt-4.1-mini", "gpt-4.1-mini", True),
        ("gpt-4.1-mini", "gpt-4.1-mini-2025", False),
        ("gpt-4.1-mini", "GPT-4.1-mini", False),
        ("gpt-4.1*", "gpt-4.1", True),
        ("gpt-4.1*", "gpt-4.1-mini", True),
        ("gpt-4.1*", "gpt-4o", False),
        ("kb/*", "kb/help-centre", True),
        ("kb/*", "auto", False),
        ("auto", "gpt-4.1-mini", False),
        ("tone", "tone@v1", False),
        ("tone*", "tone@v1", True),
        ("*", "anything", True),
        ("*", "", True),
    ],
)
def test_a_name_is_taken_whole_or_by_its_beginning(allowed: str, name: str, *, may: bool) -> None:
    assert names_model(bound(allowed), name) is may


def test_a_model_that_is_not_permitted_is_refused_with_those_that_are() -> None:
    with pytest.raises(NotPermitted) as caught:
        permitted(asking("gpt-4o"), bound("gpt-4.1*", "auto"))
    assert caught.value.status == 403
    assert caught.value.message == ("The model 'gpt-4o' is not permitted for this key; it may use gpt-4.1*, auto.")
    assert caught.value.param == "model"


def test_a_call_without_a_model_is_no_way_around() -> None:
    """A batch names its models in a file that nobody here reads."""
    batch = asking("", endpoint="passthrough")
    with pytest.raises(NotPermitted, match="names no model"):
        permitted(batch, bound("gpt-4.1*"))
    with pytest.raises(NotPermitted):
        permitted(asking(""), bound("gpt-4.1*", paths=("passthrough", "direct")))
    assert permitted(batch, bound("gpt-4.1*", paths=("passthrough",))) is batch


def test_the_keys_metadata_is_believed_above_the_callers() -> None:
    call = asking("m", metadata=(("env", "test"), ("task", "tone")))
    made = permitted(call, bound(env="prod", unit="eu"))
    assert made.metadata == (("env", "prod"), ("task", "tone"), ("unit", "eu"))


def decision(*paths: Path) -> Decision:
    arms = tuple(Arm(path=path, upstream="main", model="m") for path in paths)
    names = Names("chat", "support", "web", "m", False, None, (), ())
    return Decision("dec_1", "a-rule", arms, (), "hash", names, Features(1, 1, 1, False, "text"))


def test_fallbacks_on_closed_paths_are_dropped_and_the_decision_stays() -> None:
    """What is recorded is what was decided: a replay must come out the same."""
    decided = decision("rag", "direct", "rag")
    assert open_arms(decided, bound(paths=("rag",))) == (decided.arms[0], decided.arms[2])
    assert len(decided.arms) == 3
    assert open_arms(decided, SUPPORT) == decided.arms


def test_a_chosen_path_that_is_closed_is_refused_with_those_that_are_open() -> None:
    with pytest.raises(NotPermitted) as caught:
        open_arms(decision("direct", "rag"), bound(paths=("rag", "fine_tuned")))
    assert caught.value.message == (
        "Rule 'a-rule' sends this call on the path 'direct', which is not permitted for this key; "
        "it may take rag, fine_tuned."
    )


def test_a_successor_on_a_closed_path_is_nobody() -> None:
    """What a provider says later must not open a path that the key has not."""
    decided = decision("fine_tuned")
    successor = Arm(path="rag", upstream="main", model="m", successor_of="tone")
    arm = replace(decided.arms[0], successor=successor)
    decided = replace(decided, arms=(arm,))
    assert open_arms(decided, bound(paths=("fine_tuned",)))[0].successor is None
    assert open_arms(decided, bound(paths=("fine_tuned", "rag"))) == (arm,)
