"""What each trainer takes: profiles with their sources, so that one file can be judged for another place."""

from typing import Literal

import msgspec

from gateway.core.values import Value

Method = Literal["supervised", "dpo", "reinforcement"]
TargetName = Literal["openai", "azure", "together", "fireworks", "local"]

MEBIBYTE = 2**20
# OpenAI's guide to supervised fine-tuning, table "Token limits"; the two oldest from its earlier edition.
TOKEN_LIMITS = (
    ("gpt-4o", 65_536),
    ("gpt-4.1", 65_536),
    ("gpt-3.5-turbo-0613", 4_096),
    ("gpt-3.5-turbo", 16_385),
)
_CHAT = frozenset({"system", "developer", "user", "assistant", "tool", "function"})


class Target(Value, frozen=True):
    """One trainer's rules. token_limit: of one example, None where none is known. least_rows: an error below.

    good_rows: a warning below. most_rows, most_bytes: None where no limit is stated. alternates: user and assistant
    must take turns. severities: codes that weigh otherwise here. source: where the figures stand.
    """

    name: str
    source: str
    base: str = ""
    least_rows: int = 10
    good_rows: int = 50
    most_rows: int | None = None
    most_bytes: int | None = 512 * MEBIBYTE
    roles: frozenset[str] = _CHAT
    token_limit: int | None = None
    alternates: bool = False
    has_tools: bool = True
    images_as_data: bool = False
    images_all_or_none: bool = False
    wants_bom: bool = False
    severities: tuple[tuple[str, Literal["error", "warning", "info"]], ...] = ()


_GUIDE = "OpenAI's fine-tuning guide and the schemas of training lines in its API description"
TARGETS: dict[str, Target] = {
    "openai": Target("openai", _GUIDE, token_limit=65_536),
    # Azure's how-to asks for UTF-8 with a byte-order mark; files without one are taken too, so that is a remark.
    "azure": Target(
        "azure", "Azure OpenAI how-to 'Customize a model with fine-tuning'", token_limit=65_536, wants_bom=True
    ),
    "together": Target(
        "together",
        "check_file of Together's Python client",
        least_rows=1,
        most_bytes=int(50.1 * 1024 * MEBIBYTE),
        roles=frozenset({"system", "user", "assistant"}),
        alternates=True,
        has_tools=False,
        images_as_data=True,
        images_all_or_none=True,
        # An upload there may be of prompts and completions, as long as all of it is.
        severities=(("R006", "info"),),
    ),
    "fireworks": Target(
        "fireworks",
        "Fireworks' guide to supervised fine-tuning",
        least_rows=3,
        most_rows=3_000_000,
        most_bytes=None,
        roles=frozenset({"system", "user", "assistant", "tool"}),
        # "System only first" is a rule of the upload there, and advice elsewhere.
        severities=(("R018", "error"),),
    ),
    "local": Target(
        "local",
        "the `local` trainer of this gateway",
        least_rows=1,
        most_bytes=None,
        severities=(("R003", "warning"), ("R013", "warning"), ("R025", "warning")),
    ),
}


def target_of(name: str, base: str = "") -> Target:
    """The profile of a trainer for a base model. Raises KeyError for a name that is none of TARGETS.

    base: a model's id, dated or not, tuned or not; unknown ones have no token limit. Without a base the limit is that
    of all models which OpenAI and Azure tune today.
    """
    profile = TARGETS[name]
    limit = token_limit_of(base) if base else profile.token_limit
    return msgspec.structs.replace(profile, base=base, token_limit=limit)


def token_limit_of(base: str) -> int | None:
    """The most tokens of one training example of that base; None where no document says."""
    plain = base.removeprefix("ft:").rpartition("/")[2]
    return next((limit for prefix, limit in TOKEN_LIMITS if plain.startswith(prefix)), None)
