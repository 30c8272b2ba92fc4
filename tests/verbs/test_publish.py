"""The verb publish."""

from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from fakes.bench import OOPS, Bench
from fakes.registry import pretend_registry

from builder.plan.matrix import Selector
from builder.plan.project import open_project
from builder.publish.cells import publish_project
from builder.registry.access import RegistryAccess
from builder.registry.credentials import Credentials

if TYPE_CHECKING:
    from pathlib import Path

    from fakes.bench import Bench
    from fakes.registry import FakeRegistry


_KERNEL = "6.1.0-10-amd64"


def test_what_was_interrupted_publishes_nothing_more(
    bench: Bench,
    registry: FakeRegistry,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One image waits where it is read out of the store; the other is published by then, and somebody interrupts."""
    _, report = bench.build("--kernel", _KERNEL, "--kernel", "6.12*")
    waiting = next(cell["key"] for cell in report["cells"] if cell["kernel"] != _KERNEL)
    monkeypatch.setattr("builder.publish.cells.stop_all", (bench.store / "stopped").touch)
    wait = f'*{waiting}*) echo x >"$store/waits"; while [ ! -f "$store/stopped" ]; do sleep 0.02; done'
    (bench.store / "before-push").write_text(f'case "$*" in {wait} ;; esac\n')

    def interrupt(*_: object) -> None:
        # One that had not begun yet would name nothing, whatever it was told.
        deadline = time.monotonic() + 60
        while not (bench.store / "waits").exists() and time.monotonic() < deadline:
            threading.Event().wait(0.02)
        assert (bench.store / "waits").exists()
        raise KeyboardInterrupt

    project = open_project(bench.folder)
    with pytest.raises(KeyboardInterrupt):
        publish_project(project, Selector(kernels=(_KERNEL, "6.12*")), progress=interrupt)
    assert registry.final_tags == {f"1.2.0-{_KERNEL}"}
    assert bench.run("publish", "--kernel", _KERNEL, "--kernel", "6.12*")[0] == 0
    assert len(registry.final_tags) == 2


def test_what_passed_its_boot_test_is_published_also_where_every_build_boots_again(
    bench: Bench, booting: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = bench.folder / "versions.yaml"
    file.write_text(
        file.read_text()
        .replace("boot: changed", "boot: always")
        .replace("    vendor:", "    image: quay.test/demo\n    vendor:")
    )
    booting["6.1.0-10-amd64"] = (OOPS,)
    bench.build()

    def open_pretended(_settings: object, _root: Path, cache_dir: Path) -> RegistryAccess:
        registry = pretend_registry(lambda _: httpx.Response(403), cache_dir)
        return RegistryAccess(registry, Credentials(), frozenset())

    monkeypatch.setattr("builder.publish.cells.open_registries", open_pretended)
    code, out, _ = bench.run("publish", "--json")
    found = {cell["kernel"]: cell["status"] for cell in json.loads(out)["cells"]}
    assert (code, found.pop("6.1.0-10-amd64"), set(found.values())) == (16, "not-built", {"unknown"})
