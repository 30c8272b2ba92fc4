"""Looks through files of YAML for objects of KMM, and at what they need of each other. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from builder.emit.kmm.fields import SPECS
from builder.emit.kmm.mapping import choose_mapping, image_of
from builder.emit.kmm.problem import Problem, Severity
from builder.emit.kmm.rules import find_problems
from builder.errors import format_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from builder.config.yamlfile import YamlFile
    from builder.emit.kmm.version import Flavour, KmmVersion
    from builder.errors import Mistake


@dataclass(frozen=True, slots=True, kw_only=True)
class LintFinding:
    """A problem with its place in a file, and the object that has it."""

    severity: Severity
    code: str
    subject: str
    field: str
    """The last part of its path, for people."""
    mistake: Mistake


@dataclass(frozen=True, slots=True, kw_only=True)
class LintResult:
    """How many objects of KMM were looked at, and what is wrong with them."""

    objects: int
    findings: tuple[LintFinding, ...]

    @property
    def has_errors(self) -> bool:
        return any(finding.severity is Severity.ERROR for finding in self.findings)


def lint(documents: Sequence[YamlFile], version: KmmVersion, flavour: Flavour) -> LintResult:
    """Return what is wrong with the objects of KMM in documents; all other objects are only looked up."""
    objects = [document for document in documents if _kind(document) in SPECS]
    known = {(_kind(document), _name(document)): document for document in documents}
    findings = []
    for document in objects:
        problems = [*find_problems(document.data, version, flavour), *_check_references(document.data, known)]
        for problem in problems:
            is_missing = problem.code == "unknown-field"
            mistake = document.mistake(problem.path, problem.message, at_key=is_missing)
            subject = f"{_kind(document)} {_name(document)}".strip()
            findings.append(
                LintFinding(
                    severity=problem.severity,
                    code=problem.code,
                    subject=subject,
                    field=_last(problem.path),
                    mistake=mistake,
                )
            )
    return LintResult(objects=len(objects), findings=tuple(findings))


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageChoice:
    """The image that a Module gives a kernel; empty where no mapping fits, so that its nodes are left alone."""

    module: str
    kernel: str
    mapping: int | None
    image: str


def choose_images(documents: Sequence[YamlFile], kernels: Sequence[str]) -> list[ImageChoice]:
    """Return which image KMM would take for each kernel, for every Module that has mappings."""
    choices = []
    for document in documents:
        spec = _mapping(_mapping(document.data).get("spec")) if _kind(document) == "Module" else {}
        container = _mapping(_mapping(spec.get("moduleLoader")).get("container"))
        if not isinstance(container.get("kernelMappings"), list):
            continue
        mappings = [item for item in container["kernelMappings"] if isinstance(item, dict)]
        namespace = str(_mapping(_mapping(document.data).get("metadata")).get("namespace") or "")
        for kernel in kernels:
            number = choose_mapping(mappings, kernel)
            image = image_of(
                {**container, "kernelMappings": mappings}, kernel, name=_name(document), namespace=namespace
            )
            choices.append(ImageChoice(module=_name(document), kernel=kernel, mapping=number, image=image or ""))
    return choices


def _last(path: tuple[str | int, ...]) -> str:
    """``filesToSign[0]`` of spec.moduleLoader.container.sign.filesToSign[0]."""
    names = [number for number, part in enumerate(path) if isinstance(part, str)]
    return format_path(path[names[-1] :]) if names else ""


def _mapping(value: Any) -> Mapping[str, Any]:
    """Return what is a mapping; anything else that somebody wrote in its place has nothing in it."""
    return value if isinstance(value, dict) else {}


def _kind(document: YamlFile) -> str:
    return str(_mapping(document.data).get("kind") or "")


def _name(document: YamlFile) -> str:
    return str(_mapping(_mapping(document.data).get("metadata")).get("name") or "")


def _check_references(data: Mapping[str, Any], known: Mapping[tuple[str, str], YamlFile]) -> Iterator[Problem]:
    """Check the keys of Secrets and ConfigMaps that are in the same files; others are not ours to know."""
    for path, kind, name, key in _references(data.get("spec"), ("spec",)):
        document = known.get((kind, name))
        if document is None:
            continue
        there = {*_mapping(document.data.get("data")), *_mapping(document.data.get("stringData"))}
        if key not in there:
            message = f"{kind} {name} has no key {key!r}, only {', '.join(sorted(there)) or 'none'}"
            yield Problem(path=path, code="reference", message=message)


_WANTED = {
    "dockerfileConfigMap": ("ConfigMap", "dockerfile"),
    "keySecret": ("Secret", "key"),
    "certSecret": ("Secret", "cert"),
}


def _references(value: Any, path: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], str, str, str]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            if name in _WANTED and isinstance(inner, dict):
                kind, key = _WANTED[name]
                yield (*path, name), kind, str(inner.get("name")), key
            yield from _references(inner, (*path, name))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _references(inner, (*path, number))
