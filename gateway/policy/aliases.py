"""What is wrong with the aliases of models.yaml."""

from collections.abc import Iterator

from gateway.core.document import Document
from gateway.policy.catalogue import ANY, AUTO, COLLECTION
from gateway.policy.faults import Named
from gateway.policy.models_file import ModelsFile


def alias_faults(file: ModelsFile, document: Document, named: Named) -> Iterator[str]:
    """Every fault as file:line:column: an alias that hides a name, one of another alias, one of nothing."""
    for alias, target in file.aliases.items():
        place = ("aliases", alias)
        collection = target.removeprefix(COLLECTION)
        if alias in file.models or alias in file.lines or alias in {AUTO, ANY} or alias.startswith(COLLECTION):
            yield document.fault(place, f"{alias!r} is already the name of something; an alias must have its own.")
        elif target in file.aliases:
            yield document.fault(place, f"{target!r} is an alias itself; name what it stands for.")
        elif collection != target and not named.collection(collection):
            yield document.fault(place, f"collection {collection!r} is not in knowledge.yaml.")
        elif collection == target and not named.model(target):
            yield document.fault(place, f"{target!r} is no model and no line of this file, and there is no '*'.")
