"""How long it takes to find out which kernels 600 releases run, from a real registry server on this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml
from fakes.openshift_world import CONTENT, World
from integration.qemu.test_openshift import serve_graph
from integration.registry_server import RegistryServer, serve_registry

from bench.template import read_settings

_ROOT = Path(__file__).parents[2]
_RELEASES = 600
_KERNELS = 250
_MINORS = [f"4.{minor}" for minor in range(14, 23)]
# A payload has about 180 components (tests/data/openshift: 4.12.0 has 183).
_COMPONENTS = 180
_SKOPEO_RELEASES = 20


def measure_discovery() -> dict[str, Any]:
    """Discover with an empty cache and lock, then again, then with the lock alone; and copy the same images with skopeo."""
    with tempfile.TemporaryDirectory(prefix="kmodsmith-discover-") as scratch:
        folder = Path(scratch)
        with serve_registry(folder) as server:
            world = World(host=server.host)
            payloads, toolkits = _fill(world)
            server.upload(world)
            with serve_graph(world) as graph:
                project = _write_project(folder, server, graph)
                cold = _discover(project, folder / "cache")
                warm = _discover(project, folder / "cache")
                elsewhere = _discover(project, folder / "another-cache")
            skopeo_s = _copy_with_skopeo(server, folder, payloads[:_SKOPEO_RELEASES], toolkits[:_SKOPEO_RELEASES])
            size = (project / "versions.lock.yaml").stat().st_size
        per_release_s = cold["wall_s"] / _RELEASES
        return {
            "releases": _RELEASES,
            "kernels": _KERNELS,
            "server": server.kind,
            "cold": cold,
            "warm": warm,
            "warm_lock_without_cache": elsewhere,
            "lock_bytes": size,
            "cold_ms_per_release": round(1000 * per_release_s, 1),
            "skopeo_ms_per_release": round(1000 * skopeo_s / _SKOPEO_RELEASES, 1),
            "skopeo_takes_times": round(skopeo_s / _SKOPEO_RELEASES / per_release_s, 1),
        }


def _fill(world: World) -> tuple[list[str], list[str]]:
    payloads, toolkits = [], []
    kernels = [f"5.14.0-{284 + number}.{number % 9}.1.el9_4.x86_64" for number in range(_KERNELS)]
    made = {kernel: world.toolkit(kernel, rt=f"{kernel}+rt", base=os.urandom(1024 * 64)) for kernel in kernels}
    for number in range(_RELEASES):
        minor = _MINORS[number * len(_MINORS) // _RELEASES]
        version = f"{minor}.{number}"
        kernel = kernels[number * _KERNELS // _RELEASES]
        style = "metalayer" if minor >= "4.19" else "label"
        # Named, but not there: nobody should ask for them. Their digests are what a payload mostly consists of.
        tags = {
            f"component-{index:03}": f"{world.host}/{CONTENT}@sha256:{os.urandom(32).hex()}"
            for index in range(_COMPONENTS)
        }
        tags |= {
            "rhel-coreos": world.os_image(kernel, style=style, build=version),
            "rhel-coreos-extensions": world.extensions(kernel_rt_core=kernel),
            "driver-toolkit": made[kernel],
        }
        payload = world.release(version, tags)
        world.promote(payload, version, f"fast-{minor}")
        payloads.append(payload)
        toolkits.append(made[kernel])
    return payloads, toolkits


def _write_project(folder: Path, server: RegistryServer, graph: str) -> Path:
    project = folder / "project"
    project.mkdir()
    for name in ("kernel-module", "driver-container"):
        (project / name).symlink_to(_ROOT / name)
    settings = read_settings(_ROOT / "versions.yaml")
    channels = [f"fast-{minor}" for minor in _MINORS]
    settings["sources"] = {"openshift": {"provider": "openshift", "channels": channels, "graph": graph}}
    settings["groups"] = {"all": {"source": "openshift"}}
    settings["default_group"] = "all"
    settings["registry"] = {"plain_http": [server.host], "auth_files": [str(server.auth_file(folder))]}
    (project / "versions.yaml").write_text(yaml.safe_dump(settings))
    return project


def _discover(project: Path, cache: Path) -> dict[str, Any]:
    """Run the verb in a process of its own."""
    command = [
        sys.executable,
        "-m",
        "builder",
        "--project",
        str(project),
        "discover",
        "--json",
        "--allow-outside",
        str(_ROOT),
    ]
    started = time.monotonic()
    done = subprocess.run(command, cwd=_ROOT, env=os.environ | {"XDG_CACHE_HOME": str(cache)}, capture_output=True, text=True, check=False)  # fmt: skip
    wall_s = time.monotonic() - started
    report = json.loads(done.stdout)
    if done.returncode or report["problems"]:
        raise SystemExit(done.stderr)
    return {
        "wall_s": round(wall_s, 2),
        **{key: report[key] for key in ("releases_read", "bytes_read", "bytes_per_release")},
    }


def _copy_with_skopeo(server: RegistryServer, folder: Path, payloads: list[str], toolkits: list[str]) -> float:
    """Copy release and toolkit images whole, one after the other, as scripts around skopeo and oc do."""
    auth = server.auth_file(folder)
    started = time.monotonic()
    for number, image in enumerate(name for pair in zip(payloads, toolkits, strict=True) for name in pair):
        command = ["skopeo", "copy", "--quiet", "--src-tls-verify=false", "--authfile", str(auth)]
        subprocess.run([*command, f"docker://{image}", f"dir:{folder}/copy-{number}"], check=True)
    return time.monotonic() - started
