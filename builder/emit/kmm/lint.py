"""Looks through files of YAML for objects of KMM, and at what they need of each other. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from builder.emit.kmm.documents import KubernetesObject, as_mapping, find_objects
from builder.emit.kmm.fields import SPECS
from builder.emit.kmm.mapping import choose_mapping, image_of
from builder.emit.kmm.problem import Problem, Severity
from builder.emit.kmm.references import check_references, check_secret, know_neighbours
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
    """How many objects of KMM were looked at, what is wrong with them, and how many others there are, by kind."""

    objects: int
    findings: tuple[LintFinding, ...]
    others: Mapping[str, int] = field(default_factory=dict)

    @property
    def has_errors(self) -> bool:
        return any(finding.severity is Severity.ERROR for finding in self.findings)

    @property
    def is_empty(self) -> bool:
        """Whether there was nothing to judge: that is not the same as nothing wrong."""
        return not self.objects and not self.findings


# What KMM makes itself: nobody writes it, and nobody is to be told what is wrong with it.
_MADE_BY_KMM = frozenset({"NodeModulesConfig", "ModuleImagesConfig", "ModuleBuildSignConfig", "BootModuleConfig"})
_GROUP = "kmm.sigs.x-k8s.io"


def lint(
    documents: Sequence[YamlFile], version: KmmVersion, flavour: Flavour, *, mistakes: Sequence[Mistake] = ()
) -> LintResult:
    """Return what is wrong with the objects of KMM in documents, wherever they stand; all others are looked up only.

    Args:
        documents: what was read.
        version: of KMM in the clusters.
        flavour: OpenShift's operator or upstream's.
        mistakes: what was wrong when the files were read; they are findings, too.
    """
    known = [item for document in documents for item in find_objects(document)]
    neighbours = know_neighbours(known)
    findings = [_unreadable(mistake) for mistake in mistakes]
    others: Counter[str] = Counter()
    objects = 0
    for item in known:
        if item.kind in SPECS:
            objects += 1
            problems = [*find_problems(item.data, version, flavour), *check_references(item, neighbours)]
        else:
            problems = [*_check_kind(item), *(check_secret(item) if item.kind == "Secret" else ())]
            others[item.kind or "objects without a kind"] += 1
        findings += [_place(problem, item) for problem in problems]
    return LintResult(objects=objects, findings=tuple(findings), others=others)


def _unreadable(mistake: Mistake) -> LintFinding:
    return LintFinding(severity=Severity.ERROR, code="yaml", subject="", field=mistake.path, mistake=mistake)


def _check_kind(item: KubernetesObject) -> Iterator[Problem]:
    """Check the kind of what is no object of KMM, but was probably meant to be one."""
    near = next((kind for kind in SPECS if kind.lower() == item.kind.lower()), None)
    is_ours = item.group == _GROUP or item.group.endswith(f".{_GROUP}")
    if near or (is_ours and item.kind not in _MADE_BY_KMM):
        hint = f"did you mean {near!r}?" if near else f"there are {', '.join(SPECS)}"
        yield Problem(path=("kind",), code="kind-name", message=f"KMM has no kind {item.kind!r}: {hint}")


def _place(problem: Problem, item: KubernetesObject) -> LintFinding:
    return LintFinding(
        severity=problem.severity,
        code=problem.code,
        subject=f"{item.kind} {item.name}".strip(),
        field=_last(problem.path),
        mistake=item.mistake(problem.path, problem.message, at_key=problem.code == "unknown-field"),
    )


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
    for item in (item for document in documents for item in find_objects(document) if item.kind == "Module"):
        spec = as_mapping(as_mapping(item.data).get("spec"))
        container = as_mapping(as_mapping(spec.get("moduleLoader")).get("container"))
        if not isinstance(container.get("kernelMappings"), list):
            continue
        mappings = [mapping for mapping in container["kernelMappings"] if isinstance(mapping, dict)]
        whole = {**container, "kernelMappings": mappings}
        for kernel in kernels:
            number = choose_mapping(mappings, kernel)
            image = image_of(whole, kernel, name=item.name, namespace=item.namespace)
            choices.append(ImageChoice(module=item.name, kernel=kernel, mapping=number, image=image or ""))
    return choices


def _last(path: tuple[str | int, ...]) -> str:
    """``filesToSign[0]`` of spec.moduleLoader.container.sign.filesToSign[0]."""
    names = [number for number, part in enumerate(path) if isinstance(part, str)]
    return format_path(path[names[-1] :]) if names else ""
