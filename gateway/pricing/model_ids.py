"""Ids of tuned models: which price entries may stand for one."""

import re

# `-2024-07-18`, or the older `-0125`.
_SNAPSHOT_DATE = re.compile(r"-(?:\d{4}-\d{2}-\d{2}|\d{4})\Z")


def is_tuned(model: str) -> bool:
    """True for `ft:base:org:suffix:id`, Azure's `base.ft-id`, and the oldest form `davinci:ft-org-date`."""
    name = model.lower()
    return name.startswith("ft:") or ".ft-" in name or ":ft-" in name


def price_names(model: str) -> tuple[str, ...]:
    """The names under which a model's price may stand, best first.

    `ft:gpt-4o-mini-2024-07-18:acme:support:Ab12:ckpt-step-90` is looked for whole, then with ever fewer of
    its parts down to `ft:gpt-4o-mini-2024-07-18`, then as `ft:gpt-4o-mini`. A bare `gpt-4o-mini` is never
    among them: the untuned price is another price. Any other id stands only for itself.
    """
    if not model.startswith("ft:"):
        return (model,)
    parts = model.split(":")
    names = [":".join(parts[:count]) for count in range(len(parts), 1, -1)]
    undated = _SNAPSHOT_DATE.sub("", names[-1])
    return tuple(names) if undated == names[-1] else (*names, undated)
