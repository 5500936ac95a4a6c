"""Ids of tuned models: which price entries may stand for one."""

import re

# `-2024-07-18`, or the older `-0125`.
_SNAPSHOT_DATE = re.compile(r"-(?:\d{4}-\d{2}-\d{2}|\d{4})\Z")


def is_tuned(model: str) -> bool:
    """True for `ft:base:org:suffix:id`, Azure's `base.ft-id`, and the oldest form `davinci:ft-org-date`."""
    name = model.lower()
    return name.startswith("ft:") or ".ft-" in name or ":ft-" in name


def undated(model: str) -> str:
    """The id without its snapshot's date: what was asked for as `gpt-4.1-mini` is billed under its dated name.

    A tuned model's id is its own; there is no other name for it.
    """
    return model if is_tuned(model) else _SNAPSHOT_DATE.sub("", model)


# Azure names a tuned model by its base and a hash: `gpt-4o-mini-2024-07-18.ft-0e208cf33a6a466994aff31a08aba678`.
_AZURE = re.compile(r"(?P<base>[^/]+)\.ft-[0-9A-Za-z-]+\Z")


def price_names(model: str) -> tuple[str, ...]:
    """The names under which a model's price may stand, best first.

    `ft:gpt-4o-mini-2024-07-18:acme:support:Ab12:ckpt-step-90` is looked for whole, then with ever fewer of
    its parts down to `ft:gpt-4o-mini-2024-07-18`, then as `ft:gpt-4o-mini`. Azure's form goes on from the whole to
    `gpt-4o-mini-2024-07-18.ft` and `gpt-4o-mini.ft`, where its own price may stand, and then to the same base tuned
    anywhere. What stands before a `/`, a provider or a deployment, is no part of the name. A bare `gpt-4o-mini` is
    never among them: the untuned price is another price. Any other id stands only for itself.
    """
    name = model.rpartition("/")[2]
    azure = _AZURE.match(name)
    if azure is not None:
        base = azure["base"]
        undated = _SNAPSHOT_DATE.sub("", base)
        names = [model, name, f"{base}.ft", f"{undated}.ft", f"ft:{base}", f"ft:{undated}"]
    elif name.startswith("ft:"):
        parts = name.split(":")
        names = [model, *(":".join(parts[:count]) for count in range(len(parts), 1, -1))]
        names.append(_SNAPSHOT_DATE.sub("", names[-1]))
    else:
        return (model,)
    return tuple(dict.fromkeys(names))
