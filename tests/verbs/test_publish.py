"""The verb publish."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from fakes.bench import OOPS, Bench
from fakes.published_image import SIGNER
from fakes.registry import pretend_registry

from builder.plan.matrix import Selector
from builder.plan.project import open_project
from builder.publish.cells import publish_project
from builder.registry.access import RegistryAccess
from builder.registry.credentials import Credentials

if TYPE_CHECKING:
    from pathlib import Path

    from fakes.bench import Bench
    from fakes.components import Parts
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


class _Killed(BaseException):
    """The end of a process, as far as one can have it without ending this one."""


def test_a_kill_after_any_write_leaves_no_half_published_tag(bench: Bench, registry: FakeRegistry) -> None:
    """Each run dies one write later; a tag that is there stands for all that a whole publication leaves."""
    bench.build("--kernel", _KERNEL)
    (bench.folder / "key.pub").write_text(SIGNER.key.pem)
    publish, tag = ("publish", "--json", "--kernel", _KERNEL), f"1.2.0-{_KERNEL}"
    written: list[str] = []
    kills, told = 0, []

    def kill(request: httpx.Request) -> None:
        if len(written) > kills:
            raise _Killed
        if request.method == "PUT":  # what begins an upload, or goes on with it, is lost with who does it
            written.append(request.url.path)

    def look() -> Any:
        return json.loads(bench.run("verify", f"quay.test/demo:{tag}", "--key", f"{bench.folder}/key.pub", "--json")[1])

    for _ in range(40):
        registry.faults.append(kill)
        written.clear()
        with contextlib.suppress(_Killed):
            code, out, err = bench.run(*publish)
            break
        registry.faults.clear()
        told += [look()] if tag in registry.final_tags else []
        kills += 1
    registry.faults.clear()
    assert (code, kills > 5) == (0, True), err
    assert told == [look()] * len(told)
    assert json.loads(out)["cells"][0]["status"] in {"published", "there"}
    assert json.loads(bench.run(*publish)[1])["cells"][0]["status"] == "there"


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


def test_cells_and_component_images_are_published_by_one_command(registry: FakeRegistry, parts: Parts) -> None:
    parts.declare(image="quay.test/plugin")
    parts.offer()
    assert parts.bench.run("build", "--kernel", _KERNEL)[0] == parts.build()[0] == 0
    assert parts.bench.run("publish", "--kernel", _KERNEL)[0] == 0
    assert registry.final_tags == {f"1.2.0-{_KERNEL}"}
    assert parts.bench.run("publish", "--component", "plugin")[0] == 0
    assert registry.final_tags == {f"1.2.0-{_KERNEL}", "0.1.0-amd64", "0.1.0"}
    code, out, _ = parts.bench.run("publish", "--json")
    assert code != 0, "the other cells are not built"
    assert "plugin-0.1.0/x86_64" in out
