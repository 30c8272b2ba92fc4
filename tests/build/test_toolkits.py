"""Which image a cell is compiled in."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from fakes.lists import make_decision
from fakes.locks import debian_of

from builder.build.toolkits import CompileImages, name_own_toolkit
from builder.errors import FailureClass
from builder.evidence.journal import Journal
from builder.kernel import Arch
from builder.sources.lock import Lock
from builder.sources.lock_file import read_lock, write_lock

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fakes.bench import Bench

    from builder.kernel import KernelVersion

_OWN = f"quay.test/org/dtk@sha256:{'a' * 64}"
_DECISION = make_decision("amd64", "quay.test/org/drv:1")
_KERNEL = "6.1.0-10-amd64"
_ONE = ("--kernel", _KERNEL)


def _images(own: str) -> tuple[CompileImages, list[Any]]:
    asked: list[Any] = []

    def ensure(kernel: KernelVersion, wanted: Iterable[str]) -> str:
        asked.append((kernel, tuple(wanted)))
        return "made"

    def pull(pullspec: str, name: str, arch: Arch) -> str:
        asked.append((pullspec, arch))
        return name

    driver: Any = SimpleNamespace(build_packages=("a",), own_toolkit=lambda _: own)
    toolkits: Any = SimpleNamespace(ensure=ensure)
    puller: Any = SimpleNamespace(ensure=pull)
    return CompileImages(
        drivers={_DECISION.cell.driver: driver},
        toolkits={_DECISION.cell.source: toolkits},
        build_arch=Arch.X86_64,
        pulls=lambda: puller,
    ), asked


def test_the_toolkit_of_the_kernel_with_what_the_driver_wants() -> None:
    images, asked = _images("")
    assert images.ensure(_DECISION) == "made"
    assert asked == [(_DECISION.cell.kernel, ("a",))]


def test_an_image_of_the_drivers_own_is_pulled_by_digest_and_gets_no_packages() -> None:
    images, asked = _images(_OWN)
    assert images.ensure(_DECISION) == name_own_toolkit(_OWN) == f"localhost/kmodsmith/toolkit:own-{'a' * 16}"
    assert asked == [(_OWN, Arch.X86_64)]


def _want(bench: Bench, line: str) -> None:
    file = bench.folder / "versions.yaml"
    file.write_text(file.read_text().replace("    vendor: V\n", f"    {line}\n    vendor: V\n"))


def _lock_packages(bench: Bench, version: str) -> None:
    file = bench.folder / "versions.lock.yaml"
    locked = debian_of(read_lock(file))
    key = f"libxtables-dev_{version}_amd64"
    package = locked.packages["busybox"].model_copy(update={"sha256": f"{version}" * 64})
    sets = {f"{name} with libxtables-dev": (key,) for name in locked.package_sets if not name.startswith("runtime-")}
    kept = {name: names for name, names in locked.package_sets.items() if " with " not in name}
    update = {"package_sets": kept | sets, "packages": locked.packages | {key: package}}
    write_lock(Lock(sources={"debian": locked.model_copy(update=update)}), file)


def _have(bench: Bench, name: str) -> None:
    with (bench.store / "names").open("a") as names:
        names.write(f"{name} 1\n")


@pytest.fixture
def made(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A bench whose toolkits have the names that they would have."""

    def ensure(self: Any, kernel: KernelVersion, wanted: Iterable[str] = ()) -> str:
        return str(self._parts.compile_image(kernel, wanted))

    monkeypatch.setattr("builder.sources.debian.toolkit.DebianToolkits.ensure", ensure)
    return bench


def test_build_packages_are_part_of_a_cell_and_named_when_they_change(made: Bench) -> None:
    bench = made
    (before,) = bench.build(*_ONE)[1]["cells"]
    _want(bench, "build_packages: [libxtables-dev]")
    code, report = bench.build(*_ONE)
    assert (code, report["counts"]) == (FailureClass.TOOLKIT.exit_code, {"refused": 1})
    (cell,) = report["cells"]
    assert cell["reason"] == "no-build-packages"
    assert cell["explanation"].endswith("builds with (libxtables-dev): run 'nox -s discover'")
    _lock_packages(bench, "1")
    (cell,) = bench.build(*_ONE)[1]["cells"]
    assert (cell["status"], cell["reason"]) == ("built", "packages-changed"), cell["failure"]
    assert cell["explanation"] == "build packages changed: libxtables-dev 1 came"
    assert cell["inputs"]["packages"] == f"libxtables-dev=1@{'1' * 64}"
    assert cell["inputs"]["toolkit"] == before["inputs"]["toolkit"]
    compiled = [call for call in bench.calls("build") if any(word.startswith("BUILD_COMMAND=") for word in call)]
    toolkits = [next(word for word in call if word.startswith("DTK_AUTO=")) for call in compiled]
    assert toolkits[-1].startswith(f"{toolkits[0]}-"), "compiled in an image of its own"
    _lock_packages(bench, "2")
    (cell,) = bench.build(*_ONE)[1]["cells"]
    assert cell["explanation"] == "build packages changed: libxtables-dev 1 became 2"
    assert bench.build(*_ONE)[1]["counts"] == {"skipped": 1}
    _have(bench, toolkits[-1].removeprefix("DTK_AUTO="))
    assert "toolkit" in bench.run("prune", "--dry-run")[1], "that of the former packages"
    (evidence,) = Journal(bench.folder / ".kmodsmith" / "journal.jsonl").cells.values()
    assert evidence.inputs["packages"] == f"libxtables-dev=2@{'2' * 64}"


def test_an_own_toolkit_is_part_of_a_cell_and_kept_by_prune(made: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = made
    pulled: list[str] = []

    def ensure(_self: object, pullspec: str, name: str, _arch: Arch) -> str:
        pulled.append(pullspec)
        return name

    monkeypatch.setattr("builder.registry.pull.Puller.ensure", ensure)
    bench.build(*_ONE)
    _want(bench, "build_packages: [libxtables-dev]")
    _want(bench, f"toolkits: [{{kernel: '{_KERNEL}', image: '{_OWN}'}}]")
    (cell,) = bench.build(*_ONE)[1]["cells"]
    assert (cell["status"], cell["reason"], pulled) == ("built", "toolkit-changed", [_OWN])
    assert cell["inputs"]["packages"] == "", "it has what its owner put into it"
    assert any(f"DTK_AUTO={name_own_toolkit(_OWN)}" in call for call in bench.calls("build"))
    assert not [call for call in bench.calls("build") if any("facts" in word for word in call) and _OWN in call]
    _have(bench, name_own_toolkit(_OWN))
    assert "toolkit" not in bench.run("prune", "--dry-run")[1]
    assert bench.build("--kernel", "6.1.0-10-cloud-amd64")[1]["cells"][0]["reason"] == "no-build-packages"
