"""Rules of a Module's container: images, mappings, modprobe, signing in the cluster."""

from __future__ import annotations

from typing import Any

import pytest
from fakes.kmm import CONTAINER, SECRETS, change_module, codes_of, good_module

_M = f"{CONTAINER}/kernelMappings/0"
_R = f"{CONTAINER}/kernelMappings/1"


@pytest.mark.parametrize(
    ("path", "value", "code", "severity"),
    [
        (f"{CONTAINER}/kernelMappings", [], "no-mappings", "error"),
        (f"{CONTAINER}/kernelMappings", ..., "missing", "error"),
        (f"{CONTAINER}/version", "1.0+x", "version", "error"),
        (f"{_M}/regexp", "^x$", "mapping", "error"),
        (f"{_M}/literal", ..., "mapping", "error"),
        (f"{_M}/literal", "5.14\f", "control-character", "error"),
        (f"{_M}/containerImage", ..., "missing", "error"),
        (f"{_M}/containerImage", "quay.test/org/drv", "image", "error"),
        (f"{_M}/containerImage", "registry:5000/drv", "image", "error"),
        (f"{_M}/containerImage", "registry:5000/drv:1", "not-pinned", "warning"),
        (f"{CONTAINER}/imagePullPolicy", "Always", "pull-policy", "warning"),
        (f"{_R}/regexp", "^(?=5).*$", "regexp", "error"),
        (f"{_R}/regexp", r"^(5)\1$", "regexp", "error"),
        (f"{_R}/regexp", "^.+$", "catch-all", "warning"),
        (f"{_R}/regexp", ".*", "catch-all", "warning"),
        (f"{_R}/regexp", r"el9_4\.x86_64", "unanchored", "warning"),
        (f"{_R}/regexp", r"^.+\fc37\.x86_64$", "control-character", "error"),
        (f"{_R}/literal", "5.14.0-427.68.1.el9_4.x86_64", "mapping", "error"),
        (f"{CONTAINER}/modprobe/moduleName", ..., "modprobe", "error"),
        (f"{CONTAINER}/modprobe/moduleName", "drv.ko", "modprobe", "error"),
        (f"{CONTAINER}/modprobe/rawArgs", {"load": ["a"]}, "modprobe", "error"),
        (f"{CONTAINER}/modprobe/modulesLoadingOrder", ["drv"], "loading-order", "error"),
        (f"{CONTAINER}/modprobe/modulesLoadingOrder", ["a", "drv"], "loading-order", "error"),
        (f"{CONTAINER}/modprobe/modulesLoadingOrder", ["drv", "a", "a"], "loading-order", "error"),
        (f"{CONTAINER}/modprobe/parameters", ["debug"], "parameter", "warning"),
        (f"{CONTAINER}/inTreeModuleToRemove", "x", "deprecated", "warning"),
        (f"{CONTAINER}/sign", {**SECRETS, "unsignedImage": "a/b:c"}, "files-to-sign", "error"),
        (f"{CONTAINER}/sign", {**SECRETS, "unsignedImage": "a/b:c", "filesToSign": ["/lib/x.ko"]}, "files-to-sign", "error"),
        (f"{CONTAINER}/sign", {**SECRETS, "filesToSign": ["/opt/lib/x.ko"]}, "unsigned-image", "error"),
        (f"{CONTAINER}/sign", {"keySecret": {"name": "k"}}, "missing", "error"),
        (f"{CONTAINER}/build", {"dockerfileConfigMap": {"name": "x"}, "buildArgs": [{"name": "A"}]}, "missing", "error"),
        (f"{_R}/regexp", r"^5\.14\C$", "regexp", "error"),
        (f"{_M}/containerImage", "", "image", "error"),
        (f"{CONTAINER}/modprobe/rawArgs", {"load": []}, "modprobe", "error"),
        (f"{CONTAINER}", {**good_module()["spec"]["moduleLoader"]["container"], "inTreeModuleToRemove": "x", "inTreeModulesToRemove": []}, "in-tree", "error"),
    ],
)  # fmt: skip
def test_each_mistake_is_found(path: str, value: Any, code: str, severity: str) -> None:
    assert codes_of(change_module(path, value)).get(code) == severity


def test_a_normalised_path_is_no_path_for_kernels_with_a_plus() -> None:
    sign = {**SECRETS, "unsignedImage": "a/b:c", "filesToSign": ["/opt/lib/modules/${KERNEL_FULL_VERSION}/x.ko"]}
    assert codes_of(change_module(f"{CONTAINER}/sign", sign)) == {"normalised-path": "warning"}


def test_a_mapping_that_is_never_used_is_told() -> None:
    data = good_module()
    mappings = data["spec"]["moduleLoader"]["container"]["kernelMappings"]
    mappings.reverse()
    assert codes_of(data) == {"shadowed": "warning"}
