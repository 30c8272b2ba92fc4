"""Device plugins: what only one can do, and what the kernel would not take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from fakes.components import write_component
from fakes.versions_yaml import find_mistakes, load

if TYPE_CHECKING:
    from pathlib import Path

_PLUGIN = {"driver": "demo", "resource": "drivers.example.com/demo"}


@pytest.mark.parametrize("mode", ["DRA", "Auto"])
@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"replicas": 2}, "replicas: only a device plugin shares devices: set mode to DevicePlugin, not"),
        ({"injection": "nodes"}, "injection: only a device plugin gives devices without CDI"),
        ({"managed_by": "kmm"}, "managed_by: what KMM runs is a device plugin"),
        ({"resource": f"{'a' * 60}.example/b"}, "resource: the driver's name, b.a"),
    ],
)
def test_what_only_a_device_plugin_can_is_refused_with_its_place(
    project_dir: Path, mode: str, more: dict[str, Any], words: str
) -> None:
    write_component(project_dir, device_plugin={**_PLUGIN, **more})
    assert load(project_dir).components
    write_component(project_dir, device_plugin={**_PLUGIN, **more, "mode": mode})
    (mistake,) = find_mistakes(project_dir)
    assert mistake.startswith(f"components[0].device_plugin: {words}")


def test_a_resource_whose_socket_the_kernel_would_not_take_is_refused(project_dir: Path) -> None:
    long = f"{'a' * 60}.exam/{'b' * 4}"
    write_component(project_dir, device_plugin={**_PLUGIN, "resource": long})
    assert load(project_dir).components
    write_component(project_dir, device_plugin={**_PLUGIN, "resource": long, "replicas": 2})
    (mistake,) = find_mistakes(project_dir)
    assert ".shared has 77 characters; kubelet's folder takes 70" in mistake
