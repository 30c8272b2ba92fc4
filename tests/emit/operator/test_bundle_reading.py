"""A bundle is read as far as it can be; what is none is said to be so."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fakes.operator_bundles import CRD, good_bundle, write_bundle

from builder.certify import bundle_files
from builder.emit.operator.bundle_reading import read_bundle, read_definitions
from builder.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path


def test_what_is_in_it(tmp_path: Path) -> None:
    write_bundle(tmp_path, {**good_bundle(), "metadata/dependencies.yaml": {"dependencies": []}})
    (tmp_path / "manifests" / "README.md").write_text("# no manifest")
    bundle = read_bundle(tmp_path)
    assert {item.kind for item in bundle.objects} > {"ClusterServiceVersion", "CustomResourceDefinition", "Service"}
    assert (len(bundle.annotations), len(bundle.needs), len(bundle.mistakes)) == (1, 1, 0)


def test_a_folder_that_is_no_bundle_is_told(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(UsageError, match="is no bundle of an operator: .*manifests cannot be read"):
            read_bundle(folder)


def test_too_many_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_bundle(tmp_path, good_bundle())
    monkeypatch.setattr(bundle_files, "_MOST_FILES", 1)
    with pytest.raises(UsageError, match="a bundle has 1 at most"):
        read_bundle(tmp_path)


def test_older_definitions_are_a_bundle_a_folder_or_a_file(tmp_path: Path) -> None:
    write_bundle(tmp_path, good_bundle())
    for place in (tmp_path, tmp_path / "manifests", tmp_path / CRD):
        found, mistakes = read_definitions(place)
        assert (mistakes, "CustomResourceDefinition" in {item.kind for item in found}) == ([], True)
