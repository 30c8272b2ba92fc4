"""What runs in the guest of test_device_plugin.py: a kubelet for the device plugin, in the root of the plugin's own image.

Each step is told through the kernel's log, as a line of JSON that no other can come into.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from pathlib import Path
from typing import Any

from fakes.kubelet import FakeKubelet

_RESOURCE = "drivers.example.com/ptemplate"
_FOLDER = Path("/var/lib/kubelet/device-plugins")
_GUEST = Path("/guest")
_PATIENCE_S = 90.0


def _tell(step: str, found: Any) -> None:
    Path("/dev/kmsg").write_text(f"<13>guest {json.dumps([step, found])}")


def _load(*names: str) -> int:
    """Load modules, in this order; returns the last exit code."""
    code = 0
    for name in names:
        code = subprocess.run([_GUEST / "busybox", "insmod", _GUEST / "modules" / f"{name}.ko"], check=False).returncode
    return code


def _unload(name: str) -> int:
    return subprocess.run([_GUEST / "busybox", "rmmod", name], check=False).returncode


def _give(*names: str) -> None:
    """Write what kubelet keeps of the devices that pods have."""
    entry = {"PodUID": "a", "ContainerName": "c", "ResourceName": _RESOURCE, "DeviceIDs": {"-1": names}}
    data = {"Data": {"PodDeviceEntries": [entry] if names else [], "RegisteredDevices": {}}, "Checksum": 0}
    fresh = _FOLDER / ".checkpoint"
    fresh.write_text(json.dumps(data))
    fresh.rename(_FOLDER / "kubelet_internal_checkpoint")


def _use(name: str) -> str:
    """Write into the file that a container would get for a device, and return what is read from it."""
    (file,) = Path("/var/run/cdi").glob("*.json")
    edits = {item["name"]: item["containerEdits"] for item in json.loads(file.read_text())["devices"]}
    node = Path(edits[name]["deviceNodes"][0]["path"])
    node.write_bytes(b"from a pod")
    return node.read_bytes().decode()


async def _watch() -> None:
    kubelet = FakeKubelet(_FOLDER)
    await kubelet.start()
    settings = {"KMOD_RESOURCE": _RESOURCE, "KMOD_NODE": "guest", "KMOD_SCAN_SECONDS": "1"}
    plugin = await asyncio.create_subprocess_exec(
        "python3.11", "-m", "kmod_operator", "device-plugin", env=os.environ | settings
    )

    async def see(step: str, **wanted: str) -> None:
        await kubelet.until(lambda found: found.lists and found.lists[-1] == wanted, _PATIENCE_S)
        _tell(step, kubelet.lists[-1])

    def all_well() -> dict[str, str]:
        count = int(Path("/sys/module/ptemplate_char/parameters/max_dev").read_text())
        return {f"ptemplate-{number}": "Healthy" for number in range(count)}

    await see("before")
    _tell("unsigned", _load("ptemplate_core-unsigned"))
    _tell("load", _load("ptemplate_core", "ptemplate_char"))
    await see("loaded", **all_well())
    given = await kubelet.allocate("ptemplate-0")
    _tell("given", [device.name for device in given.cdi_devices])
    _tell("written and read", _use("ptemplate-0"))
    _give("ptemplate-0")
    _tell("unload", _unload("ptemplate_char"))
    await see("unloaded", **{"ptemplate-0": "Unhealthy"})
    _give()
    await see("given back")
    _tell("load again", _load("ptemplate_char"))
    await see("loaded again", **all_well())
    plugin.terminate()
    _tell("ended", await plugin.wait())
    await kubelet.stop()


if __name__ == "__main__":
    try:
        asyncio.run(_watch())
    except BaseException as error:
        _tell("failed", repr(error)[:400])
        raise
