from __future__ import annotations

import json
import tarfile
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from fakes.lists import make_decision
from fakes.samples import read_raw_image

from builder.build.bases import Bases, list_odd, named_base, read_stored_base
from builder.errors import SourceError
from builder.image.contents import LayerCache
from builder.image.packed import Packing
from builder.image.packed_layer import PackedLayer
from builder.kernel import Arch

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from fakes.samples import Row
    from fakes.tools import FakeTools

    from builder.image.contents import ImageContents

_UBI = f"registry.test/ubi9/ubi-minimal@sha256:{'c' * 64}"
_NAME = f"localhost/kmodsmith/base:x86_64-{'c' * 16}"
_LAYER = {"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": f"sha256:{'a' * 64}", "size": 5}
_DECISION = make_decision("amd64", "quay.test/org/drv:1")


class _Puller:
    def __init__(self) -> None:
        self.asked: list[tuple[str, str, Arch]] = []

    def ensure(self, pullspec: str, name: str, arch: Arch) -> str:
        self.asked.append((pullspec, name, arch))
        if "gone" in pullspec:
            raise SourceError("it is gone")
        return name


def _bases(base_image: str | None) -> tuple[Bases, list[_Puller]]:
    driver: Any = SimpleNamespace(base_image=base_image)
    opened: list[_Puller] = []

    def open_pulls() -> Any:
        opened.append(_Puller())
        return opened[-1]

    small = f"small of {_DECISION.cell.kernel.arch}"
    return Bases(
        drivers={_DECISION.cell.driver: driver}, small=lambda _: small, open_pulls=open_pulls, plain=Packing()
    ), opened


def test_a_driver_that_names_no_base_gets_the_small_one_and_nothing_is_pulled() -> None:
    bases, opened = _bases(None)
    assert bases.ensure(_DECISION) == "small of x86_64"
    assert (bases.packing(_DECISION).kept, opened) == ({}, [])


def test_a_base_that_a_driver_names_is_pulled_by_digest_and_keeps_its_layers(fake_tools: FakeTools) -> None:
    told = {"Manifest": json.dumps({"layers": [_LAYER]}), "OCIv1": {"rootfs": {"diff_ids": ["sha256:1"]}}}
    fake_tools.add("buildah", f"echo '{json.dumps(told)}'")
    bases, opened = _bases(_UBI)
    assert bases.ensure(_DECISION) == _NAME
    for _ in range(2):
        assert bases.packing(_DECISION).kept == {"sha256:1": PackedLayer(digest=f"sha256:{'a' * 64}", size=5)}
    assert len(opened) == 1
    assert set(opened[0].asked) == {(_UBI, _NAME, Arch.X86_64)}
    assert len(fake_tools.calls("buildah")) == 1, "looked at once for all cells"


def test_a_base_that_cannot_be_had_is_an_error() -> None:
    bases, _ = _bases("registry.test/gone@sha256:1")
    for ask in (bases.ensure, bases.packing):
        with pytest.raises(SourceError):
            ask(_DECISION)


def test_every_architecture_has_a_base_of_its_own() -> None:
    driver: Any = SimpleNamespace(base_image=_UBI)
    other: Any = SimpleNamespace(base_image=_UBI.replace("c" * 64, "d" * 64))
    names = {named_base(item, arch) for item in (driver, other) for arch in (Arch.X86_64, Arch.AARCH64)}
    assert len(names) == 4


def _keep_in_store(fake_tools: FakeTools, folder: Path, *layers: Sequence[Row]) -> ImageContents:
    """Have a fake buildah export an image of such layers as it does real ones; its id is that of its configuration."""
    image = read_raw_image(folder, *layers)
    blobs = folder / "oci/blobs/sha256"
    index = json.loads((folder / "oci/index.json").read_text())
    manifest = (blobs / index["manifests"][0]["digest"].removeprefix("sha256:")).read_bytes()
    (blobs / "manifest.json").write_bytes(manifest)
    image_id = json.loads(manifest)["config"]["digest"].removeprefix("sha256:")
    fake_tools.add(
        "buildah",
        f"""case "$1" in
inspect) echo "{image_id} sha256:{"5" * 64}" ;;
push) for word in "$@"; do to=${{word#dir:}}; done; cp -r "{blobs}" "$to" ;;
esac""",
    )
    return image


def test_a_base_is_looked_at_once_and_its_layers_are_kept(fake_tools: FakeTools, tmp_path: Path) -> None:
    image = _keep_in_store(fake_tools, tmp_path, [("folder", "opt"), ("file", "bin/sh", "x"), ("link", "lib", "bin")])
    (layer,) = image.layers
    bases, _ = _bases(None)
    cache = LayerCache()
    base = bases.read(_DECISION, cache)
    assert bases.read(_DECISION, cache) is base
    assert [call[0] for call in fake_tools.calls("buildah")] == ["inspect", "push"]
    assert (base.name, base.digest) == ("small of x86_64", f"sha256:{'5' * 64}")
    assert base.config["rootfs"]["diff_ids"] == [layer.digest]
    assert base.layers == [(layer.digest, (tmp_path / "0.tar").stat().st_size)]
    assert base.odd == {"bin/sh", "lib"}, "a folder is not odd"
    assert cache.get(layer.digest) == layer
    packed = bases.plain.of(layer.digest, tmp_path / "gone")
    assert packed.digest != layer.digest, "it was packed while it was there"


def test_what_has_extended_attributes_in_a_base_is_odd(tmp_path: Path) -> None:
    members = {"./opt/": {"SCHILY.xattr.user.mine": "1"}, "/usr": {"mtime": "1.5"}}
    file = tmp_path / "marked.tar"
    with tarfile.open(file, "w", format=tarfile.PAX_FORMAT) as archive:
        for name, headers in members.items():
            folder = tarfile.TarInfo(name)
            folder.type, folder.pax_headers = tarfile.DIRTYPE, headers
            archive.addfile(folder)
    assert list(list_odd(file, {"opt", "usr"})) == ["opt"]


def test_what_a_base_hides_of_its_own_is_odd(fake_tools: FakeTools, tmp_path: Path) -> None:
    """An engine that makes a hidden folder anew may say in its layer that nothing is below it."""
    lower: list[Row] = [("folder", "opt"), ("folder", "opt/lib"), ("folder", "usr")]
    _keep_in_store(fake_tools, tmp_path, lower, [("file", ".wh.opt")])
    base = read_stored_base("localhost/base:1", LayerCache(), Packing())
    assert {"opt", "opt/lib"} <= base.odd
    assert "usr" not in base.odd
