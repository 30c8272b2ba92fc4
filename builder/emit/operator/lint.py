"""Looks through a bundle that somebody wrote: what clusters, catalogs and certification refuse, and what is not meant.

Each family of rules has a module: ``bundle_rules`` (its parts fit each other), ``csv_rules`` (ClusterServiceVersion),
``pod_rules`` (what runs), ``access_rules`` (what it may), ``crd_rules`` (its kinds, and whether they may take the place
of older ones). Pure.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from builder.emit.kmm.documents import as_mapping
from builder.emit.kmm.lint import LintFinding, LintResult
from builder.emit.kmm.problem import Problem, Severity
from builder.emit.operator.access_rules import check_role
from builder.emit.operator.bundle_rules import check_annotations, check_needs, check_object, check_parts
from builder.emit.operator.crd_rules import check_conversion, check_definition, check_upgrade
from builder.emit.operator.csv_rules import check_csv
from builder.errors import Mistake, format_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from builder.config.yamlfile import YamlFile
    from builder.emit.kmm.documents import KubernetesObject
    from builder.emit.operator.bundle_reading import OperatorBundle

CSV, CRD = "ClusterServiceVersion", "CustomResourceDefinition"
_ROLES = ("Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding")


def lint_bundle(
    bundle: OperatorBundle,
    *,
    older: Sequence[KubernetesObject] = (),
    mistakes: Sequence[Mistake] = (),
    version: str = "",
) -> LintResult:
    """Return what is wrong with a bundle.

    Args:
        bundle: what was read.
        older: objects of the release before, of which definitions of kinds are compared.
        mistakes: what was wrong with those when they were read.
        version: of Kubernetes, ``1.31``: only what is removed until then is told; empty: whatever was removed.
    """
    findings = [_unreadable(mistake) for mistake in (*bundle.mistakes, *mistakes)]
    csvs = [item for item in bundle.objects if item.kind == CSV]
    definitions = [item for item in bundle.objects if item.kind == CRD]
    for item in bundle.objects:
        problems = [*check_object(item, version)]
        if item.kind == CSV:
            problems += check_csv(item, bundle.objects)
        elif item.kind == CRD:
            problems += [*check_definition(item.data), *check_conversion(item.data, csvs)]
        elif item.kind in _ROLES:
            problems += check_role(item)
        findings += _place(problems, item)
    for one, problem in check_parts(bundle.objects):
        findings += _place([problem], one)
    findings += _check_metadata(bundle, csvs)
    for now, problem in check_upgrade([item for item in older if item.kind == CRD], definitions):
        findings += _place([problem], now or next(iter(csvs), None)) if now or csvs else ()
    findings += _about_folder(bundle, csvs)
    others = Counter(item.kind or "objects without a kind" for item in bundle.objects if item.kind not in {CSV, CRD})
    return LintResult(objects=len(csvs) + len(definitions), findings=tuple(findings), others=others)


def _check_metadata(bundle: OperatorBundle, csvs: Sequence[KubernetesObject]) -> Iterator[LintFinding]:
    names = [item.name for item in csvs]
    for document in bundle.annotations[:1]:
        yield from _place_in(document, check_annotations(document.data, names))
    for document in bundle.needs:
        yield from _place_in(document, check_needs(document.data))


def _about_folder(bundle: OperatorBundle, csvs: Sequence[KubernetesObject]) -> Iterator[LintFinding]:
    """Say what a folder lacks: there is no line of it."""
    hidden = {mistake.file.name for mistake in bundle.mistakes}
    if not csvs and not hidden:
        yield _of_folder(bundle, "no-csv", "manifests", f"has no {CSV}: nothing says what is installed")
    if len(csvs) > 1:
        names = ", ".join(sorted(item.name for item in csvs))
        yield _of_folder(bundle, "many-csvs", "manifests", f"has {len(csvs)} of {CSV} ({names}), and one is installed")
    if not bundle.annotations and "annotations.yaml" not in hidden:
        words = "is not there or empty: nothing says of which package and channel this is"
        yield _of_folder(bundle, "no-annotations", "metadata/annotations.yaml", words)


def _of_folder(bundle: OperatorBundle, code: str, name: str, message: str) -> LintFinding:
    mistake = Mistake(file=bundle.folder / name, line=1, column=1, path="", message=message)
    return LintFinding(severity=Severity.ERROR, code=code, subject="", field="", mistake=mistake)


def _unreadable(mistake: Mistake) -> LintFinding:
    return LintFinding(severity=Severity.ERROR, code="yaml", subject="", field=mistake.path, mistake=mistake)


def _place(problems: Iterable[Problem], item: KubernetesObject | None) -> Iterator[LintFinding]:
    if item is None:
        return
    for problem in problems:
        yield LintFinding(
            severity=problem.severity,
            code=problem.code,
            subject=f"{item.kind} {item.name}".strip(),
            field=format_path(problem.path),
            mistake=item.mistake(problem.path, problem.message, at_key=problem.code == "unknown-field"),
        )


def _place_in(document: YamlFile, problems: Iterable[Problem]) -> Iterator[LintFinding]:
    for problem in problems:
        yield LintFinding(
            severity=problem.severity,
            code=problem.code,
            subject=str(as_mapping(document.data).get("kind") or ""),
            field=format_path(problem.path),
            mistake=document.mistake(problem.path, problem.message),
        )
