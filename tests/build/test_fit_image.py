"""For which kernel an image is, and where the facts to prove it come from."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from fakes.samples import KERNEL, LABELS, Sample, image_entries, read_sample_image

from builder.build.fit_image import facts_from_lock, find_kernel
from builder.errors import LockFileError, UsageError
from builder.image.labels import KERNEL_LABEL
from builder.kernel import parse_kernel_version
from builder.plan.project import open_project

if TYPE_CHECKING:
    from pathlib import Path


def test_an_images_kernel_is_that_of_its_label_or_of_its_folder(tmp_path: Path) -> None:
    entries = image_entries({"extra/demo.ko": Sample().write()})
    assert find_kernel(read_sample_image(tmp_path / "a", [entries])).raw == KERNEL
    labelled = read_sample_image(tmp_path / "b", [entries], LABELS | {KERNEL_LABEL: "6.1.0-9-amd64"})
    assert find_kernel(labelled).raw == "6.1.0-9-amd64"


def test_an_image_that_does_not_say_for_which_kernel_it_is(tmp_path: Path) -> None:
    two = [*image_entries({"a.ko": b""}), *image_entries({"a.ko": b""}, "6.1.0-9-amd64")[-2:-1]]
    with pytest.raises(UsageError, match="its modules lie in 2 kernels' folders"):
        find_kernel(read_sample_image(tmp_path / "a", [two]))
    with pytest.raises(UsageError, match="it has nothing in"):
        find_kernel(read_sample_image(tmp_path / "b", [[entry for entry in two if "lib/modules" not in entry.path]]))


def test_a_kernel_that_no_source_has(project_dir: Path) -> None:
    with ExitStack() as held, pytest.raises(LockFileError, match="no kernel source of versions.lock.yaml has kernel"):
        facts_from_lock(open_project(project_dir), parse_kernel_version("6.1.0-77-amd64"), held)
