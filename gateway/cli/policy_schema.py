"""`gateway policy schema`: what may stand in the policy files, for editors."""

from pathlib import Path
from typing import Any, Literal

from gateway.cli.output import print_json, say


def schema(
    file: Literal["routing", "models", "knowledge", "prices", "teams", "signals", "shutdowns"] = "routing",
    *,
    out: Path | None = None,
) -> None:
    """Prints the JSON Schema of one policy file. out: writes those of all files there, as NAME.schema.json."""
    import msgspec

    made = schemas()
    if out is None:
        print_json(made[file])
        return
    out.mkdir(parents=True, exist_ok=True)
    for name, one in made.items():
        path = out / f"{name}.schema.json"
        path.write_bytes(msgspec.json.format(msgspec.json.encode(one), indent=2) + b"\n")
        say(str(path))


def schemas() -> dict[str, dict[str, Any]]:
    """The schema of each policy file, by its name without `.yaml`."""
    from pydantic import BaseModel

    from gateway.policy.knowledge_file import KnowledgeFile
    from gateway.policy.models_file import ModelsFile
    from gateway.policy.routing_file import RoutingFile
    from gateway.policy.schema import schema_of
    from gateway.policy.shutdowns_file import ShutdownsFile
    from gateway.policy.signals_file import SignalsFile
    from gateway.policy.teams_file import TeamsFile
    from gateway.pricing.overlay import PriceOverlay

    files: dict[str, type[BaseModel]] = {
        "routing": RoutingFile,
        "models": ModelsFile,
        "knowledge": KnowledgeFile,
        "prices": PriceOverlay,
        "teams": TeamsFile,
        "signals": SignalsFile,
        "shutdowns": ShutdownsFile,
    }
    return {name: schema_of(name, model) for name, model in files.items()}
