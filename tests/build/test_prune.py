"""Which images of the container store are superfluous."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from fakes.locks import debian_of, parsed

from builder.build.prune import prune_project
from builder.errors import BusyError
from builder.host.locks import hold_project
from builder.sources.lock import Lock, LockedNodeKernel
from builder.sources.lock_file import read_lock, write_lock
from builder.sources.openshift.lock import LockedOpenShift, LockedRelease

if TYPE_CHECKING:
    from pathlib import Path

    from fakes.bench import Bench
    from fakes.components import Parts


def test_prune_of_a_lock_with_more_than_versions_yaml_names(bench: Bench) -> None:
    file = bench.folder / "versions.lock.yaml"
    lock = read_lock(file)
    kept = debian_of(lock)
    no_base = {name: names for name, names in kept.package_sets.items() if not name.startswith("runtime-aarch64")}
    sources: dict[str, Any] = {"debian": kept.model_copy(update={"package_sets": no_base})}
    toolkit = f"quay.test/toolkit@sha256:{'1' * 64}"
    gone = LockedNodeKernel(releases=("4.17.1",), streams=("rhel-coreos",), toolkit=toolkit, toolkits=(toolkit,))
    sources["old"] = LockedOpenShift(
        provider="openshift", resolved="2026-11-23T00:00:00Z", releases={"4.17.1-x86_64": LockedRelease()},
        kernels=parsed({"5.14.0-427.50.1.el9_4.x86_64": gone}),
    )  # fmt: skip
    write_lock(Lock(sources=sources), file)
    code, out, err = bench.run("prune", "--dry-run")
    assert (code, out) == (0, "0 would be removed\n"), err


def test_prune_keeps_what_is_needed(bench: Bench) -> None:
    bench.build()
    with (bench.store / "names").open("a") as file:
        file.write("localhost/kmodsmith/cell:old 1\nlocalhost/kmodsmith/toolkit:old 2\nlocalhost/other:1 3\n")
    _, out, _ = bench.run("prune", "--dry-run")
    assert out.splitlines() == [
        "localhost/kmodsmith/cell:old",
        "localhost/kmodsmith/toolkit:old",
        "2 would be removed",
    ]


def test_prune_keeps_what_was_made_for_a_cell_that_is_refused_now(bench: Bench) -> None:
    """Most refusals end, and then nothing is to be compiled again; what is left out for good is superfluous."""
    kernel = "6.1.0-10-amd64"
    bench.build("--kernel", kernel)
    file = bench.folder / "versions.yaml"
    text = file.read_text()
    bad = f'{{kernel: "{kernel}", driver: demo, reason: bug 7, owner: jo, expires: 2099-01-31}}'
    file.write_text(f"{text}\nknown_bad: [{bad}]\n")
    assert bench.run("prune", "--dry-run")[1] == "0 would be removed\n"
    file.write_text(f'{text}\nexclude: [{{kernel: "{kernel}", reason: never}}]\n')
    out = bench.run("prune", "--dry-run")[1].splitlines()
    assert [line.partition(":")[0].partition(" of ")[0] for line in out[:-1]] == ["localhost/kmodsmith/cell", "result"]


def test_prune_keeps_component_images_and_their_bases(parts: Parts) -> None:
    parts.offer()
    parts.build()
    key = parts.plan().plan.decisions[0].key
    with (parts.store / "names").open("a") as file:
        file.write("localhost/kmodsmith/component:old 1\n")
    assert parts.bench.run("prune", "--dry-run")[1].splitlines() == [
        "localhost/kmodsmith/component:old", "1 would be removed",
    ]  # fmt: skip
    assert parts.bench.run("prune")[0] == 0
    assert parts.names().keys() == {f"localhost/kmodsmith/component:{key}", "localhost/plugin:0.1.0-amd64"}
    parts.declare(packages=["python3.11"])
    assert parts.bench.run("prune", "--dry-run")[1] == "0 would be removed\n", "most refusals end"
    settings = parts.folder / "versions.yaml"
    settings.write_text(settings.read_text().partition("components: ")[0])
    assert f"localhost/kmodsmith/component:{key}" in parts.bench.run("prune", "--dry-run")[1]


def test_what_components_need_is_asked_while_nobody_builds(parts: Parts) -> None:
    """Asked before, it would not name what another run has just finished."""
    project, asked = parts.project(), []

    def further() -> set[str]:
        with pytest.raises(BusyError), hold_project(project.work_dir):
            pass
        asked.append("while the project is held")
        return set()

    project.work_dir.mkdir(parents=True, exist_ok=True)
    prune_project(project, dry_run=False, further=further)
    assert asked == ["while the project is held"]


def test_prune_removes_lanes_of_the_compile_cache_that_nobody_used_for_long(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "cache" / "kmodsmith" / "compile-cache"
    for number, age_days in enumerate((59, 61)):
        entry = {"sha256": "0" * 64, "size": 3 * 1024**2, "used": int(time.time()) - age_days * 86400}
        lane = folder / f"{number:064}"
        lane.mkdir(parents=True)
        text = {"format": 1, "driver": "demo", "entries": {f"d6/{'a' * 31}": entry}}
        (lane / "entries.json").write_text(json.dumps(text))
    line = f"lane of the compile cache {'0' * 12}, of demo, 3 MiB"
    assert bench.run("prune", "--dry-run")[1].splitlines() == [line, "1 would be removed"]
    assert len(list(folder.iterdir())) == 2
    assert bench.run("prune")[1].splitlines() == [line, "1 removed"]
    assert [entry.name for entry in folder.iterdir() if entry.is_dir()] == [f"{0:064}"]
