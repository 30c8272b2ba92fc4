from __future__ import annotations

import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from fakes.lists import make_decision

from builder.build.bases import Bases, named_base
from builder.errors import SourceError
from builder.image.packed import Packing
from builder.image.packed_layer import PackedLayer
from builder.kernel import Arch

if TYPE_CHECKING:
    from fakes.tools import FakeTools

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
