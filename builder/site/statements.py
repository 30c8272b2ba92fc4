"""What is attested of a cell's image, as people read it: provenance, bill of materials, tests. Pure.

It is made of the very documents that ``publish`` signs (``builder.publish.attest``): nothing is told here that is not
attested there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from builder.errors import printable
from builder.foreign import read_json
from builder.publish.attest.sbom import PREFIX, SBOM_PREDICATE
from builder.publish.attest.statements import PROVENANCE_PREDICATE, TEST_PREDICATE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

KINDS = {"provenance": PROVENANCE_PREDICATE, "sbom": SBOM_PREDICATE, "tests": TEST_PREDICATE}
"""By the word in a file's name; the fourth kind says only that the image is signed."""
_IN_WORDS = {
    "buildType": "kind of build", "cellKey": "key", "toolkitId": "toolkit", "baseId": "base image", "format": "format",
    "recipeDigest": "recipe", "moduleSigners": "signers of modules", "compiledFor": "compiled for",
    "signedBy": "signed by",
}  # fmt: skip
_SPDX_LIKE = ("name", "id", "expression")


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependency:
    """Something that went into a build: its name, what it was for, where it is served, its digest with algorithm."""

    name: str
    role: str
    uri: str
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A component of the bill of materials; ``is_inside`` where it is in the image, and not only at its build."""

    name: str
    kind: str
    version: str
    license: str
    sha256: str
    is_inside: bool
    where: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PassedTest:
    name: str
    facts: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """The statements of an image: facts of its build, what went in, what is in it, and which tests it passed.

    ``files`` are the statements themselves, by the word of ``KINDS``.
    """

    facts: tuple[tuple[str, str], ...]
    dependencies: tuple[Dependency, ...]
    parts: tuple[Part, ...]
    tests: tuple[PassedTest, ...]
    files: Mapping[str, str]

    @property
    def inside(self) -> tuple[Part, ...]:
        return tuple(part for part in self.parts if part.is_inside)

    @property
    def at_build(self) -> tuple[Part, ...]:
        return tuple(part for part in self.parts if not part.is_inside)


def tell_statements(by_kind: Mapping[str, bytes]) -> Told:
    """Return statements as ``make_statements`` makes them, by predicate type, for people."""
    predicates = {word: read_json(by_kind[kind], "statement")["predicate"] for word, kind in KINDS.items()}
    provenance = predicates["provenance"]
    return Told(
        facts=tuple(_tell_build(provenance)),
        dependencies=tuple(map(_tell_dependency, provenance["buildDefinition"]["resolvedDependencies"])),
        parts=tuple(map(_tell_part, predicates["sbom"].get("components", ()))),
        tests=tuple(
            PassedTest(name=item["name"], facts=tuple(_in_words(item["annotations"])))
            for item in predicates["tests"]["configuration"]
        ),
        files={word: f"{by_kind[kind].decode()}\n" for word, kind in KINDS.items()},
    )


def _tell_build(provenance: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    definition, run = provenance["buildDefinition"], provenance["runDetails"]
    yield "kind of build", definition["buildType"]
    yield "built by", run["builder"]["id"]
    yield from ((f"{name} (version)", version) for name, version in run["builder"]["version"].items())
    known = run["metadata"]
    yield "run", known.get("invocationId", "not known: its evidence was lost, and it was proven again")
    yield from (
        (word, known[key]) for word, key in (("begun", "startedOn"), ("finished", "finishedOn")) if key in known
    )
    yield from _in_words(definition["externalParameters"])
    yield from _in_words(definition["internalParameters"])


def _in_words(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield facts that are not empty, lists and mappings in one line."""
    for name, value in facts.items():
        if isinstance(value, dict):
            yield from _in_words(value)
        elif text := ", ".join(map(str, value)) if isinstance(value, list) else str(value):
            yield _IN_WORDS.get(name, name), printable(text)


def _tell_dependency(item: Mapping[str, Any]) -> Dependency:
    algorithm, digest = next(iter(item["digest"].items()), ("", ""))
    return Dependency(
        name=printable(item["name"]), role=item.get("annotations", {}).get("role", item["name"]),
        uri=printable(item.get("uri", "")), digest=f"{algorithm}:{digest}",
    )  # fmt: skip


def _tell_part(item: Mapping[str, Any]) -> Part:
    said = {entry["name"]: entry.get("value", "") for entry in item.get("properties", ())}
    return Part(
        name=printable(item["name"]), kind=said.get(f"{PREFIX}:role") or item["type"], version=item.get("version", ""),
        license=_license_of(item.get("licenses", ())), is_inside=item.get("scope") != "excluded",
        sha256=next((entry["content"] for entry in item.get("hashes", ())), ""),
        where=printable(item.get("purl") or said.get(f"{PREFIX}:uri", "")),
    )  # fmt: skip


def _license_of(licenses: Sequence[Mapping[str, Any]]) -> str:
    words = (entry.get("license", entry) for entry in licenses)
    return printable(" or ".join(str(item[key]) for item in words for key in _SPDX_LIKE if item.get(key)))
