"""Each mistake in a bundle is told where it is, and nothing else is."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from fakes.operator_bundles import (
    ANNOTATIONS,
    CRD,
    CSV,
    GONE,
    MUTATIONS,
    Mutation,
    change,
    check_told,
    good_bundle,
    lint_documents,
    mutations_of,
    write_bundle,
)

from builder.config.yamlfile import YamlFile
from builder.emit.kmm.documents import KubernetesObject
from builder.emit.kmm.version import Flavour
from builder.emit.operator.bundle_reading import OperatorBundle, read_bundle, read_definitions
from builder.emit.operator.lint import lint_bundle

if TYPE_CHECKING:
    from builder.emit.kmm.lint import LintResult

_GOOD = good_bundle()


_MODULES = ("lint", "bundle_rules", "csv_rules", "pod_rules", "access_rules", "crd_rules")
_lint = lint_documents


def _codes(result: LintResult) -> Counter[str]:
    return Counter(item.code for item in result.findings)


@pytest.mark.parametrize("flavour", list(Flavour))
def test_our_own_bundle_is_clean(flavour: Flavour, tmp_path: Path) -> None:
    """It has no icon, which versions.yaml cannot name."""
    result = _lint(tmp_path, good_bundle(flavour))
    assert (_codes(result), result.has_errors, result.objects) == ({"no-icon": 1}, False, 2)


def test_each_mistake_belongs_to_a_module_of_rules() -> None:
    told = [one for name in _MODULES for one in mutations_of(name)]
    assert [one.id for one in MUTATIONS if one not in told] == []


@pytest.mark.parametrize("mutation", mutations_of("lint"), ids=lambda mutation: mutation.id)
def test_what_a_folder_lacks_is_told(mutation: Mutation, tmp_path: Path) -> None:
    check_told(mutation, tmp_path)


def test_every_code_is_broken_by_something() -> None:
    """No check without a bundle that it refuses."""
    folder = Path(__file__).parents[3] / "builder" / "emit" / "operator"
    text = "".join((folder / f"{name}.py").read_text() for name in _MODULES)
    codes = set(re.findall(r'code="([a-z0-9-]+)"', text)) | set(
        re.findall(r'warn\(.*?, "([a-z-]+)", (?:f?"|words)', text)
    )
    assert len(codes) > 40
    broken_below = {"yaml", "csv-spec", "crd-spec", "upgrade", "upgrade-unknown"}
    assert codes - {mutation.ours for mutation in MUTATIONS} == broken_below


def test_places_are_lines_of_files(tmp_path: Path) -> None:
    documents = change(_GOOD, CSV, ("spec", "minKubeVersion"), "1.27")
    result = _lint(tmp_path, documents)
    (found,) = [item for item in result.findings if item.code == "min-kube-version"]
    lines = found.mistake.file.read_text().splitlines()
    assert '"minKubeVersion": "1.27"' in lines[found.mistake.line - 1]
    assert found.subject == "ClusterServiceVersion kmod-operator.v1.4.0"


def test_what_cannot_be_read_hides_nothing_else(tmp_path: Path) -> None:
    documents = change(_GOOD, "manifests/a.yaml", (), "a: [\n")
    documents = change(documents, CSV, ("spec", "provider"), GONE)
    found = _codes(_lint(tmp_path, documents))
    assert (found["yaml"], found["csv-words"]) == (1, 1)


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    write_bundle(tmp_path, _GOOD)
    secret = tmp_path / "secret"
    secret.write_text("kind: Secret\n")
    (tmp_path / "manifests" / "a.yaml").symlink_to(secret)
    (tmp_path / ANNOTATIONS).unlink()
    (tmp_path / ANNOTATIONS).symlink_to(secret)
    result = lint_bundle(read_bundle(tmp_path))
    assert _codes(result)["yaml"] == 2
    assert "Secret" not in str(result.others)


def test_two_csvs_are_one_too_many(tmp_path: Path) -> None:
    other = change(_GOOD, CSV, ("metadata", "name"), "kmod-operator.v1.5.0")[CSV]
    assert _codes(_lint(tmp_path, change(_GOOD, "manifests/other.yaml", (), other)))["many-csvs"] == 1


@pytest.mark.parametrize(("file", "code"), [(CSV, "csv-spec"), (CRD, "crd-spec")])
def test_an_object_without_a_spec_is_told(file: str, code: str, tmp_path: Path) -> None:
    assert _codes(_lint(tmp_path, change(_GOOD, file, ("spec",), GONE)))[code] == 1


def test_removed_apis_are_those_of_the_clusters_that_it_is_for(tmp_path: Path) -> None:
    budget = {"apiVersion": "policy/v1beta1", "kind": "PodDisruptionBudget", "metadata": {"name": "x"}}
    documents = change(_GOOD, "manifests/x.yaml", (), budget)
    for version, told in (("1.24", 0), ("1.25", 1), ("1.31", 1), ("", 1)):
        assert _codes(_lint(tmp_path, documents, version=version))["removed-api"] == told


def _older(folder: Path, documents: dict[str, Any]) -> Any:
    found, mistakes = read_definitions(write_bundle(folder, documents))
    assert mistakes == []
    return found


def test_an_upgrade_that_breaks_objects_is_told(tmp_path: Path) -> None:
    required = ("spec", "versions", 0, "schema", "openAPIV3Schema", "properties", "spec", "required")
    now = change(_GOOD, CRD, required, ["driver", "index", "monitoring"])
    result = _lint(tmp_path / "now", now, older=_older(tmp_path / "old", _GOOD))
    (found,) = [item for item in result.findings if item.code == "upgrade"]
    assert "monitoring was not required, and is now" in found.mistake.message
    assert (found.mistake.file, found.mistake.path) == (tmp_path / "now" / CRD, "spec.versions")
    assert "upgrade" not in _codes(_lint(tmp_path / "same", _GOOD, older=_older(tmp_path / "old", _GOOD)))


def test_a_kind_that_is_gone_is_told(tmp_path: Path) -> None:
    other = change(_GOOD, CRD, ("metadata", "name"), "other.example.com")
    result = _lint(tmp_path / "now", _GOOD, older=_older(tmp_path / "old", other))
    assert [item.mistake.message for item in result.findings if item.code == "upgrade"] == [
        "the kind other.example.com is gone: objects of it would go with it"
    ]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("spec",), 5), (("spec", "scope"), None), (("spec", "versions"), "x"), (("spec", "versions", 0), []),
        (("spec", "versions", 0, "schema"), "x"),
        (("spec", "versions", 0, "schema", "openAPIV3Schema", "properties"), []),
        (("spec", "versions", 0, "schema", "openAPIV3Schema", "required"), {"a": 1}),
        (("spec", "versions", 0, "schema", "openAPIV3Schema", "properties", "spec", "enum"), 7),
        (("spec", "versions", 0, "schema", "openAPIV3Schema", "properties", "spec", "minProperties"), "x"),
    ],
)  # fmt: skip
def test_what_cannot_be_compared_is_not_compared(path: Any, value: Any, tmp_path: Path) -> None:
    odd = change(_GOOD, CRD, path, value)
    for number, (now, before) in enumerate(((odd, _GOOD), (_GOOD, odd))):
        older = _older(tmp_path / f"old{number}", before)
        found = _codes(_lint(tmp_path / f"now{number}", now, older=older))
        assert (found["upgrade-unknown"], found["upgrade"]) == (1, 0)


_ODD: tuple[Any, ...] = (None, 5, "x", [], {}, [5], {"x": 5}, True, [None], [[]], {"": []}, "\u2028", 10**40)


def _paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, one in inner for found in _paths(one, (*path, key)))]


@pytest.mark.parametrize("number", range(len(_ODD)))
def test_a_wrong_type_anywhere_is_no_end(number: int) -> None:
    """Every tenth place of the files, each with another one for every odd value."""
    for file in (CSV, CRD, ANNOTATIONS):
        for place in _paths(_GOOD[file])[1 + number % 10 :: 10]:
            documents = change(_GOOD, file, place, _ODD[number])
            read = {name: YamlFile(file=Path(name), data=data) for name, data in documents.items()}
            notes = read.pop(ANNOTATIONS)
            objects = [KubernetesObject(document=item, place=(), data=item.data) for item in read.values()]
            lint_bundle(OperatorBundle(folder=Path("x"), objects=objects, annotations=[notes]), older=objects)
