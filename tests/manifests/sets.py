"""Short spellings for tests: a set of manifests from text, and what is wrong with it."""

from manifests.documents import Document, documents
from manifests.kinds import Object
from manifests.load import Invalid, Problem, load

MACHINE = "apiVersion: ggnet/v1\nkind: Machine\n"


def machine(spec: str, name: str = "pc07") -> str:
    return f"{MACHINE}metadata: {{name: {name}}}\nspec: {spec}\n"


def objects(text: str) -> tuple[Object, ...]:
    return load({"m.yaml": text.encode()}).objects


def refused(text: str | bytes, file: str = "m.yaml") -> tuple[Problem, ...]:
    """The problems of a set that must have some."""
    try:
        loaded = load({file: text.encode() if isinstance(text, str) else text})
    except Invalid as invalid:
        return invalid.problems
    raise AssertionError(f"taken: {loaded.objects}")


def values(text: str) -> list[object]:
    return [one.value for one in found(text)]


def found(text: str) -> list[Document]:
    return list(documents(text.encode()))
