"""Images are started as what they are: natively, by an emulator, or with the reason why not."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
from fakes.components import component_entries, read_component_image

from builder.components import self_test as component_test
from builder.errors import CellError, FailureClass
from builder.host.bounds import Limits
from builder.image.layout import LayerEntry
from builder.kernel import Arch
from builder.store import jail as jail_module
from builder.store.jail import Jail, Walls

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from fakes.tools import FakeTools

    from builder.evidence.records import SelfTest

_COMMAND = ("/bin/plugin", "self-test", "<<EOF")
# Keeps the recipe, and does what a test says.
_BUILDAH = """
case "$1" in
info) printf '{{"store":{{"GraphDriverName":"overlay","GraphRoot":"{store}","RunRoot":"{store}/run"}}}}'; exit ;;
build) while [ $# -gt 0 ]; do case "$1" in --file) cat "$2" >"{store}/recipe" ;; esac; shift; done ;;
esac
[ ! -f "{store}/does" ] || . "{store}/does"
"""


@pytest.fixture
def machine(tmp_path: Path, fake_tools: FakeTools, monkeypatch: pytest.MonkeyPatch) -> FakeTools:
    store = tmp_path / "store"
    store.mkdir()
    fake_tools.add("buildah", _BUILDAH.format(store=store))
    fake_tools.add("env", 'shift; while [ "${1#*=}" != "$1" ]; do shift; done; exec "$@"')
    monkeypatch.setattr(jail_module, "find_walls", lambda: Walls(has_room=False, users=(), groups=(), grouping=None))
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("Linux", "node", "6.1", "1", "x86_64")))
    monkeypatch.setattr(
        component_test, "find_tool", lambda name: str(place) if (place := fake_tools.folder / name).exists() else None
    )
    return fake_tools


def _test(
    folder: Path,
    command: Sequence[str] = _COMMAND,
    arch: Arch = Arch.X86_64,
    entries: list[LayerEntry] | None = None,
) -> SelfTest:
    contents = read_component_image(folder / "image", entries or component_entries(arch.oci), arch=arch.oci)
    jail: Any = Jail(Limits(memory_bytes=2**30, processes=100, disk_bytes=2**31))
    return component_test.test_image("name:1", contents, command, arch=arch, jail=jail, log_file=folder / "log")


def _builds(machine: FakeTools) -> list[list[str]]:
    return [call for call in machine.calls("buildah") if call[0] == "build"]


def test_an_image_of_this_machine_is_started_natively(tmp_path: Path, machine: FakeTools) -> None:
    result = _test(tmp_path)
    assert (result.outcome, result.by, result.command) == ("passed", "native", _COMMAND)
    assert (tmp_path / "store" / "recipe").read_text() == (
        'FROM name:1 AS build\nRUN ["/bin/plugin", "self-test", "\\u003c\\u003cEOF"]\n'
    )
    (call,) = _builds(machine)
    assert "--platform" not in call


def test_without_a_command_nothing_is_started_or_claimed(tmp_path: Path, machine: FakeTools) -> None:
    result = _test(tmp_path, ())
    assert (result.outcome, result.why) == ("not-run", "versions.yaml names no self_test")
    assert not _builds(machine)


def test_an_image_of_another_machine_is_started_by_an_emulator(tmp_path: Path, machine: FakeTools) -> None:
    machine.add("qemu-aarch64-static")
    entries = [*component_entries("arm64"), LayerEntry(path="bin/link", link="plugin")]
    result = _test(tmp_path, ("link", "x"), Arch.AARCH64, entries)
    assert (result.outcome, result.by, result.command) == ("passed", "qemu-user", ("link", "x"))
    recipe = (tmp_path / "store" / "recipe").read_text()
    assert recipe.endswith('RUN ["/.kmodsmith-emulator", "-0", "link", "/bin/plugin", "x"]\n')
    (call,) = _builds(machine)
    assert call[call.index("--platform") + 1] == "linux/arm64"
    assert f"{machine.folder / 'qemu-aarch64-static'}:/.kmodsmith-emulator:ro" in call


def test_without_an_emulator_nothing_is_claimed(tmp_path: Path, machine: FakeTools) -> None:
    result = _test(tmp_path, _COMMAND, Arch.AARCH64)
    assert (result.outcome, result.by, result.command) == ("not-run", "", _COMMAND)
    assert result.why == "this machine is x86_64 and has no qemu-aarch64-static (Debian: qemu-user-static)"
    assert not _builds(machine)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (LayerEntry(path="bin/other", content=b"x", mode=0o755), "no program test"),
        (LayerEntry(path="bin/test", content=b"#!/bin/sh\n", mode=0o755), "test is a script"),
        (LayerEntry(path="bin/test", content=component_entries("arm64")[0].content, mode=0o644), "no program test"),
        (LayerEntry(path="bin/test", link="test"), "no program test"),
        (LayerEntry(path="bin/test", link="../../../../etc/passwd"), "no program test"),
    ],
)
def test_what_an_emulator_cannot_start_is_told(
    tmp_path: Path, machine: FakeTools, entry: LayerEntry, words: str
) -> None:
    machine.add("qemu-aarch64-static")
    with pytest.raises(CellError, match=words) as caught:
        _test(tmp_path, ("test",), Arch.AARCH64, [*component_entries("arm64"), entry])
    assert (caught.value.failure.failure_class, caught.value.failure.code) == (FailureClass.FIT, "self-test-failed")
    assert not _builds(machine)


@pytest.mark.parametrize(
    ("prints", "words"),
    [
        ("STEP 2/2: RUN x\\nTraceback\\nModuleNotFoundError: grpc\\nError: building at STEP", "ModuleNotFoundError: grpc"),
        ("STEP 1/2: FROM x\\nError: building at STEP", "it printed nothing"),
        ("", "it printed nothing"),
        ("x" * 5000, "x" * 500),
    ],
)  # fmt: skip
def test_a_test_that_fails_is_told_with_its_last_words(
    tmp_path: Path, machine: FakeTools, prints: str, words: str
) -> None:
    (tmp_path / "store" / "does").write_text(f"printf '{prints}\\n'; exit 3")
    with pytest.raises(CellError) as caught:
        _test(tmp_path)
    failure = caught.value.failure
    assert (failure.failure_class, failure.code) == (FailureClass.FIT, "self-test-failed")
    assert failure.detail.endswith(f"ended with exit code 3: {words}")
    assert failure.hint is not None
    assert "/bin/plugin self-test" in failure.hint
