"""Images that we write, held next to what buildah makes of the same: manifest, configuration and layer, byte for byte."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import pytest

from builder.build.bases import read_stored_base
from builder.build.prove import exported
from builder.build.write_image import name_folder, write_image
from builder.digest import sha256_of
from builder.host.bounds import Limits
from builder.host.run import run
from builder.image.contents import LayerCache
from builder.image.labels import CELL_LABEL, KERNEL_LABEL, KEY_LABEL, SIGNERS_LABEL
from builder.image.layout import LayerEntry, write_layer
from builder.image.layout import write_image as write_layout
from builder.image.packed import Packing
from builder.kernel import Arch, parse_kernel_version
from builder.store.build import ImageBuild
from builder.store.images import Image, find_image, import_image, remove_images
from builder.store.jail import Jail
from builder.store.last_stage import Wanted, find_change, find_obstacle
from builder.store.result import File, Folder, Link, make_result
from builder.store.result_folder import write_result

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from builder.build.write_image import WrittenImage
    from builder.store.last_stage import StoredBase
    from builder.store.result import CompileResult, ResultEntry
    from integration.conftest import Machine

pytestmark = pytest.mark.buildah

_CONTAINERFILE = Path(__file__).parents[3] / "driver-container" / "Containerfile"
_KERNEL = {Arch.X86_64: "6.12.117+deb12-rt-amd64", Arch.AARCH64: "6.1.0-56-arm64"}
_BASE = "localhost/kmodsmith/base:last-stage"
_NOTHING: Mapping[str, str] = MappingProxyType({})
_MADE = "localhost/kmodsmith/stage:last-stage-unproven"


def _modules(arch: Arch = Arch.X86_64, suffix: str = "") -> dict[str, ResultEntry]:
    kernel = _KERNEL[arch]
    root = f"opt/lib/modules/{kernel}"
    return {
        f"{root}/extra/demo_core.ko{suffix}": File(b"\x7fELF" + bytes(4000)),
        f"{root}/host": Link(f"/lib/modules/{kernel}"),
        f"{root}/modules.dep": File(f"extra/demo_core.ko{suffix}:\n".encode()),
        f"{root}/modules.order": File(b""),
        "licenses": Folder(),
        "licenses/LICENSE": File(b"MIT\n"),
        "firmware": Folder(),
    }


_LONG = "firmware/" + "/".join(["a-vendor-of-devices"] * 5) + "/" + "firmware-of-a-device" * 4
_RESULTS: dict[str, dict[str, ResultEntry]] = {
    "one module": _modules(),
    "compressed modules": _modules(suffix=".xz"),
    "several modules": _modules()
    | {f"opt/lib/modules/{_KERNEL[Arch.X86_64]}/extra/demo_{name}.ko": File(name.encode() * 300) for name in "acbZ_-0"},
    "firmware": _modules() | {"firmware/demo/a.bin": File(b"\0" * 512), "firmware/demo/b.bin": File(b"\1" * 513)},
    "names of every length": _modules()
    | {f"firmware/{'x' * length}": File(b"") for length in (90, 91, 92)}
    | {f"firmware/{'d' * length}/{'y' * length}/z": Folder() for length in (43, 44, 45, 46, 47, 48, 70)}
    | {_LONG: File(b"long"), "firmware/link": Link("x" * 100), f"firmware/{'x' * 100}": File(b"")},
    "programs and links": _modules()
    | {
        "usr/bin/tool": File(b"#!/bin/sh\n", is_program=True),
        "usr/bin/other": Link("tool"),
        "etc/demo.d/a file with blanks": File(b"a"),
        "etc/demo.d/a;~!$&'()*+,=@{}[]`file": File(b"b"),
    },
    "a large file": _modules() | {"firmware/large.bin": File(bytes(range(256)) * 4 * 12_345)},
}  # fmt: skip


@dataclass(frozen=True)
class _Lab:
    """A folder, a container store that the environment names, and how compiles are locked up."""

    folder: Path
    machine: Machine
    jail: Jail

    def base(self) -> StoredBase:
        return read_stored_base(_BASE, LayerCache(), Packing())

    def by_buildah(self, result: CompileResult, wanted: Wanted, arch: Arch) -> tuple[Image, dict[str, bytes]]:
        """Return the image that buildah makes, and its parts by digest."""
        context, tree = self.folder / "context", self.folder / "modules"
        context.mkdir(exist_ok=True)
        write_result(result, tree)
        build = ImageBuild(
            context=context, containerfile=_CONTAINERFILE, arguments=wanted.arguments, log_file=self.folder / "log",
            jail=self.jail,
        )  # fmt: skip
        kernel = parse_kernel_version(_KERNEL[arch])
        id_file = self.folder / "image-id"
        command = build.assemble(tree, names=(_MADE,), kernel=kernel, labels=wanted.labels, id_file=id_file)
        assert run(command), (self.folder / "log").read_text()
        made = find_image(_MADE)
        with exported(made.id) as folder:
            return made, _parts(folder)

    def by_us(self, result: CompileResult, wanted: Wanted) -> tuple[Image, WrittenImage]:
        base = self.base()
        assert find_change(_CONTAINERFILE.read_text()) == ""
        assert find_obstacle(base, wanted, result) == ""
        folder = self.folder / name_folder("0" * 64, "20261127T1-1-ab")
        written = write_image(folder, result, base, wanted)
        digest = sha256_of((written.blobs / "manifest.json").read_bytes())
        return Image(id=written.id, digest=digest), written

    def compare(self, entries: Mapping[str, ResultEntry], wanted: Wanted, arch: Arch = Arch.X86_64) -> None:
        """Make an image in both ways, and bring ours into a store that has nothing of it."""
        result = make_result(entries.items())
        expected, parts = self.by_buildah(result, wanted, arch)
        remove_images([_MADE])
        made, written = self.by_us(result, wanted)
        own = _parts(written.blobs)
        del own[made.digest.removeprefix("sha256:")]
        below = {f"sha256:{layer}" for layer in parts.keys() - own.keys()}
        assert own.items() <= parts.items()
        assert below == {*self.base().config["rootfs"]["diff_ids"]}
        assert made == expected
        name = import_image(written.folder)
        try:
            assert find_image(name) == expected
            with exported(name) as again:
                assert _parts(again) == parts
        finally:
            remove_images([name])


def _parts(folder: Path) -> dict[str, bytes]:
    """Return the files of an image by name: manifest.json, and blobs by digest."""
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.name != "version"}


def _wanted(arch: Arch = Arch.X86_64, words: Mapping[str, str] = _NOTHING) -> Wanted:
    arguments = {
        "DTK_AUTO": _BASE, "BASE_IMAGE": _BASE, "BUILD_COMMAND": "make", "MODULES": "demo", "FIRMWARE": "",
        "LICENSES": "LICENSE", "KERNEL_VERSION": _KERNEL[arch], "KERNEL_FULL_VERSION": _KERNEL[arch],
        "DRIVER_NAME": "demo", "DRIVER_VERSION": "1.2.3", "VENDOR": "Example Corp", "SUMMARY": "A demo",
        "DESCRIPTION": "Demo's modules", "MAINTAINER": "Example Corp <drivers@example.com>",
    }  # fmt: skip
    labels = {
        CELL_LABEL: f"demo-1.2.3/{_KERNEL[arch]}", KEY_LABEL: "ab" * 32, KERNEL_LABEL: _KERNEL[arch],
        SIGNERS_LABEL: f"{'a' * 64},{'b' * 64}", "io.kmodsmith.signed": "yes",
    }  # fmt: skip
    return Wanted(arguments={**arguments, **words}, labels=labels, arch=arch.oci)


@pytest.fixture
def lab(machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> _Lab:
    monkeypatch.setenv("CONTAINERS_STORAGE_CONF", machine.environment["CONTAINERS_STORAGE_CONF"])
    limits = Limits(memory_bytes=1024**3, processes=256, disk_bytes=1024**3)
    return _Lab(tmp_path, machine, Jail(limits))


def _make_small(lab: _Lab, arch: Arch = Arch.X86_64) -> None:
    """Make a base as kernel sources make theirs."""
    entries = [
        LayerEntry(path="usr"), LayerEntry(path="usr/bin"), LayerEntry(path="usr/bin/sh", content=b"sh", mode=0o755),
        LayerEntry(path="bin", link="usr/bin"), LayerEntry(path="etc"), LayerEntry(path="etc/passwd", content=b""),
    ]  # fmt: skip
    layers = [write_layer(lab.folder / "base.tar", [], entries)]
    folder = lab.folder / "kmodsmith-import-base"
    labels = {"name": "kmodsmith-base", "version": "1"}
    write_layout(folder, layers, arch=arch.oci, environment={"PATH": "/bin"}, labels=labels)
    name = import_image(folder)
    lab.machine.buildah("tag", name, _BASE)
    remove_images([name])


def _make_full(lab: _Lab) -> None:
    """Make a base of two layers that says much of itself, with folders that are called as ours are."""
    root = lab.folder / "root"
    (root / "opt").mkdir(parents=True)
    (root / "opt/lib").mkdir(mode=0o700)
    (root / "licenses").mkdir(mode=0o711)
    (root / "licenses/BASE").write_text("GPL\n")
    os.chown(root / "licenses", 5, 6)
    container = lab.machine.buildah("from", "scratch").strip()
    lab.machine.buildah("copy", "--quiet", container, str(root), "/")
    settings = {
        "--env": "A=<b> & c", "--user": "7:8", "--workingdir": "/opt/lib", "--cmd": "sh -c 'a b'", "--stop-signal": "2",
        "--entrypoint": '["/bin/sh", "-c"]', "--label": "vendor=other", "--history-comment": "a <comment>",
    }  # fmt: skip
    lab.machine.buildah("config", "--env", "PATH=/bin", container)
    words = [word for setting in settings.items() for word in setting]
    lab.machine.buildah("config", *words, container)
    lab.machine.buildah("commit", "--quiet", "--rm", container, f"{_BASE}-below")
    container = lab.machine.buildah("from", "--pull-never", f"{_BASE}-below").strip()
    lab.machine.buildah("copy", "--quiet", container, str(root / "licenses/BASE"), "/usr/share/BASE")
    lab.machine.buildah("config", "--label", "zone=ü>", container)
    lab.machine.buildah("commit", "--quiet", "--rm", container, _BASE)


@pytest.mark.parametrize("shape", [*_RESULTS])
def test_what_a_compile_leaves_becomes_the_same_layer(shape: str, lab: _Lab) -> None:
    _make_small(lab)
    lab.compare(_RESULTS[shape], _wanted())


def test_an_image_for_another_architecture(lab: _Lab) -> None:
    _make_small(lab, Arch.AARCH64)
    lab.compare(_modules(Arch.AARCH64), _wanted(Arch.AARCH64), Arch.AARCH64)


def test_a_base_that_says_much_of_itself(lab: _Lab) -> None:
    _make_full(lab)
    lab.compare(_RESULTS["firmware"], _wanted())


def test_a_base_of_a_registry(lab: _Lab) -> None:
    """Its manifest in the store names packed layers, which are not there."""
    _make_full(lab)
    folder = lab.folder / "kmodsmith-import-packed"
    lab.machine.buildah("push", "--quiet", _BASE, f"oci:{folder}")
    lab.machine.buildah("rmi", "--force", _BASE, f"{_BASE}-below")
    name = import_image(folder)
    lab.machine.buildah("tag", name, _BASE)
    remove_images([name])
    assert "+gzip" in lab.machine.buildah("inspect", "--type", "image", "--format", "{{.Manifest}}", _BASE)
    lab.compare(_RESULTS["firmware"], _wanted())


def test_words_that_mean_something_to_others(lab: _Lab) -> None:
    _make_small(lab)
    words = {
        "VENDOR": "Größe & <Co>",
        "SUMMARY": "it's {a} #1; [b]",
        "DESCRIPTION": "100 % = 1|2 → 3",
        "MAINTAINER": "",
    }
    lab.compare(_modules(), _wanted(words=words))


_SURROUNDINGS: dict[str, Callable[[pytest.MonkeyPatch, Path], object]] = {
    "SOURCE_DATE_EPOCH": lambda patch, _: patch.setenv("SOURCE_DATE_EPOCH", "1700000000"),
    "HOME": lambda patch, folder: patch.setenv("HOME", str(folder)),
    "USER": lambda patch, _: patch.setenv("USER", "somebody"),
    "pod": lambda patch, _: patch.setenv("KMODSMITH_JAIL", "pod"),
    "umask": lambda *_: os.umask(0o077),
}


@pytest.mark.parametrize("name", [*_SURROUNDINGS])
def test_other_surroundings(name: str, lab: _Lab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _make_small(lab)
    umask = os.umask(0o022)
    try:
        _SURROUNDINGS[name](monkeypatch, tmp_path)
        lab.compare(_RESULTS["programs and links"], _wanted())
    finally:
        os.umask(umask)


def test_what_lies_in_the_source_does_not_matter(lab: _Lab) -> None:
    """A list of what buildah shall not copy is about the source."""
    _make_small(lab)
    context = lab.folder / "context"
    context.mkdir()
    for name in (".containerignore", ".dockerignore"):
        (context / name).write_text("opt\nlicenses\n*\n")
    lab.compare(_modules(), _wanted())
