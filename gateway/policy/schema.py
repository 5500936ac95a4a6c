"""What may stand in a policy file, as JSON Schema: from the models that read the file, so that it cannot be wrong."""

import re
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from gateway.policy.condition import one_or_many


class _AsWritten(GenerateJsonSchema):
    """Also takes what readers of a file turn into its value."""

    def function_before_schema(self, schema: core_schema.BeforeValidatorFunctionSchema) -> JsonSchemaValue:
        """A single word may stand where a list is meant."""
        inner = super().function_before_schema(schema)
        if schema["function"]["function"] is not one_or_many:
            return inner
        return {"anyOf": [inner["items"], inner]}

    def dict_schema(self, schema: core_schema.DictSchema) -> JsonSchemaValue:
        """A name that does not fit its pattern is refused, and not let pass unread."""
        made = super().dict_schema(schema)
        return made | ({"additionalProperties": False} if "patternProperties" in made else {})

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        """A key that is left out is no null that could be written."""
        made = super().default_schema(schema)
        return {key: value for key, value in made.items() if key != "default" or value is not None}

    def field_title_should_be_set(self, _schema: Any) -> bool:
        """A key's name again, in capitals, helps nobody."""
        return False


def schema_of(name: str, model: type[BaseModel]) -> dict[str, Any]:
    """The schema of `name`.yaml, draft 2020-12. YAML's dates count as text there, as editors read them."""
    made = model.model_json_schema(by_alias=True, schema_generator=_AsWritten)
    for entry in (made, *made.get("$defs", {}).values()):
        _describe(entry)
    return {"$schema": GenerateJsonSchema.schema_dialect, **made, "title": f"policies/{name}.yaml"}


def _describe(entry: dict[str, Any]) -> None:
    """Gives each key what the text about the whole says of it: `key: what it is. other, another: ...`."""
    properties = entry.get("properties", {})
    if not properties or "description" not in entry:
        return
    names = "|".join(re.escape(name) for name in properties)
    _, *told = re.split(rf"(?:^|(?<=\s))((?:{names})(?:, (?:{names}))*): ", entry["description"])
    for keys, text in zip(told[::2], told[1::2], strict=True):
        for key in keys.split(", "):
            properties[key].setdefault("description", " ".join(text.split()).rstrip(".;,"))
