"""What of a faulty file is good by itself, so that its other faults need not wait until the first are mended."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Generic, TypeVar, get_origin

from pydantic import BaseModel, TypeAdapter, ValidationError

from gateway.core.document import Document, read_document, validate
from gateway.core.errors import BadConfiguration
from gateway.core.values import Value

File = TypeVar("File", bound=BaseModel)


class Doubt(Value, frozen=True):
    """Names that a faulty entry may have been meant to give: that they mean nothing cannot be said.

    words: whatever stands in such entries. is_all: the file, or a part of it, could not be read at all.
    """

    words: frozenset[str] = frozenset()
    is_all: bool = False

    def about(self, name: str) -> bool:
        """Whether the name may be one of these; `line@v2` is the line's."""
        return self.is_all or name in self.words or name.partition("@")[0] in self.words


class Read(Generic[File]):
    """One file as far as it is good.

    file: the whole, or of a faulty file the entries that are good by themselves. numbers: of lists, which entries.
    """

    def __init__(
        self,
        document: Document,
        file: File,
        faults: Iterable[str] = (),
        doubt: Doubt | None = None,
        numbers: Mapping[str, list[int]] | None = None,
    ) -> None:
        self.document = document
        self.file = file
        self.faults = list(faults)
        self.doubt = doubt or Doubt()
        self._numbers = numbers or {}

    def numbered(self, key: str) -> Iterator[tuple[int, Any]]:
        """The good entries of a list, each with its place in the file."""
        entries = getattr(self.file, key)
        return zip(self._numbers.get(key, range(len(entries))), entries, strict=True)


def read_file(text: bytes, name: str, model: type[File]) -> Read[File]:
    """The file with all its faults; never raises for what stands in it."""
    try:
        document = read_document(text, name)
    except BadConfiguration as bad:
        nothing = _salvaged(Document(name, {}, {}), model, [])
        return Read(nothing.document, nothing.file, bad.faults, Doubt(is_all=True))
    try:
        return Read(document, validate(document, model))
    except BadConfiguration as bad:
        return _salvaged(document, model, bad.faults)


def _salvaged(document: Document, model: type[File], faults: list[str]) -> Read[File]:
    """The good entries of each list and mapping of the file, and its other keys where they are good."""
    data = document.data if isinstance(document.data, dict) else {}
    words = set(_words([value for key, value in data.items() if key not in model.model_fields]))
    is_all = not isinstance(document.data, dict)
    good: dict[str, Any] = {}
    numbers: dict[str, list[int]] = {}
    for key, field in model.model_fields.items():
        annotation: Any = field.annotation
        adapter: TypeAdapter[Any] = TypeAdapter(annotation)
        if get_origin(annotation) is dict:
            is_all = is_all or not isinstance(data.get(key, None if field.is_required() else {}), dict)
            entries = data[key] if isinstance(data.get(key), dict) else {}
            good[key] = {}
            for name, entry in entries.items():
                if _is_good(adapter, {name: entry}):
                    good[key] |= adapter.validate_python({name: entry})
                else:
                    words |= {str(name), *_words(entry)}
        elif get_origin(annotation) is list:
            entries = data[key] if isinstance(data.get(key), list) else []
            numbers[key] = [number for number, entry in enumerate(entries) if _is_good(adapter, [entry])]
            good[key] = adapter.validate_python([entries[number] for number in numbers[key]])
        elif key in data and _is_good(adapter, data[key]):
            good[key] = adapter.validate_python(data[key])
    return Read(document, model.model_construct(**good), faults, Doubt(frozenset(words), is_all), numbers)


def _is_good(adapter: TypeAdapter[Any], written: object) -> bool:
    try:
        adapter.validate_python(written)
    except ValidationError:
        return False
    return True


def _words(data: object) -> Iterator[str]:
    """Every word that stands in a value, keys included."""
    if isinstance(data, str):
        yield data
    elif isinstance(data, list):
        for entry in data:
            yield from _words(entry)
    elif isinstance(data, dict):
        for key, entry in data.items():
            yield str(key)
            yield from _words(entry)
