"""Messages of graders and prompts: OpenAI's eval items, written as a chat completion or a response takes them."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from gateway.core.json_value import Json
from gateway.tuning.graders.spec import Spec, TemplateText
from gateway.tuning.graders.template import Subject, filled

MOST_MESSAGES = 256


class TextPart(Spec):
    """A text. `output_text` is one that a model said."""

    type: Literal["input_text", "text", "output_text"]
    text: TemplateText
    prompt_cache_breakpoint: Any = None


class ImagePart(Spec):
    """An image by its URL, or as data."""

    type: Literal["input_image"]
    image_url: TemplateText
    detail: Literal["high", "low", "auto"] | None = None


class Sound(Spec):
    """Base64, and what it is of."""

    data: TemplateText
    format: Literal["mp3", "wav"]


class AudioPart(Spec):
    """A sound."""

    type: Literal["input_audio"]
    input_audio: Sound


def _as_parts(content: object) -> object:
    """A text alone is one part; a part alone, too."""
    many = content if isinstance(content, list) else [content]
    return [{"type": "input_text", "text": one} if isinstance(one, str) else one for one in many]


Part = Annotated[TextPart | ImagePart | AudioPart, Field(discriminator="type")]


class Message(Spec):
    """One message, its texts templates."""

    role: Literal["user", "assistant", "system", "developer"]
    content: Annotated[list[Part], BeforeValidator(_as_parts), Field(min_length=1)]
    type: Literal["message"] | None = None


Messages = Annotated[list[Message], Field(min_length=1, max_length=MOST_MESSAGES)]
# Kinds by which parts are told apart: no part of a fault's path.
PART_TAGS = ("input_text", "text", "output_text", "input_image", "input_audio")


def texts_of(messages: Sequence[Message]) -> list[str]:
    """Every template in them."""
    texts = []
    for message in messages:
        for part in message.content:
            if isinstance(part, TextPart):
                texts.append(part.text)
            elif isinstance(part, ImagePart):
                texts.append(part.image_url)
            else:
                texts.append(part.input_audio.data)
    return texts


def as_chat(messages: Sequence[Message], subject: Subject) -> list[Json]:
    """For a chat completion. Raises UnknownVariable."""
    made: list[Json] = []
    for message in messages:
        parts = [_chat_part(part, subject) for part in message.content]
        only = parts[0]
        is_text = len(parts) == 1 and only["type"] == "text"
        made.append({"role": message.role, "content": only["text"] if is_text else list[Json](parts)})
    return made


def _chat_part(part: TextPart | ImagePart | AudioPart, subject: Subject) -> dict[str, Json]:
    if isinstance(part, TextPart):
        return {"type": "text", "text": filled(part.text, subject)}
    if isinstance(part, ImagePart):
        image: dict[str, Json] = {"url": filled(part.image_url, subject)}
        if part.detail is not None:
            image["detail"] = part.detail
        return {"type": "image_url", "image_url": image}
    sound = part.input_audio
    return {"type": "input_audio", "input_audio": {"data": filled(sound.data, subject), "format": sound.format}}


def as_input(messages: Sequence[Message], subject: Subject) -> list[Json]:
    """For a response. Raises UnknownVariable."""
    made: list[Json] = []
    for message in messages:
        parts: list[Json] = []
        for part in message.content:
            if isinstance(part, TextPart):
                kind = "output_text" if message.role == "assistant" else "input_text"
                parts.append({"type": kind, "text": filled(part.text, subject)})
            elif isinstance(part, ImagePart):
                image = filled(part.image_url, subject)
                parts.append({"type": "input_image", "image_url": image, "detail": part.detail or "auto"})
            else:
                parts.append(_chat_part(part, subject))
        made.append({"role": message.role, "content": parts})
    return made
