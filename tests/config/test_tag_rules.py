"""Tags that publish.tags gives to cells."""

from __future__ import annotations

import pytest

from builder.config.tag_rules import image_names, normalize_tag
from builder.errors import UsageError
from builder.kernel import parse_kernel_version


@pytest.mark.parametrize(
    ("version", "kernel", "rules", "tags"),
    [
        ("1.4.0", "5.14.0-427.68.1.el9_4.x86_64+rt", ["version-kernel"], ["1.4.0-5.14.0-427.68.1.el9_4.x86_64_rt"]),
        ("1.4.0+b7", "5.14.0-427.68.1.el9_4.aarch64+64k", ["kernel", "version-kernel"],
         ["5.14.0-427.68.1.el9_4.aarch64_64k", "1.4.0_b7-5.14.0-427.68.1.el9_4.aarch64_64k"]),
        ("2.0.0-rc.1", "6.12.117+deb12-amd64", ["version-kernel"], ["2.0.0-rc.1-6.12.117_deb12-amd64"]),
    ],
)  # fmt: skip
def test_tags(version: str, kernel: str, rules: list[str], tags: list[str]) -> None:
    names = image_names("quay.io/org/name", "name", version, parse_kernel_version(kernel), rules)
    assert [name.partition(":")[2] for name in names] == tags


def test_an_ending_ends_every_tag_and_counts() -> None:
    kernel = parse_kernel_version("6.1.0-9-amd64")
    names = image_names("a/b", "b", "1.0.0", kernel, ["version-kernel", "{variant}-x"], suffix="-dev")
    assert names == ("a/b:1.0.0-6.1.0-9-amd64-dev", "a/b:standard-x-dev")
    with pytest.raises(UsageError, match="128 are allowed"):
        image_names("a/b", "b", "x" * 110, kernel, ["version-kernel"], suffix="-developers")


def test_a_tag_that_is_too_long_is_an_error_before_anything_is_built() -> None:
    with pytest.raises(UsageError, match="128 are allowed"):
        image_names("a/b", "b", f"1.0.0-{'x' * 120}", parse_kernel_version("6.1.0-9-amd64"), ["version-kernel"])
    assert normalize_tag("a+b/c d") == "a_b_c_d"
